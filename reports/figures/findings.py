"""What figures show, in a sentence each, for who does not see them: highest, lowest, what is shown.

In: a `Study` and a figure's name. Out: a sentence, unescaped; empty where the caption has to do.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.text import clean, number_of
from reports.figures.learning import learning_frame
from reports.files import name_effects
from reports.statements import state_factor
from reports.stats.changes import list_factors
from reports.stats.class_gains import MEAN
from reports.stats.finding import SHOWN
from reports.study import Study
from reports.style import capital, enumerate_names, mean_label, percent, points

Ints = NDArray[np.int64]


def find_finding(name: str, study: Study) -> str:
    """Say what a figure of a report shows."""
    if name in ("scores", "grid"):
        return _of_scores(study)
    if name == "learning":
        return _of_learning(study)
    if name == "differences":
        return _of_differences(study)
    if name == "classes":
        return _of_classes(study)
    if name == "class-gains":
        return _of_class_gains(study.class_gains)
    for factor in list_factors(study.changes):
        if name == name_effects(factor):
            own = (study.changes, study.main_effects, study.interactions)
            return " ".join(text for text in state_factor(factor, *own)[0] if text)
    return ""


def _of_scores(study: Study) -> str:
    primary = study.primary
    scored = study.drawn_summary.dropna(subset=[f"{primary}_mean"])
    if not len(scored):
        return ""
    scores = dict(zip(scored["variant"], scored[f"{primary}_mean"], strict=True))
    told = [
        f"{study.names[variant]} with {percent(scores[variant])} %"
        for variant in (max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__))
    ]
    if len(scored) == 1:
        return f"{capital(mean_label(primary))} of {told[0]}."
    count = number_of(len(scored), "variant")
    return f"{capital(mean_label(primary))} of {count}: highest {told[0]}, lowest {told[1]}."


def _of_learning(study: Study) -> str:
    primary = study.primary
    frame = learning_frame(study.summary, study.records, study.levels, study.intervals.arms)
    told = []
    for line, own in frame.groupby("line", sort=False):
        rows = own.sort_values("num_trained").to_dict("records")
        ends = (
            f"{percent(r[f'{primary}_mean'])} % with {r['num_trained']}"
            for r in (rows[0], rows[-1])
        )
        told.append(f"{clean(str(line))}{': ' if line else ''}{' and '.join(ends)}")
    return f"{capital(mean_label(primary))} by training images, fewest and most: {'; '.join(told)}."


def _of_differences(study: Study) -> str:
    primary = study.primary
    rows = study.drawn_summary.dropna(subset=[f"{primary}_diff_mean"])
    words = rows.get(f"{primary}_diff_word", pd.Series("", rows.index))
    is_up = rows[f"{primary}_diff_mean"] > 0
    parts = {
        "shown to be better": (words == SHOWN) & is_up,
        "shown to be worse": (words == SHOWN) & ~is_up,
        "no difference shown": words != SHOWN,
    }
    told = [
        f"{what}: {enumerate_names([study.names[name] for name in rows.loc[held, 'variant']])}"
        for what, held in parts.items()
        if held.any()
    ]
    return f"Against {study.names[study.plan.baseline or '']}, {'; '.join(told)}."


def _of_classes(study: Study) -> str:
    means = study.classes.groupby("class_name", sort=False)["iou"].mean().dropna().to_dict()
    if len(means) < 2:
        return ""
    best, worst = (choose(means, key=means.__getitem__) for choose in (max, min))
    return (
        f"IoU over all variants: highest {best} with {percent(means[best])} %, lowest {worst} with "
        f"{percent(means[worst])} %."
    )


def _of_class_gains(gains: pd.DataFrame) -> str:
    context = MEAN if MEAN in set(gains["context"]) else gains["context"].iloc[0]
    own = gains[gains["context"] == context].set_index("class_name")["diff"]
    where = (
        f"With {context}: most" if context != MEAN and gains["context"].nunique() > 1 else "Most"
    )
    return (
        f"{where} for {own.idxmax()}, {points(own.max())} points of IoU; least for {own.idxmin()}, "
        f"{points(own.min())}."
    )


def tell_fronts(fronts: Mapping[str, Sequence[str]], study: Study) -> str:
    """Say by cost which variants none is shown to beat, where any is beaten."""
    told = [
        f"{cost}: {enumerate_names([study.names[name] for name in front])}"
        for cost, front in fronts.items()
        if front
    ]
    if not told:
        return "No variant is shown to beat another in score and cost at once."
    return f"Beaten by none in score and cost at once, by cost: {'; '.join(told)}."


def tell_last_losses(curves: pd.DataFrame, study: Study) -> str:
    """Say whose loss is lowest and highest at the end: the mean of the last tenth of its steps."""
    last = curves[curves["step"] > 0.9 * curves.groupby("variant")["step"].transform("max")]
    means = last.groupby("variant", sort=False)["loss"].mean().dropna().to_dict()
    if not means:
        return ""
    least, most = (choose(means, key=means.__getitem__) for choose in (min, max))
    ends = [f"{study.names[str(name)]} with {means[name]:.3g}" for name in (least, most)]
    if len(means) == 1:
        return f"Loss over the last tenth of the steps: {ends[0]}."
    return f"Loss over the last tenth of the steps: lowest {ends[0]}, highest {ends[1]}."


def tell_confusions(confusions: Mapping[str, Ints], class_names: Sequence[str]) -> str:
    """Say of each variant which class is most often taken for which other."""
    told = []
    for variant, counts in confusions.items():
        rows = counts.sum(1, keepdims=True)
        shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
        np.fill_diagonal(shares, 0.0)
        target, pred = divmod(int(np.argmax(shares)), len(class_names))
        told.append(
            f"{percent(shares[target, pred])} % of {class_names[target]} called "
            f"{class_names[pred]} by {variant}"
        )
    return f"Taken for another most often: {'; '.join(told)}."


def tell_bound(bound: Mapping[int, float], strides: Mapping[str, float], study: Study) -> str:
    """Say what the coarsest and the finest stride allow, and what the best variant reached."""
    ends = [f"{percent(bound[stride])} % at {stride}" for stride in (max(bound), min(bound))]
    scores = study.drawn_summary.set_index("variant")["miou_mean"].dropna()
    reached = scores[[name for name in scores.index if name in strides]]
    best = str(reached.idxmax()) if len(reached) else ""
    own = f", where it predicts at {strides[best]:g}" if best else ""
    told = f" {study.names[best]} reaches {percent(reached[best])} %{own}." if best else ""
    return f"Allowed by the stride, in label pixels: {' and '.join(ends)}.{told}"
