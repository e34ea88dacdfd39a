"use strict";
const list = document.getElementById("items");
const items = Array.from(list.querySelectorAll("section.item"));
const find = document.getElementById("find"), kind = document.getElementById("kind"), sort = document.getElementById("sort");
function update() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of items) {
    const text = item.textContent.toLowerCase();
    const fits = (!kind.value || item.dataset.kind === kind.value) && words.every((word) => text.includes(word));
    item.hidden = !fits;
    shown += fits ? 1 : 0;
  }
  const key = sort.value;
  const ordered = items.slice().sort((a, b) => key === "order" ? Number(a.dataset.order) - Number(b.dataset.order) : Number(b.dataset[key]) - Number(a.dataset[key]));
  for (const item of ordered) list.append(item);
  document.getElementById("shown").textContent = shown + " / " + items.length;
}
for (const field of [find, kind, sort]) field.addEventListener("input", update);
document.getElementById("controls").hidden = false;
update();
