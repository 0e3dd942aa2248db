"""Pages that list what is here: published reports, examples, questions, public names."""

import ast
import importlib
import re
from pathlib import Path

from repository import ROOT

from ablations.registry import list_ablations
from bench.settings.yaml_file import load_yaml

PACKAGES = ("ablations", "reports", "bench", "fcn")


def write_python() -> str:
    """Return the page of all public names, whose docstrings mkdocstrings fills in."""
    parts = [
        "# Python, name by name\n\nThe public names of the four packages, from their docstrings; "
        "[From Python](../python.md) shows them at work."
    ]
    for package in PACKAGES:
        names = importlib.import_module(package).__all__
        parts += [f"## {package}", *(f"::: {package}.{name}" for name in names)]
    return "\n\n".join(parts) + "\n"


def write_questions() -> str:
    """Return the page of all questions that come along, by folder."""
    folders: dict[str, list[str]] = {}
    for name, path in list_ablations().items():
        try:
            file = path.resolve().relative_to(ROOT)
        except ValueError:  # of another package that is installed
            continue
        asked = " ".join(str(load_yaml(path)["question"]).split())
        row = f"| [`{name}`](../../{file.as_posix()}) | {asked} |"
        folders.setdefault(name.rpartition("/")[0], []).append(row)
    head = "# Questions that come along\n\n`fcn-bench run NAME` asks one; `fcn-bench explain NAME` "
    head += "says what it holds. Each name leads to its file."
    parts = [head]
    for folder, rows in sorted(folders.items()):
        title = [f"## {folder}"] if folder else []
        parts += [*title, "\n".join(["| name | question |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def write_examples() -> dict[str, str]:
    """Return a page for each example: what its docstring says, and the file."""
    pages = {}
    for path in sorted((ROOT / "docs" / "examples").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        said = ast.get_docstring(ast.parse(text)) or ""
        title, _, rest = said.partition("\n")
        code = text.split('"""', 2)[2].strip()
        head = f"# {title.removesuffix('.')}\n\n`docs/examples/{path.name}`\n"
        page = f"{head}{rest.rstrip()}\n\n## The file\n\n~~~~python\n{code}\n~~~~\n"
        pages[f"examples/{path.stem}.md"] = page
    return pages


def write_results() -> str:
    """Return the page of published reports: of each what its README says, and its first table."""
    parts, results = [_RESULTS], ROOT / "docs" / "results"
    for readme in sorted(results.rglob("README.md")):
        title, _, rest = readme.read_text(encoding="utf-8").partition("\n")
        folder, place = readme.parent, readme.parent.relative_to(results).as_posix()
        parts += [f"## {title.removeprefix('# ')}"]
        if (folder / "index.html").exists():
            parts += [f"[Open the report]({place}/index.html){{ .md-button }}"]
        for figure in ("scores.png", "figures/scores.png"):
            if (folder / figure).exists():
                parts += [f"![Scores by variant]({place}/{figure})"]
        parts += [_lead_into(folder, place, re.sub(r"^## ", "### ", rest.strip(), flags=re.M))]
        if (folder / "summary.md").exists():  # one that lists others has none
            parts += [_fold_table((folder / "summary.md").read_text(encoding="utf-8"))]
    return "\n\n".join(parts) + "\n"


def _fold_table(summary: str) -> str:
    """Return the first table of a summary with the note below it, to be unfolded."""
    blocks = summary.split("\n\n")
    first = next(k for k, block in enumerate(blocks) if block.startswith("|"))  # behind remarks
    lines = "\n\n".join(blocks[first : first + 2]).splitlines()
    return '??? note "The table of scores"\n\n' + "\n".join(f"    {line}" for line in lines)


_RESULTS = """# Results

Reports that were made with fcn-bench and are kept in the repository, under `docs/results/`: some as
the page that the command wrote, all as the counts and records of which `fcn-bench report --from`
makes it. What stands below is the account beside each: how it was made, what it shows, and what it
does not.

Without training: the [stride bound on CamVid](paper-on-camvid/stride-bound/bound.md), and
[one network of each family of timm](timm-families.md) tried as a backbone."""


def _lead_into(folder: Path, place: str, text: str) -> str:
    """Return a README's text with links that lead into its folder from the page above it."""

    def lead(found: re.Match[str]) -> str:
        page = "index.html" * (folder / found[1] / "index.html").exists()  # of a folder
        return f"]({place}/{found[1]}{page})"

    return re.sub(r"\]\((?![a-z]+:|#)([^)\s]+)\)", lead, text)
