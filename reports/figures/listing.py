"""Which figures a report has, with the words below each: every one for which there is something.

In: a `Study`. Out: illustrations by name.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from bench.data.packs.pack import as_reported, open_pack
from bench.text import clean, number_of
from reports.figures.bound import bound_split, find_strides, plot_bound
from reports.figures.canvas import Drawing
from reports.figures.confusions import MAX_CLASSES, plot_confusions, sum_confusions
from reports.figures.costs import COSTS, list_costs, plot_costs
from reports.figures.curves import AXES, plot_curves
from reports.figures.effects import Effects, has_interval, plot_differences, plot_effects
from reports.figures.findings import (
    find_finding,
    tell_bound,
    tell_confusions,
    tell_fronts,
    tell_last_losses,
)
from reports.figures.illustration import Illustration, illustrate
from reports.figures.learning import (
    FRACTION,
    has_curve,
    learning_frame,
    plot_learning,
)
from reports.figures.plots import plot_class_gains, plot_classes, plot_scores, plot_skip_grid
from reports.figures.taken import take_over
from reports.files import name_effects
from reports.results.frame import curves_frame, eval_frame, find_log_problems
from reports.stats.changes import is_of, list_factors, list_groups
from reports.stats.costs import describe_timing, find_front, measure_costs
from reports.stats.primary import compared_scores
from reports.stats.summary import CHAINED
from reports.study import Study
from reports.style import capital, label, mean_label
from reports.tables.changes import name_factor
from reports.tables.classes import class_grid

MAX_CONTEXTS = 16
"""Contexts of a change that are shown by class."""


class Drawn(NamedTuple):
    """A figure before it is rendered."""

    name: str
    title: str
    caption: str
    figure: Drawing
    finding: str = ""
    """What it shows, where that is known by what was drawn; else `find_finding` says it."""


def draw_figures(study: Study) -> list[Illustration]:
    """Draw every figure for which there is something to draw."""
    parts = (
        _draw_effects,
        _draw_scores,
        _draw_learning,
        _draw_costs,
        _draw_curves,
        _draw_classes,
        _draw_class_gains,
        _draw_bound,
    )
    figures = [
        illustrate(*drawn[:4], drawn.finding or find_finding(drawn.name, study))
        for part in parts
        for drawn in part(study)
    ]
    return [*figures, *take_over(study.store, figures)]


def _draw_scores(study: Study) -> Iterator[Drawn]:
    runs, summary = study.drawn_runs, study.drawn_summary
    primary, shown, mean = study.primary, label(study.primary), _mean_of(study)
    if not runs[primary].notna().any():
        return
    apart = "" if study.is_ranked() else f" {_APART}"
    named_runs = runs.assign(variant=runs["variant"].map(study.names))
    skips = list(dict.fromkeys(study.runs["skip"]))
    figure = plot_scores(
        named_runs, grouped=study.grouped, skips=skips, scores=compared_scores(primary)[::-1]
    )
    yield Drawn("scores", "Scores", _SCORES + apart, figure)
    if study.grouped:
        caption = _GRID.format(mean=mean) + apart
        yield Drawn("grid", "Backbone × skip", caption, plot_skip_grid(summary, skips))
    baseline = study.plan.baseline
    if baseline is not None and summary[f"{primary}_diff_mean"].notna().any():
        spread = _say_bars(summary, primary) if has_interval(summary) else _DEVIATION
        named = summary.assign(variant=summary["variant"].map(study.names))
        figure = plot_differences(named, study.names[baseline])
        caption = f"{_DIFFERENCES.format(score=shown)} {spread}"
        yield Drawn("differences", "Differences to the baseline", caption, figure)


def _mean_of(study: Study) -> str:
    """Return how a caption begins that is about means of the primary score."""
    return capital(mean_label(study.primary))


def _draw_learning(study: Study) -> Iterator[Drawn]:
    """Draw scores by the number of training images, where the question varies their share."""
    if len(set(study.levels.get(FRACTION, {}).values())) < 2:
        return
    frame = learning_frame(study.summary, study.records, study.levels, study.intervals.arms)
    if has_curve(frame):
        of_folds = bool((frame["variant"] == "").all())
        apart = "" if study.is_ranked() or of_folds else f" {_APART}"
        apart += f" {_LEARNING_FOLDS}" * of_folds
        bars = _LEARNING_BARS if frame[f"{study.primary}_low"].notna().any() else _LEARNING_NO_BARS
        figure = plot_learning(frame, study.names, study.primary)
        caption = f"{_LEARNING.format(mean=_mean_of(study))} {bars}{apart}"
        yield Drawn("learning", "Scores by training images", caption, figure)


def _draw_effects(study: Study) -> Iterator[Drawn]:
    """Draw the changes of each factor that were made in several contexts, and the skip's."""
    primary = study.primary
    changes = study.changes[study.changes[f"{primary}_diff_mean"].notna()]
    means, apart = study.main_effects, study.interactions
    for factor in list_factors(changes):
        own = changes[changes["factor"] == factor]
        effects = [
            Effects(rows, means[is_of(means, change)], apart[is_of(apart, change)])
            for rows in list_groups(own)
            for change in [rows.iloc[0].to_dict()]
        ]
        if factor == CHAINED or any(len(one.mean) for one in effects):
            title = f"What changing {name_factor(factor)} brings"
            caption = f"{_EFFECTS.format(score=label(primary))} {_say_bars(own, primary)}"
            yield Drawn(name_effects(factor), title, caption, plot_effects(effects))


