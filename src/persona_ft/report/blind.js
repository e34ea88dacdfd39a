"use strict";
const pairs = Array.from(document.querySelectorAll("section.pair"));
const store = "blind-" + document.body.dataset.sheet;
let votes = [];
try { votes = JSON.parse(localStorage.getItem(store) || "[]"); } catch (_) { votes = []; }
const state = () => { const now = new Map(); for (const v of votes) { now.delete(v.id); if (v.vote) now.set(v.id, v.vote); } return now; };
function show() {
  const now = state();
  const open = pairs.filter((p) => !now.has(p.dataset.id));
  for (const p of pairs) p.hidden = p !== open[0];
  document.getElementById("at").textContent = now.size + " / " + pairs.length;
  document.getElementById("done").hidden = open.length > 0;
  document.getElementById("choose").hidden = open.length === 0;
  const file = new Blob(votes.map((v) => JSON.stringify(v) + "\n"), { type: "application/json" });
  const link = document.getElementById("save");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(file);
}
function add(vote) {
  vote.sheet = document.body.dataset.sheet;
  votes.push(vote);
  try { localStorage.setItem(store, JSON.stringify(votes)); } catch (_) { /* a private window keeps them in memory */ }
  show();
}
function choose(choice) {
  const now = state();
  if (choice === "undo") {
    const last = Array.from(now.keys()).pop();
    if (last) add({ id: last, vote: null });
    return;
  }
  const open = pairs.find((p) => !now.has(p.dataset.id));
  if (open) add({ id: open.dataset.id, vote: choice });
}
for (const button of document.querySelectorAll("button[data-vote]")) button.addEventListener("click", () => choose(button.dataset.vote));
document.addEventListener("keydown", (event) => {
  const choice = { a: "A", b: "B", s: "same", u: "undo" }[event.key.toLowerCase()];
  if (choice && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); choose(choice); }
});
show();
