"use strict";
// A variant that is pointed at, in a row of a table or a mark of a figure, is lit in all of them.
{
  const MANY = 14; // marks of one variant from which rings would hide what they are around
  const [NEAR, FAR] = [9, 22]; // radii in pixels of a figure's own size

  const variants = JSON.parse(document.querySelector(".variants-data").textContent);
  const places = new Map(); // by the name that it has in the plan, and by the one that is shown
  variants.forEach(([name, shown], i) => places.set(name, i).set(shown, i));
  const figures = [...document.querySelectorAll("figure:not(.image) [data-points]")].map((box) => {
    const marks = JSON.parse(box.dataset.points).filter((mark) => places.has(mark[3]));
    const isLines = [...box.closest("figure").classList].some((name) => name.startsWith("curves"));
    return { box, marks, isLines, veil: null };
  }).filter(({ marks }) => marks.length);
  let lit = null;

  // Rows of tables whose first column is a variant.
  function* rowsOf(root) {
    for (const table of root.querySelectorAll("table")) {
      if (table.tHead?.rows[0]?.cells[0]?.textContent.trim() !== "variant") continue;
      for (const row of table.tBodies[0].rows) yield row;
    }
  }

  function variantOf(row) {
    const head = row?.closest("table").tHead?.rows[0]?.cells[0];
    if (head?.textContent.trim() !== "variant" || row.parentElement.tagName !== "TBODY") return null;
    return places.get(row.cells[0].textContent.trim()) ?? null;
  }

  function make(kind, attributes, parent) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    parent.append(element);
    return element;
  }

  // Half the least distance of two marks, within bounds: spots do not meet.
  function reach(marks, width, height) {
    let least = 2 * FAR;
    marks.forEach(([x, y], i) => {
      for (const [u, v] of marks.slice(0, i)) {
        const distance = Math.hypot(((x - u) * width) / 1000, ((y - v) * height) / 1000);
        if (distance > 2) least = Math.min(least, distance);
      }
    });
    return Math.max(NEAR, least / 2);
  }

  // Marks of curves, joined as they follow one another; where x falls another line begins.
  function join(marks, width, height) {
    const paths = [];
    marks.forEach(([x, y], i) => {
      const place = `${(x * width) / 1000} ${(y * height) / 1000}`;
      if (i === 0 || x <= marks[i - 1][0]) paths.push(`M${place}`);
      else paths[paths.length - 1] += `L${place}`;
    });
    return paths;
  }

  // A veil over the figure with a hole at each mark of the variant.
  function cover(figure, number, variant) {
    const { box, marks } = figure, image = box.querySelector("img");
    const own = marks.filter((mark) => places.get(mark[3]) === variant);
    if (!own.length) return;
    const [width, height] = [image.width, image.height];
    figure.reach ??= marks.length > 400 ? NEAR : reach(marks, image.naturalWidth || width, image.naturalHeight || height);
    const veil = make("svg", { class: "veil", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, box);
    veil.style.left = `${image.offsetLeft}px`;
    veil.style.top = `${image.offsetTop}px`;
    veil.style.width = `${width}px`;
    veil.style.height = `${height}px`;
    const mask = make("mask", { id: `veil-${number}` }, veil);
    make("rect", { width, height, fill: "#fff" }, mask);
    const spot = (parent, fill) => own.forEach(([x, y]) => make("circle", { cx: (x * width) / 1000, cy: (y * height) / 1000, r: figure.reach, fill }, parent));
    if (figure.isLines) join(own, width, height).forEach((d) => make("path", { d, fill: "none", stroke: "#000", "stroke-width": NEAR, "stroke-linejoin": "round" }, mask));
    else spot(mask, "#000");
    make("rect", { class: "cover", width, height, mask: `url(#veil-${number})` }, veil);
    if (own.length < MANY && !figure.isLines) spot(make("g", { class: "rings" }, veil), "none");
    figure.veil = veil;
  }

  function light(variant) {
    if (variant === lit) return;
    lit = variant;
    for (const figure of figures) {
      figure.veil?.remove();
      figure.veil = null;
    }
    for (const row of document.querySelectorAll("tr.lit")) row.classList.remove("lit");
    if (variant === null) return;
    figures.forEach((figure, number) => cover(figure, number, variant));
    for (const row of rowsOf(document)) row.classList.toggle("lit", variantOf(row) === variant);
  }

  document.addEventListener("pointerover", (event) => {
    if (event.target.closest("[data-points]")) return; // its marks say so themselves
    light(variantOf(event.target.closest("tr")));
  });
  document.addEventListener("focusin", (event) => {
    if (!event.target.closest("[data-points]")) light(variantOf(event.target.closest("tr")));
  });
  document.addEventListener("light", (event) => light(places.get(event.detail) ?? null));
}
