"""The table of variants, its best and their ties marked; the paper's table.

In: a summary (`reports.stats.summary`). Out: `Table`s of text, and the sentences that explain them.
"""

from collections.abc import Callable

import pandas as pd

from bench.metrics import BOUNDARY_SCORE, SCORES, explain
from bench.text import clean
from reports.formats import MARK, UNDERLINED, Table
from reports.marks import name_variants
from reports.stats.comparability import UNKNOWN, Comparability
from reports.stats.primary import primary_of
from reports.stats.summary import list_scores
from reports.style import (
    between,
    duration,
    label,
    mean_label,
    millions,
    percent,
    places,
    points,
    with_spread,
    writer_of,
)
from reports.tables.cells import ADJUSTED_MEANS, show_differences, show_estimates


def summary_table(
    summary: pd.DataFrame, comparability: Comparability = UNKNOWN, baseline: str | None = None
) -> Table:
    """Show a summary: mean ± standard deviation over seeds, and 95 % intervals where there are any.

    The best by the primary score is marked, and what is not shown to be below it (`add_intervals`);
    where variants are not comparable none is best, and a column says what judged each.
    """
    cells = pd.DataFrame({"variant": name_variants(summary)})
    cells["seeds"] = [
        f"{row.num_done} of {row.num_planned}" for row in summary.itertuples(index=False)
    ]
    if "judged_on" in summary:
        cells["judged on"] = [clean(text) for text in summary["judged_on"]]
    primary = primary_of(summary)
    usual = ("miou", "pixel_acc", "mean_acc", "fw_iou")
    for score in dict.fromkeys((primary, *usual, *list_scores(summary))):
        cells[label(score)] = _spreads(
            summary[f"{score}_mean"], summary[f"{score}_std"], writer_of(score)
        )
        if score != primary:
            continue
        if _has(summary, f"{primary}_rank_low"):
            ends = zip(summary[f"{primary}_rank_low"], summary[f"{primary}_rank_high"], strict=True)
            cells["place"] = [places(first, last) for first, last in ends]
        if "mean_over" in summary:
            cells["mean over"] = summary["mean_over"].to_numpy()
        if _has(summary, f"{primary}_low"):
            cells[f"{label(primary)}, 95 %"] = _bounds(summary, primary, percent)
        if f"{primary}_diff_mean" in summary:
            cells[f"Δ {label(primary)}"] = show_differences(summary, primary)
        if _has(summary, f"{primary}_diff_low"):
            cells["Δ, 95 %"] = _bounds(summary, f"{primary}_diff", points)
    cells["parameters"] = [millions(value) for value in summary["num_parameters"]]
    cells["training"] = [duration(value) for value in summary["train_seconds"]]
    caption = describe_scores(summary, is_ranked=comparability.holds(summary["variant"]))
    if f"{primary}_diff_mean" in summary:
        is_marked = "remark" in summary and summary["remark"][summary["variant"] == baseline].any()
        against = f"the baseline {MARK}" if is_marked else "the baseline"
        caption += f" Δ: points of {label(primary)} against {against}"
        caption += f"{_say_differences(summary)}."
        if summary.get(f"{primary}_diff_adjusted", pd.Series(dtype=bool)).any():
            caption += f" {ADJUSTED_MEANS}"
    caption += " Parameters and training time: means over runs."
    numeric = frozenset(cells.columns[1:]) - {"judged on", "mean over"}
    best, tied = (marked_cells(summary, kind, label(primary)) for kind in ("best", "tied"))
    return Table(cells, numeric, best, tied, caption)


def _say_differences(summary: pd.DataFrame) -> str:
    """Say what the intervals of differences hold for, as the end of a sentence."""
    primary = primary_of(summary)
    if not _has(summary, f"{primary}_diff_low"):
        return ""
    words = summary.loc[summary[f"{primary}_diff_low"].notna(), f"{primary}_diff_word"]
    of_one = "over images alone, about these trained networks"
    if not any(words):
        return f", its interval {of_one}"
    rest = "" if all(words) else f", with one seed {of_one}"
    return f", its interval one of all contrasts of this page at once{rest}"


def describe_scores(summary: pd.DataFrame, *, is_ranked: bool = True) -> str:
    """Say in sentences what the scores of a summary are: units, spread, interval, marks.

    `is_ranked`: whether the variants can be compared by any score.
    """
    primary = primary_of(summary)
    coverage = describe_coverage(summary) if _has(summary, f"{primary}_low") else ""
    is_marked = is_ranked and bool(marked_cells(summary, "best", ""))
    return " ".join(
        filter(
            None, [_SCORES, coverage, _MARKS.format(score=mean_label(primary)) if is_marked else ""]
        )
    )


