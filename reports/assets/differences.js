"use strict";
// Differences against a baseline that the reader chooses: every pair was judged where the page was
// made, and is written here as it is written there (`reports/tables/baselines.py`).
{
  const MISSING = "–";

  // Tenths of points as text: 12 -> "+1.2", 0 -> "0.0", 0.1 -> "+0.0".
  function points(tenths) {
    const size = Math.abs(tenths);
    const sign = tenths > 0 ? "+" : tenths < 0 ? "−" : "";
    return `${sign}${Math.floor(size / 10)}.${Math.floor(size % 10)}`;
  }

  // What each other variant has more than the baseline, in the page's order.
  function compare(data, baseline) {
    const found = new Map();
    for (const [i, j, diff, low, high, word, p, adjusted] of data.pairs) {
      if (i === baseline) found.set(j, { diff, low, high, word, p, adjusted });
      if (j === baseline) found.set(i, { diff: -diff, low: high === null ? null : -high, high: low === null ? null : -low, word, p, adjusted });
    }
    return found;
  }

  function chooseTicks(low, high) {
    const step = [5, 10, 20, 50, 100, 200, 500].find((size) => (high - low) / size <= 6) ?? 1000;
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
    return ticks;
  }

  function drawBar(cell, found, place) {
    const bar = document.createElement("div");
    bar.className = "bar";
    const add = (kind, from, to = from) => {
      const part = document.createElement("i");
      part.className = kind;
      part.style.left = `${place(from)}%`;
      part.style.width = kind === "span" ? `${place(to) - place(from)}%` : "";
      bar.append(part);
    };
    add("zero", 0);
    if (found.low !== null) add("span", found.low, found.high);
    add("dot", found.diff);
    bar.classList.toggle("apart", found.word === "shown");
    cell.append(bar);
  }

  function drawAxis(head, ticks, place) {
    const axis = document.createElement("div");
    axis.className = "axis";
    axis.setAttribute("aria-hidden", "true");
    for (const tick of ticks) {
      const label = document.createElement("span");
      label.textContent = points(tick).replace(/\.0$/, "");
      label.style.left = `${place(tick)}%`;
      axis.append(label);
    }
    head.querySelector(".axis")?.remove();
    head.append(axis);
  }

  function draw(box, data, baseline) {
    const found = compare(data, baseline), rows = [];
    const ends = [0, ...[...found.values()].flatMap(({ diff, low, high }) => [low ?? diff, high ?? diff])];
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const room = 0.04 * (high - low) || 1;
    const place = (tenths) => (100 * (tenths - low + room)) / (high - low + 2 * room);
    data.variants.forEach(([, shown], i) => {
      if (i === baseline) return;
      const row = document.createElement("tr"), name = document.createElement("th");
      name.scope = "row";
      name.className = "text";
      name.textContent = shown;
      row.append(name);
      const [difference, forest, verdict] = ["num", "forest", "text"].map((kind) => {
        const cell = row.insertCell();
        cell.className = kind;
        return cell;
      });
      const one = found.get(i);
      if (one === undefined) {
        difference.textContent = verdict.textContent = MISSING;
      } else {
        const interval = one.low === null ? "" : ` [${points(one.low)}, ${points(one.high)}]`;
        difference.textContent = `${one.adjusted ? "≈ " : ""}${points(one.diff)}${interval}`;
        verdict.textContent = one.word ? `${one.word} (p ${one.p})` : MISSING;
        drawBar(forest, one, place);
      }
      rows.push(row);
    });
    box.querySelector("tbody").replaceChildren(...rows);
    const heads = [...box.querySelectorAll("thead th")];
    const column = heads.findIndex((head) => head.hasAttribute("aria-sort")); // as the reader sorted it
    if (column >= 0) sortBy(box.querySelector("table"), column, heads[column].getAttribute("aria-sort") === "descending");
    drawAxis(box.querySelector("thead .forest"), chooseTicks(low, high), place);
  }

  function start(box) {
    const data = JSON.parse(box.querySelector(".differences-data").textContent);
    const select = box.querySelector("select"), names = data.variants.map(([name]) => name);
    const usual = data.baseline;
    data.variants.forEach(([, shown], i) => select.append(new Option(shown, i)));
    const show = (baseline) => {
      select.value = baseline;
      box.classList.toggle("changed", baseline !== usual);
      draw(box, data, baseline);
    };
    select.addEventListener("change", () => {
      const chosen = Number(select.value);
      address.write({ baseline: chosen === usual ? null : names[chosen] }, { step: true });
      show(chosen);
    });
    if (data.variants.length > 2) addSorting(box.querySelector("table"));
    document.querySelector("section:not(#answer) figure.differences")?.classList.add("replaced");
    box.hidden = false;
    address.follow((choices) => show(names.includes(choices.get("baseline")) ? names.indexOf(choices.get("baseline")) : usual));
    if (address.isNew() && address.read().has("baseline")) box.scrollIntoView();
  }

  const box = document.getElementById("differences");
  if (box) start(box);
}
