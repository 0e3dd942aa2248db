"""The page: one HTML file that holds the whole answer, and the tables and figures beside it.

In: a plan and a store. Out: `index.html`, `summary.csv`, `summary.md`, `runs.csv`, `classes.csv`
and `figures/`. The same plan and store give the same bytes: nothing here asks for the time.
"""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from bench.atomic import replacing
from bench.plan import Plan
from bench.store import Store
from reports import provenance
from reports.answer import find_answer
from reports.canvas import save_figure
from reports.curves import plot_curves
from reports.formats import Table, to_csv, to_html, to_markdown
from reports.frame import (
    class_frame,
    curves_frame,
    find_factors,
    read_records,
    runs_frame,
    watched_frame,
)
from reports.panels import load_pictures
from reports.pictures import draw_picture
from reports.plots import plot_classes, plot_scores, plot_skip_grid
from reports.stats import has_grid, summarize_variants
from reports.style import clean, clean_block
from reports.tables import (
    class_grid,
    class_table,
    published_table,
    runs_table,
    summarize_classes,
    summary_table,
)

PIXELS_PER_INCH = 94.4
"""A figure of full width (10 inches) fills the page's column of 944 pixels."""


@dataclass(frozen=True)
class Illustration:
    """A figure as the page shows it."""

    name: str
    """Name of its files, without suffix."""
    title: str
    caption: str
    width: int
    height: int
    """Size in CSS pixels, so that letters are equally large in all figures."""
    files: dict[str, bytes]

    @property
    def source(self) -> str:
        """The figure as a data URI: a picture cannot run a script, whatever is written in it."""
        suffix, kind = (".svg", "svg+xml") if ".svg" in self.files else (".png", "png")
        return f"data:image/{kind};base64,{base64.b64encode(self.files[suffix]).decode()}"


def write_report(plan: Plan, store: Store, out_dir: Path) -> Path:
    """Write the report of a plan and return the path of its `index.html`.

    Runs that failed or do not exist are rows with their reason. Files of an earlier report in
    `out_dir` are replaced; nothing else there is touched.
    """
    runs = runs_frame(plan, store)
    summary = summarize_variants(runs, plan.baseline)
    classes = class_frame(plan, store)
    figures = _draw_figures(plan, store, runs, summary, classes)
    pictures, no_pictures = _draw_pictures(plan, store, runs)

    outputs = {
        "index.html": _render(plan, store, runs, summary, classes, figures, pictures, no_pictures),
        "summary.csv": to_csv(summary),
        "summary.md": _summary_markdown(plan, summary),
        "runs.csv": to_csv(runs),
        "classes.csv": to_csv(summarize_classes(classes)),
    }
    _remove_figures(out_dir / "figures")
    for illustration in (*figures, *pictures):
        for suffix, content in illustration.files.items():
            _write(out_dir / "figures" / f"{illustration.name}{suffix}", content)
    for name, text in reversed(outputs.items()):  # the page last: it stands for the rest
        _write(out_dir / name, text.encode())
    return out_dir / "index.html"


def _draw_figures(
    plan: Plan, store: Store, runs: pd.DataFrame, summary: pd.DataFrame, classes: pd.DataFrame
) -> list[Illustration]:
    """Draw every figure for which there is something to draw."""
    grouped = has_grid(runs)
    curves, watched = curves_frame(plan, store), watched_frame(plan, store)
    figures: list[tuple[str, str, str, Figure]] = []
    if (runs["status"] == "done").any():
        figures.append(("scores", "Scores", _SCORES, plot_scores(runs, grouped=grouped)))
        if grouped:
            figures.append(("grid", "Backbone × skip", _GRID, plot_skip_grid(summary)))
    if len(curves):
        figure = plot_curves(curves, watched, summary, grouped=grouped)
        figures.append(("curves", "Learning curves", _CURVES, figure))
    if len(classes):
        grid = class_grid(classes, plan.variants)
        figures.append(("classes", "Classes", _CLASSES, plot_classes(grid)))
    return [_illustrate(name, title, text, figure) for name, title, text, figure in figures]


def _illustrate(
    name: str, title: str, caption: str, figure: Figure, *, svg: bool = True
) -> Illustration:
    width, height = (round(inches * PIXELS_PER_INCH) for inches in figure.get_size_inches())
    return Illustration(name, title, caption, width, height, save_figure(figure, svg=svg))


def _draw_pictures(plan: Plan, store: Store, runs: pd.DataFrame) -> tuple[list[Illustration], str]:
    pictures, why_not = load_pictures(plan, store)
    grouped = has_grid(runs)
    shown = []
    for number, picture in enumerate(pictures, start=1):
        figure = draw_picture(picture, grouped=grouped)
        names = (f"picture-{number}", f"Picture {number}", clean(picture.name))
        shown.append(_illustrate(*names, figure, svg=False))
    return shown, why_not


def _render(
    plan: Plan,
    store: Store,
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    classes: pd.DataFrame,
    figures: list[Illustration],
    pictures: list[Illustration],
    no_pictures: str,
) -> str:
    records = read_records(plan, store)
    factors = find_factors(plan)
    css = files("reports").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"clean": clean, "clean_block": clean_block, "table": _table}
    source = files("reports").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        plan=plan,
        css=Markup(css),  # ours, and pinned by the digest in the policy
        css_digest=digest,
        answer=find_answer(runs, summary, factors, plan.baseline),
        unfinished=provenance.list_unfinished(records),
        summary=summary_table(summary),
        figures={figure.name: figure for figure in figures},
        pictures=pictures,
        no_pictures=no_pictures,
        classes=class_table(class_grid(classes, plan.variants)) if len(classes) else None,
        published=published_table(plan.published, summary) if plan.published else None,
        runs=runs_table(runs),
        differing=provenance.settings_table(runs, factors),
        shared=provenance.shared_settings(plan),
        software=provenance.environment_table(records),
        weights=provenance.weights_table(records),
        finished=max(runs["finished"].dropna(), default=""),
        most_seeds=int(summary["num_done"].max()),
    )


def _table(table: Table) -> Markup:
    return to_html(table)


def _summary_markdown(plan: Plan, summary: pd.DataFrame) -> str:
    parts = [to_markdown(summary_table(summary))]
    if plan.published:
        parts.append(to_markdown(published_table(plan.published, summary)))
    return "\n".join([*parts, _MARKDOWN_NOTE])


def _remove_figures(folder: Path) -> None:
    """Remove the figures of an earlier report, which might not be drawn again."""
    for pattern in ("scores.*", "grid.*", "curves.*", "classes.*", "picture-*.png"):
        for path in folder.glob(pattern):
            path.unlink()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


_SCORES = (
    "Each dot is one seed, the upright mark their mean, the bar one sample standard deviation "
    "to either side. The axes do not start at zero."
)
_GRID = (
    "Mean mIoU over seeds ± sample standard deviation, in percent. "
    "Hatched cells have no finished run or were not planned."
)
_CURVES = (
    "Training loss, averaged over short spans of steps; the mean over seeds with one standard "
    "deviation as the band. Where scores were watched along the way, their mIoU is below."
)
_CLASSES = (
    "Mean IoU over seeds in percent. A hatched cell has no finished run, "
    "or its class is in neither target nor prediction."
)
_MARKDOWN_NOTE = (
    "Scores in percent, mean ± sample standard deviation over seeds; "
    "Δ against the baseline in points, paired by seed. Bold: highest mean of its column.\n"
)