def _say_bars(rows: pd.DataFrame, primary: str) -> str:
    """Say what the bars of differences are: intervals that decide, or those of one seed."""
    has_bar = rows[f"{primary}_diff_low"].notna()
    words = rows.loc[has_bar, f"{primary}_diff_word"]
    if not len(words):
        return _NO_BARS
    if not any(words):
        return _OF_NETWORKS
    return _INTERVAL if all(words) else f"{_INTERVAL} {_OF_SOME}"


def _draw_costs(study: Study) -> Iterator[Drawn]:
    if not study.is_ranked():  # the front is of the best at their cost
        return
    runs, summary = study.drawn_runs, study.drawn_summary
    costs = measure_costs(runs)
    if not list_costs(costs):
        return
    means = {
        str(n): float(m) for n, m in summary.set_index("variant")[f"{study.primary}_mean"].items()
    }
    findings = study.intervals.findings
    fronts = {name: find_front(cost, means, findings) for name, cost in costs.items()}
    missing = [title for name, title in COSTS.items() if name not in costs]
    caption = [
        _COSTS.format(mean=_mean_of(study)),
        _FRONT if any(fronts.values()) else _NO_FRONT,
        describe_timing(runs),
        f"Not recorded in these runs: {', '.join(missing)}." if missing else "",
    ]
    figure = plot_costs(summary, costs, fronts, study.names, grouped=study.grouped)
    finding = tell_fronts({COSTS[name]: front for name, front in fronts.items()}, study)
    yield Drawn("costs", "What it costs", " ".join(filter(None, caption)), figure, finding)


def _draw_curves(study: Study) -> Iterator[Drawn]:
    curves, watched = (
        curves_frame(study.drawn, study.store),
        eval_frame(study.drawn, study.store),
    )
    if not len(curves):
        return
    problems = find_log_problems(study.drawn, study.store)
    lost = f" Rows are missing: {clean('; '.join(problems))}." if problems else ""
    for by, words in AXES.items():
        if by != "step" and not _says_more(curves, by):
            continue
        figure = plot_curves(curves, watched, study.drawn_summary, grouped=study.grouped, by=by)
        name = "curves" if by == "step" else f"curves-{by}"
        title = f"Learning curves over {words}"
        yield Drawn(name, title, _CURVES + lost, figure, tell_last_losses(curves, study))


def _says_more(curves: pd.DataFrame, by: str) -> bool:
    """Over images the curves are the same unless runs differ in images a step."""
    return bool((curves[by] / curves["step"]).round(9).nunique() > 1)


def _draw_classes(study: Study) -> Iterator[Drawn]:
    if not study.classes["iou"].notna().any():
        return
    grid = class_grid(study.classes, study.drawn.variants)
    names = {tuple(r.result.class_names) for r in study.records if r.result}
    caption = _CLASSES if len(names) == 1 else _LISTS
    yield Drawn("classes", "Classes", caption, plot_classes(grid))
    wanted = [study.plan.baseline]
    if study.is_ranked():
        ranked = study.summary.sort_values(f"{study.primary}_mean", ascending=False, kind="stable")
        wanted.append(str(ranked["variant"].iloc[0]))
    found = sum_confusions(study.records, [name for name in dict.fromkeys(wanted) if name])
    confusions = {study.names[name]: counts for name, counts in found.items() if counts.any()}
    if confusions and len(names) == 1 and len(class_names := next(iter(names))) <= MAX_CLASSES:
        figure = plot_confusions(confusions, class_names)
        which = _BEST.format(score=label(study.primary)) if study.is_ranked() else _BASELINE
        caption = _CONFUSION.format(shown=clean(" and ".join(confusions)), which=which)
        finding = tell_confusions(confusions, class_names)
        yield Drawn("confusion", "Confusion", caption, figure, finding)


def _draw_class_gains(study: Study) -> Iterator[Drawn]:
    gains = study.class_gains
    if not len(gains) or gains["context"].nunique() > MAX_CONTEXTS:
        return
    factor = list_factors(study.changes)[0]
    change = list_groups(study.changes[study.changes["factor"] == factor])[0].iloc[0]
    shown = f"{clean(change['before'])} → {clean(change['after'])}"
    caption = _GAINS.format(shown=shown)
    yield Drawn("class-gains", "Gains by class", caption, plot_class_gains(gains))


