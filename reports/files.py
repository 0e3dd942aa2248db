"""The files of a report: their names, and whose they are. Loads no library that draws or counts.

In: a plan and a folder. Out: the folder as `bench.outputs.folder.Outputs`, which replaces and
removes only what a report of the same plan wrote there.
"""

import hashlib
import html
import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.outputs.folder import Outputs
from bench.plan import Plan
from bench.text import clean
from reports.results.beside import SOURCES
from reports.results.settings import find_factors

PAGE = "index.html"
METHODS = ("methods.md", "methods.tex", "references.bib")
"""The paragraphs that a paper needs, and what they cite."""
SUMMARIES = ("summary.csv", "summary.md", "runs.csv", "classes.csv")
TABLES = (
    *("claims", "summary", "paper", "labels", "classes", "costs", "published", "evaluations"),
    *("comparisons", "changes", "tuning"),
)
EXPORTS = tuple(f"tables/{name}.{suffix}" for name in TABLES for suffix in ("csv", "md", "tex"))
"""Paths of all files that a report may have beside its page."""
DRAWINGS = (
    *("scores", "learning", "grid", "differences", "costs"),
    *("curves", "curves-images", "curves-seconds"),
    *("classes", "class-gains", "confusion", "bound"),
)
"""Names of the figures of any report, each in every form."""
FORMS = (".svg", "-dark.svg", ".png")
IMAGES = ("closeups", "errors", "image-1", "image-2", "image-3")
"""Names of those that are pixels alone."""
EARLIER_DRAWINGS = ("curves-pictures", "interaction")
EARLIER_IMAGES = ("picture-1", "picture-2", "picture-3")
"""Names that version 0.1 gave, which kept no list of its files."""


def open_folder(plan: Plan, out_dir: Path, *, chosen: bool = False) -> Outputs:
    """Open the folder of a plan's report; reads the page of an earlier version that is there.

    `chosen`: somebody named this folder, which may be another report's.
    """
    of = name_plan(plan, out_dir)
    page = out_dir / PAGE
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    earlier: dict[str, dict[str, str]] = {}
    if _GENERATOR in text:
        shown = of if _shows(text, plan) else {"command": _find_command(text)}
        earlier = dict.fromkeys(_list_written(text, out_dir), shown)
    return Outputs(out_dir, by="report", of=of, earlier=earlier, chosen=chosen)


def name_plan(plan: Plan, folder: Path) -> dict[str, str]:
    """Say which plan files in a folder show: by its spec's file or name, and by its content.

    Who moves a spec, and who changes one, finds the report that it made.
    """
    runs = [[planned.variant, planned.run.id] for planned in plan.runs]
    content = json.dumps([plan.name, plan.question, runs])
    digest = {"plan": hashlib.sha256(content.encode()).hexdigest()}
    if plan.spec_file:
        return {"file": _from_folder(Path(plan.spec_file), folder), **digest}
    return {"name": plan.name, **digest}


def list_possible(plan: Plan) -> list[str]:
    """Return the paths of all files that a report of a plan may come to have."""
    absent = {"labels"} if all(len(p.run.spec.data.targets) < 2 for p in plan.runs) else set()
    absent |= set() if plan.published else {"published"}
    absent |= set() if plan.claims else {"claims"}
    absent |= set() if plan.tuning else {"tuning"}
    absent |= {"comparisons"} if plan.baseline is None or len(plan.variants) < 2 else set()
    tables = [path for path in EXPORTS if Path(path).stem not in absent]
    effects = [name_effects(factor) for factor in ("skip", "backbone", *find_factors(plan))]
    figures = _list_figures({*DRAWINGS, *IMAGES, *effects}, effects)
    return [PAGE, *SOURCES, *METHODS, *SUMMARIES, *tables, *figures]


def name_effects(factor: str) -> str:
    """Return the name of the figure of what changing a factor brings."""
    return f"effects-{re.sub(r'[^a-z0-9_]+', '-', factor.lower())}"


def _list_figures(names: set[str], effects: Sequence[str] = ()) -> Iterator[str]:
    drawings, images = (*DRAWINGS, *EARLIER_DRAWINGS, *effects), (*IMAGES, *EARLIER_IMAGES)
    yield from (f"figures/{name}{form}" for name in drawings if name in names for form in FORMS)
    yield from (f"figures/{name}.png" for name in images if name in names)


def _list_written(text: str, out_dir: Path) -> Iterator[str]:
    """Yield the names that an earlier version wrote together with a page: it kept no list.

    Figures are on the page, and each table was written in all of its forms.
    """
    yield from (PAGE, *SUMMARIES)
    captions = {title.lower() for title in _CAPTION.findall(text)}
    drawn = {title.replace(" ", "-").replace("close-ups", "closeups") for title in captions}
    images = drawn & {*IMAGES, *EARLIER_IMAGES}
    yield from _list_figures(images | set(_FIGURE.findall(text)))
    for name in TABLES:
        paths = [path for path in EXPORTS if Path(path).stem == name]
        if all((out_dir / path).is_file() for path in paths):
            yield from paths


def _shows(text: str, plan: Plan) -> bool:
    """Say whether a page of an earlier version is a report of the same plan."""
    if {planned.run.id for planned in plan.runs} <= set(_RUN_ID.findall(text)):
        return True
    if not plan.spec_file:
        return f'<p class="name">{html.escape(clean(plan.name))}</p>' in text
    try:
        words = shlex.split(_find_command(text))
    except ValueError:
        return False
    return len(words) > 2 and Path(words[2]).resolve() == Path(plan.spec_file)


def _find_command(text: str) -> str:
    found = _COMMAND.search(text)
    return html.unescape(found[1]) if found else ""


def _from_folder(path: Path, folder: Path) -> str:
    """Write a path as it is seen from a folder: a page that is published names no other folder."""
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


_RUN_ID = re.compile(r"\b[0-9a-f]{8,64}\b")
_GENERATOR = '<meta name="generator" content="fcn-bench">'
_FIGURE = re.compile(r'<figure class="([\w-]+)"[ >]')
_CAPTION = re.compile(r"<figcaption><b>((?:Image|Picture) \d+|Close-ups|Errors)\.</b>")
_COMMAND = re.compile(r'<pre class="command">(.*?)</pre>', re.DOTALL)
