"use strict";
// Ours alone, pinned by its digest in the page's policy. Without it every word can still be read.

const MISSING = "–";
const UNITS = { s: 1, min: 60, h: 3600, M: 1e6, "%": 1 };

// "62.4 ± 1.2" -> 62.4, "[−0.3, +0.1]" -> -0.3, "≈ +2.0" -> 2, "2.1 h" -> 7560, "3 of 3" -> 3; null
// for words.
function toNumber(text) {
  const first = text.replace(/−/g, "-").replace(/^(≈ )?\[?/, "").split(", ")[0];
  const found = /^[+]?(-?[\d.,\s]*\d)(?:e[+-]?\d+)?\s*(s|min|h|M|%)?(?=$|[\s*=])/.exec(first);
  if (!found) return null;
  const value = Number(found[1].replace(/[\s,]/g, ""));
  return Number.isNaN(value) ? null : value * (UNITS[found[2]] || 1);
}

function compare(a, b) {
  const [x, y] = [toNumber(a), toNumber(b)];
  if (x !== null && y !== null) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, column, down) {
  const body = table.tBodies[0];
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...body.rows];
  const [known, missing] = [rows.filter((r) => text(r) !== MISSING), rows.filter((r) => text(r) === MISSING)];
  known.sort((a, b) => (down ? -1 : 1) * compare(text(a), text(b)));
  body.append(...known, ...missing); // what does not exist is last either way
  [...table.tHead.rows[0].cells].forEach((cell, i) => {
    if (i === column) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

function addSorting(table) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    if (cell.classList.contains("forest")) return; // drawn, without text
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    const isNumber = cell.classList.contains("num");
    button.addEventListener("click", () => {
      const now = cell.getAttribute("aria-sort"); // numbers begin with the highest
      sortBy(table, column, now ? now === "ascending" : isNumber);
    });
  });
}

function addTools(table, name) {
  const tools = document.createElement("div");
  tools.className = "tools";
  const filter = document.createElement("input");
  filter.type = "search";
  filter.placeholder = "Filter rows";
  filter.setAttribute("aria-label", `Filter rows of ${name}`);
  const count = document.createElement("output");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    count.textContent = words.length ? `${rows.filter((r) => !r.hidden).length} of ${rows.length}` : "";
  });
  tools.append(filter, count);
  if (table.tHead.rows[0].cells.length > 3) tools.append(columnChooser(table));
  table.parentElement.before(tools);
}

function columnChooser(table) {
  const chooser = document.createElement("details");
  chooser.className = "columns";
  const summary = document.createElement("summary");
  summary.textContent = "Columns";
  const list = document.createElement("div");
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    if (!column) return; // the first names the row
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      for (const row of table.rows) row.cells[column].hidden = !box.checked;
    });
    label.append(box, cell.textContent);
    list.append(label);
  });
  chooser.append(summary, list);
  return chooser;
}

// Pointing at a figure, or its arrow keys, names the nearest point.
function addPoints(box, tip) {
  const points = JSON.parse(box.dataset.points);
  const image = box.querySelector("img");
  let current = -1;
  const place = (point) => {
    const frame = image.getBoundingClientRect();
    return [frame.left + (frame.width * point[0]) / 1000, frame.top + (frame.height * point[1]) / 1000];
  };
  const show = (index) => {
    current = index;
    box.dispatchEvent(new CustomEvent("light", { bubbles: true, detail: points[index]?.[3] }));
    tip.hidden = index < 0;
    if (index < 0) return;
    const [x, y] = place(points[index]);
    tip.textContent = points[index][2];
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(room, x - tip.offsetWidth / 2)) + scrollX}px`;
    tip.style.top = `${y + scrollY - tip.offsetHeight - 12}px`;
  };
  box.addEventListener("pointermove", (event) => {
    let [nearest, best] = [-1, 24]; // CSS pixels
    points.forEach((point, i) => {
      const [x, y] = place(point);
      const distance = Math.hypot(x - event.clientX, y - event.clientY);
      if (distance < best) [nearest, best] = [i, distance];
    });
    show(nearest);
  });
  for (const end of ["pointerleave", "blur", "scroll"]) box.addEventListener(end, () => show(-1));
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step) return;
    event.preventDefault();
    show((Math.max(current, step < 0 ? 0 : -1) + step + points.length) % points.length);
  });
}

// A link into a closed part opens it.
function openTarget() {
  const target = address.isPart() && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView();
}

for (const table of document.querySelectorAll("section:not(#answer) .scroll > table")) {
  const rows = table.tBodies[0].rows.length;
  if (rows > 1) addSorting(table);
  const name = table.closest("section").querySelector("h2").textContent;
  if (rows > 5 && table.tHead.rows[0].cells.length > 2) addTools(table, name);
}
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("role", "status");
document.body.append(tip);
for (const box of document.querySelectorAll("[data-points]")) addPoints(box, tip);
// On paper nothing can be opened: all of it is.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open]):not(.columns):not(.records)")];
  for (const part of closed) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});
addEventListener("hashchange", openTarget);
openTarget();
