"use strict";
// A table of class "sortable": a button in each head of class "by" sorts its rows, downwards, upwards, then as they were.
const MISSING = new Set(["", "-"]);
const NUMBER = /^[+-]?\d[\d,]*(\.\d+)?(?![\w.])/;

const textOf = (row, column) => row.cells[column].textContent.trim();

function numberOf(text) {
  const found = text.match(NUMBER);
  return found ? Number(found[0].replaceAll(",", "")) : NaN;
}

function compare(column, rows) {
  const texts = rows.map((row) => textOf(row, column)).filter((text) => !MISSING.has(text));
  const numeric = texts.every((text) => !Number.isNaN(numberOf(text)));
  const order = numeric ? (a, b) => numberOf(a) - numberOf(b) : (a, b) => a.localeCompare(b, "en");
  return { order, first: numeric ? "descending" : "ascending" };
}

function sort(table, original, column, direction) {
  const body = table.tBodies[0];
  if (direction === "none") return body.append(...original);
  const sign = direction === "ascending" ? 1 : -1;
  const { order } = compare(column, original);
  const lacks = (row) => MISSING.has(textOf(row, column));
  const known = original.filter((row) => !lacks(row));
  known.sort((a, b) => sign * order(textOf(a, column), textOf(b, column)));
  body.append(...known, ...original.filter(lacks));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const original = [...table.tBodies[0].rows];
  const heads = [...table.querySelectorAll("th.by")];
  if (original.length < 2) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const { first } = compare(column, original);
      const second = first === "ascending" ? "descending" : "ascending";
      const next = { none: first, [first]: second, [second]: "none" }[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      table.classList.toggle("sorted", next !== "none");
      sort(table, original, column, next);
    });
  });
}