def _draw_bound(study: Study) -> Iterator[Drawn]:
    runs = [planned.run for planned in study.drawn.runs]
    if len({(run.fingerprint, run.spec.evaluate.split) for run in runs}) != 1:
        return
    if any(run.spec.data.folds for run in runs):  # each judged by a part of the split
        return
    split = runs[0].spec.evaluate.split
    try:
        whole = open_pack(study.store.packs_dir, runs[0].fingerprint)
        pack = as_reported(whole, runs[0].spec.data.targets)
        bound, count = bound_split(pack, split, study.plan.scoring)
    except (OSError, ValueError):  # not there, or damaged; InputError is a ValueError
        return
    strides = find_strides(study.drawn)
    if not count or not study.drawn_summary["variant"].isin(strides).any():
        return
    apart = "" if study.is_ranked() else f" {_APART}"
    caption = _BOUND.format(split=clean(split), images=number_of(count, "image")) + apart
    figure = plot_bound(bound, study.drawn_summary, strides)
    title = "What a stride allows, and what was reached"
    yield Drawn("bound", title, caption, figure, tell_bound(bound, strides, study))


_SCORES = (
    "Each dot is one seed, the upright mark their mean, the bar one sample standard deviation "
    "to either side. The axes do not start at zero."
)
_LEARNING = (
    "{mean} over seeds by the number of images trained on, on a logarithmic axis; a line for "
    "each setting of what else differs. Smaller shares lie within larger ones."
)
_LEARNING_BARS = (
    "The bar is the 95 % interval of each mean by itself, over images and seeds; whether two "
    "differ is said by the table of changes."
)
_LEARNING_FOLDS = (
    "A point is the mean over all folds, each judged by its own images; the number is that of a "
    "fold on average."
)
_LEARNING_NO_BARS = "Without counts by image there are no intervals."
_APART = (
    "Not all are means over the same images and classes (see the remarks), so they rank nothing."
)
_GRID = (
    "{mean} over seeds ± sample standard deviation, in percent. "
    "Hatched cells have no finished run or were not planned."
)
_EFFECTS = (
    "Change of {score} in points. Thick: the mean over contexts; thin: each context. Right: what a "
    "context has more than the mean, where contexts gain alike it is zero."
)
_DIFFERENCES = "Difference of {score} to the baseline in points; zero is no change."
_INTERVAL = (
    "The bar is the 95 % interval that decides, over images and seeds and for all contrasts of "
    "this page at once; in colour where a difference is shown, grey elsewhere."
)
_OF_NETWORKS = (
    "The bar is a 95 % interval over images alone, of each difference by itself: with one seed it "
    "is about these trained networks; grey, since nothing is shown."
)
_OF_SOME = "With one seed it is over images alone, about these trained networks, and always grey."
_NO_BARS = "Without counts of several images there are no bars, and nothing is shown."
_DEVIATION = (
    "The bar is one sample standard deviation over seeds to either side, no confidence interval; "
    "grey, since without counts of several images nothing can be shown."
)
_COSTS = "{mean} against cost; the bar spans what the runs of a variant took."
_FRONT = (
    "Hollow: another variant is shown to be better or to take less, beyond the spread over runs, "
    "and is no worse in the other of the two."
)
_NO_FRONT = "No variant is shown to beat another in both: differences of cost may be the machine's."
_CURVES = (
    "Training loss, averaged over short spans; the mean over seeds with one standard "
    "deviation as the band. Where scores were watched along the way, their mIoU is below."
)
_CLASSES = (
    "Mean IoU over seeds in percent. A hatched cell has no finished run, "
    "or its class is in neither target nor prediction."
)
_LISTS = f"{_CLASSES} So is a class that is not of the images a variant was judged on."
_GAINS = (
    "Change of IoU in points by {shown}, for each class: the mean over contexts, then each "
    "context. •: its own 95 % interval leaves zero out; no verdict, since each stands by itself."
)
_CONFUSION = (
    "Where the pixels of each class go: rows are target classes, columns predicted ones, "
    "in percent of the row, counts added up over seeds. Of {shown}: {which}."
)
_BEST = "the baseline where it is finished, and the variant of highest {score}"
_BASELINE = "the baseline"
_BOUND = (
    "Dark: mIoU of the target itself when every cell of the stride takes its most frequent class "
    "({images} of {split}). Squares: what each variant reached at the stride of its "
    "finest skip, in label pixels (a network that sees images at half size predicts at twice "
    "its stride). Smooth upsampling can draw an edge within a cell, so for it the line is a "
    "yardstick, not a proof."
)