def explain_scores(summary: pd.DataFrame) -> list[tuple[str, str]]:
    """Return name and meaning of each score beside the four that every report has."""
    more = [name for name in list_scores(summary) if name not in SCORES]
    return [(label(name), clean(explain(name))) for name in more]


def describe_coverage(summary: pd.DataFrame) -> str:
    """Say what the intervals of a summary cover, and what they do not."""
    images = sorted({int(n) for n in summary["num_images"].dropna()})
    counts = f"n = {images[0]}" if len(images) == 1 else f"n = {images[0]} to {images[-1]}"
    most = int(summary["num_done"].max())
    if most < 2:
        return (
            f"Intervals, 95 %: the choice of images ({counts}), resampled; with one seed they "
            "do not cover what another training run would give."
        )
    text = f"Intervals, 95 %: the choice of images ({counts}) and of seeds, both resampled."
    if (summary.loc[summary["num_done"] > 0, "num_done"] < 2).any():
        text += " A variant with one seed has an interval over images alone, and no mark."
    return text


def marked_cells(summary: pd.DataFrame, kind: str, column: str) -> frozenset[tuple[int, str]]:
    """Return the cells of a column whose variants are `kind`: "best" or "tied"."""
    marks = summary.get(f"{primary_of(summary)}_{kind}", pd.Series(False, summary.index))
    return frozenset((i, column) for i, is_so in enumerate(marks) if is_so)


_SCORES = "Scores in percent, mean ± sample standard deviation over seeds."

_MARKS = (
    f"Bold: the highest {{score}}; {UNDERLINED}: not shown to be below it (one model of error "
    "for all variants, 5 % for all contrasts of this page)."
)


def _has(summary: pd.DataFrame, column: str) -> bool:
    return column in summary and bool(summary[column].notna().any())


def _spreads(means: pd.Series, stds: pd.Series, show: Callable[[float], str]) -> list[str]:
    return [with_spread(show(mean), std, show) for mean, std in zip(means, stds, strict=True)]


def _bounds(summary: pd.DataFrame, prefix: str, show: Callable[[float], str]) -> list[str]:
    ends = zip(summary[f"{prefix}_low"], summary[f"{prefix}_high"], strict=True)
    return [between(low, high, show) for low, high in ends]


PAPER_NAMES = {
    "pixel_acc": "pixel acc.",
    "mean_acc": "mean acc.",
    "miou": "mean IU",
    "fw_iou": "f.w. IU",
    BOUNDARY_SCORE: "boundary IU",
}
"""The four scores in the order and words of Long et al., 2015, table 1, arXiv:1411.4038."""


def paper_frame(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the scores alone, in the paper's order: mean, deviation and interval of each."""
    kinds = ("mean", "std", "low", "high", "tied")
    shown = dict.fromkeys((*PAPER_NAMES, *list_scores(summary)))
    scores = [f"{score}_{kind}" for score in shown for kind in kinds]
    names = ["variant", "num_done", "num_images", *scores, "judged_on", "mean_over", "remark"]
    return summary[[name for name in names if name in summary]]


def paper_table(summary: pd.DataFrame, comparability: Comparability = UNKNOWN) -> Table:
    """Show the four scores as the FCN paper's tables do, with their intervals."""
    cells = pd.DataFrame({"variant": name_variants(summary)})
    images = summary.get("num_images", pd.Series(float("nan"), summary.index))
    cells["n"] = [
        f"{seeds}" if pd.isna(n) else f"{seeds} × {int(n)}"
        for seeds, n in zip(summary["num_done"], images, strict=True)
    ]
    known = list_scores(summary)
    for score in dict.fromkeys((*PAPER_NAMES, *known)):
        if score in known:
            cells[_name_in_paper(score)] = show_estimates(summary, score)
    numeric = frozenset(cells.columns[1:])
    for column, name in (("mean_over", "mean IU over"), ("judged_on", "judged on")):
        if column in summary:
            cells[name] = [clean(text) for text in summary[column]]
    described = describe_scores(summary, is_ranked=comparability.holds(summary["variant"]))
    caption = f"{described} n: seeds × images. IU: IoU, as the paper calls it."
    primary = _name_in_paper(primary_of(summary))
    best, tied = (marked_cells(summary, kind, primary) for kind in ("best", "tied"))
    return Table(cells, numeric, best, tied, caption)


def _name_in_paper(score: str) -> str:
    return PAPER_NAMES.get(score, label(score))
