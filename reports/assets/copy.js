"use strict";
// Buttons that copy: paragraphs as they are, tables as they are shown, sorted and filtered, as LaTeX.

const LATEX = {
  "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}",
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
  "−": "$-$", "–": "\\textendash{}", "±": "$\\pm$", "×": "$\\times$", "→": "$\\to$", Δ: "$\\Delta$", "‡": "\\ddag{}",
  "≈": "$\\approx$", "≤": "$\\leq$", "✓": "$\\surd$", "✗": "$\\times$", "<": "$<$", ">": "$>$",
  "|": "\\textbar{}", '"': "\\char34{}", "`": "\\char96{}", "†": "\\dag{}", "…": "\\dots{}",
};

function toLatex(table) {
  const shown = [...table.rows]
    .filter((row) => !row.hidden)
    .map((row) => [...row.cells].filter((cell) => !cell.hidden));
  const align = shown[0].map((cell) => (cell.classList.contains("num") ? "r" : "l")).join("");
  const escape = (cell) => {
    const text = [...cell.textContent.trim()].map((char) => LATEX[char] ?? char).join("").replaceAll("--", "-{}-");
    return /^[[*(]/.test(text) ? `{}${text}` : text; // else arguments of the line before
  };
  const [head, ...rows] = shown.map((cells) => `${cells.map(escape).join(" & ")} \\\\`);
  const ends = [`\\begin{tabular}{${align}}`, "\\toprule", head, "\\midrule"];
  return [...ends, ...rows, "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

// `write` is called for the text; `seen`, if any, is selected for a browser that refuses.
function copyButton(label, name, write, seen) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = label;
  button.setAttribute("aria-label", `${label} ${name}`);
  button.addEventListener("click", async () => {
    if (seen) getSelection().selectAllChildren(seen);
    try {
      await navigator.clipboard.writeText(write());
    } catch {
      if (!seen || !document.execCommand("copy")) return;
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}

for (const text of document.querySelectorAll(".copyable"))
  text.before(copyButton("Copy", text.dataset.name, () => text.textContent, text));
for (const files of document.querySelectorAll("p.files")) {
  let box = files.previousElementSibling;
  while (box && !box.matches(".scroll")) box = box.previousElementSibling;
  const table = box?.querySelector("table");
  if (table) files.append(copyButton("Copy as LaTeX", table.caption.textContent, () => toLatex(table)));
}
