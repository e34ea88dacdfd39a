// A click on a column's head sorts by it, numbers as numbers.
for (const head of document.querySelectorAll("th"))
  head.addEventListener("click", () => {
    const table = head.closest("table"), column = head.cellIndex, down = head.dataset.down = head.dataset.down ? "" : "1";
    const value = (row) => row.cells[column].textContent, compare = (a, b) => parseFloat(a) - parseFloat(b) || a.localeCompare(b);
    const rows = [...table.rows].slice(1).sort((a, b) => compare(value(a), value(b)) * (down ? -1 : 1));
    table.tBodies[0].append(...rows);
  });
