"use strict";
// Sorts the table by a column's values (n/a last), shows the marked subjects alone, and points from strip to row.
const table = document.querySelector(".group");
const body = table.tBodies[0];
const headers = [...table.querySelectorAll("thead th")];

function valueOf(row, column) {
  const text = row.cells[column].dataset.value;
  const number = Number(text);
  return text === "" ? null : Number.isNaN(number) ? text : number;
}
function sortBy(column) {
  const down = headers[column].getAttribute("aria-sort") === "ascending";
  headers.forEach((header) => header.removeAttribute("aria-sort"));
  headers[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) { return (a === null) - (b === null); }
    return (down ? -1 : 1) * (a < b ? -1 : a > b ? 1 : 0);
  });
  body.append(...rows.map(([, row]) => row));
}
headers.forEach((header, column) => header.querySelector("button").addEventListener("click", () => sortBy(column)));

const only = document.querySelector("[data-only-marked]");
const shown = document.querySelector("[data-shown]");
function filter() {
  table.classList.toggle("only-marked", only.checked);
  const all = body.rows.length;
  const marked = body.querySelectorAll("tr.marked").length;
  shown.textContent = `${only.checked ? marked : all} of ${all} subjects shown`;
}
only.addEventListener("change", filter);
filter();

function point(subject, on) {
  document.querySelectorAll(`[data-subject="${subject}"]`).forEach((thing) => thing.classList.toggle("pointed", on));
}
document.querySelectorAll("[data-subject]").forEach((thing) => {
  thing.addEventListener("pointerenter", () => point(thing.dataset.subject, true));
  thing.addEventListener("pointerleave", () => point(thing.dataset.subject, false));
});
