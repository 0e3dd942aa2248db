"""Pages of drawn grids, each claim on them held against the truth.

Grids of a world are put through the report's own statistics, tables and marks. A page is false if
anything on it claims a difference that is not there: a verdict, a sentence at its head, a mark
behind a change, a mean or a context, a place, a variant that is not among those tied with the best.
"""

import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.claims import Claim
from reports.figures.canvas import Drawing
from reports.figures.effects import plot_differences
from reports.formats import Table
from reports.simulations.worlds import WORLDS, World, draw_counts, effects_of, true_score
from reports.statements import Statement, state_changes
from reports.stats.asked import Asked, Question
from reports.stats.changes import (
    find_changes,
    find_interactions,
    find_main_effects,
    list_causes,
    list_effects,
)
from reports.stats.claims import HELD, NOT_HELD, judge_claims
from reports.stats.contrasts import Findings, find_contrasts
from reports.stats.effects import Effect, less, mean_effect
from reports.stats.finding import SHOWN
from reports.stats.intervals import Intervals
from reports.stats.pairs import Arm, measure_arm
from reports.stats.primary import PRIMARY
from reports.stats.summary import add_intervals, list_changes, summarize_variants
from reports.stats.units import MAX_LOOKED_AT, Resamples
from reports.style import FAINT, label
from reports.tables.changes import STAR, list_table
from reports.tables.comparisons import comparison_table
from reports.tables.summary import summary_table

NUM_RESAMPLES = 500
NUM_DRAWN = 3
"""Grids of each world whose figures are drawn."""
TINY = 1e-9
_COSTS = {
    **{"status": "done", "reason": "", "message": "", "num_parameters": 1.0},
    **{"train_seconds": 1.0, "evaluate_seconds": 1.0},
}


class Page(NamedTuple):
    """What one page claimed, held against the truth."""

    is_false: bool
    is_held: bool
    """Whether a claim is held that is not true, if only by nothing: its bound is the truth."""
    is_refused: bool
    """Whether a claim is not held though it is as true."""
    covered: float
    """Share of pairs whose own interval covers the true difference; NaN where none is judged."""
    power: float
    """Share of true differences that are shown; NaN where there are none."""


def draw_page(world: World, number: int) -> Page:
    """Draw grid `number` of a world, and read its page."""
    rng = np.random.default_rng([zlib.crc32(world.name.encode()), number])
    effects = effects_of(world)
    arms: dict[str, Arm] = {}
    rows = []
    resamples = Resamples(NUM_RESAMPLES)
    drawn = list(draw_counts(rng, world, effects))
    resamples.look_at([next(iter(counts.values())) for _, counts in drawn[:MAX_LOOKED_AT]])
    for name, counts in drawn:
        arms[name] = measure_arm(name, counts, resamples)[0]
        backbone, skip = name.split("-")
        for s, seed in enumerate(arms[name].seeds):
            scores = dict(zip(arms[name].scores, arms[name].points[s], strict=True))
            shared = {"variant": name, "seed": seed, "backbone": backbone, "skip": skip}
            rows.append({**shared, **_COSTS, **scores})
    runs = pd.DataFrame(rows)
    truth = {name: true_score(world, shift) for name, shift in effects.items()}
    has_figures = number < NUM_DRAWN
    return _read_page(runs, arms, truth, next(iter(effects)), has_figures=has_figures)


def _read_page(
    runs: pd.DataFrame,
    arms: Mapping[str, Arm],
    truth: Mapping[str, float],
    baseline: str,
    *,
    has_figures: bool,
) -> Page:
    """Make the tables of a page, and hold each word and mark on them against the truth."""
    known = list_changes(runs, list_causes([]), baseline)
    levels = {
        factor: dict(zip(runs["variant"], runs[factor], strict=True)) for factor in list_causes([])
    }
    findings = find_contrasts(arms, list_effects(known), levels)
    scores = pd.concat([arm.bounds for arm in arms.values()])
    intervals = Intervals(scores, pd.DataFrame(), arms=dict(arms), findings=findings)
    summary = add_intervals(summarize_variants(runs, baseline), intervals, baseline)
    changes = find_changes(runs, [], baseline, intervals)
    means, apart = find_main_effects(changes, intervals), find_interactions(changes, intervals)
    false = [
        *_false_verdicts(comparison_table(summary, baseline).cells, truth, baseline),
        *_false_marks(summary_table(summary, baseline=baseline), summary, truth),
        *_false_changes(list_table(changes, means, apart).cells, changes, truth),
        *_false_statements(state_changes(changes, means, apart), changes, truth),
        *_false_places(summary, truth),
    ]
    if has_figures:
        false += _false_colours(plot_differences(summary, baseline), summary, truth, baseline)
    words = [one.word for one in judge_claims(_claim_the_truth(truth, runs), arms, {}, levels)]
    return Page(any(false), HELD in words, NOT_HELD in words, *_judge_pairs(findings, truth))


def _claim_the_truth(truth: Mapping[str, float], runs: pd.DataFrame) -> list[Question]:
    """Claim more than each true difference: what the finest skip gives, or one backbone another.

    In every context, on average, and as a gain against another: all true but for nothing.
    """
    skips, backbones = (list(dict.fromkeys(runs[name])) for name in ("skip", "backbone"))
    if len(skips) > 1:
        gains = [{f"{b}-{skips[-1]}": 1.0, f"{b}-{skips[0]}": -1.0} for b in backbones]
    else:
        gains = [
            {f"{b}-{skips[0]}": 1.0, f"{backbones[0]}-{skips[0]}": -1.0} for b in backbones[1:]
        ]
    sets = [gains, [mean_effect(gains)], [less(gains[0], gains[-1])], [gains[0]]]
    return [
        Question(
            Claim(left="a", right="b"),
            tuple(Asked("", one, _add_up(one, truth), PRIMARY) for one in effects),
        )
        for effects in sets
        if all(any(one.values()) for one in effects)
    ]


def _add_up(effect: Effect, truth: Mapping[str, float]) -> float:
    return sum(weight * truth[name] for name, weight in effect.items())


def _false_colours(
    figure: Drawing, summary: pd.DataFrame, truth: Mapping[str, float], baseline: str
) -> Iterator[bool]:
    """Say of each bar that is drawn in colour, as what is shown is, whether that is false."""
    figure.draw_without_rendering()
    lines = [(np.asarray(line.get_xdata()), line) for line in figure.axes[0].lines]
    dots = [(float(x[0]), line) for x, line in lines if x.size == 1]
    rows = summary[(summary["variant"] != baseline) & summary[f"{PRIMARY}_diff_mean"].notna()]
    for (x, dot), name in zip(dots, rows["variant"], strict=True):
        if dot.get_color() != FAINT:
            gain = truth[name] - truth[baseline]
            yield not (abs(gain) > TINY and (gain > 0) == (x > 0))


def _false_verdicts(
    cells: pd.DataFrame, truth: Mapping[str, float], baseline: str
) -> Iterator[bool]:
    """Say of each verdict in the table against the baseline whether it is false."""
    column = next(name for name in map(str, cells) if name.startswith(f"Δ {label(PRIMARY)}"))
    for name, verdict, text in zip(cells["variant"], cells["verdict"], cells[column], strict=True):
        if str(verdict).startswith(SHOWN):
            yield not _is_true(truth[name] - truth[baseline], text)


def _false_marks(table: Table, summary: pd.DataFrame, truth: Mapping[str, float]) -> Iterator[bool]:
    """Say of each variant of two seeds that is not tied with the best whether that is false."""
    names = list(summary["variant"])
    judged = set(summary.loc[summary["num_done"] > 1, "variant"])
    best = [names[i] for i, _ in table.best]
    tied = {names[i] for i, _ in table.tied}
    for one in best:
        yield from (truth[n] > truth[one] - TINY for n in judged - tied - {one})


def _false_changes(
    cells: pd.DataFrame, changes: pd.DataFrame, truth: Mapping[str, float]
) -> Iterator[bool]:
    """Say of each marked row of the list of changes whether it is false."""
    pairs = zip(changes["variant_before"], changes["variant_after"], strict=True)
    gains = [truth[after] - truth[before] for before, after in pairs]
    own = changes.assign(gain=gains)
    mean = own.groupby(["factor", "before", "after"])["gain"].transform("mean")
    grouped = own.groupby(["factor", "before", "after"], sort=False)
    several = grouped["gain"].transform("size") > 1
    means = grouped["gain"].agg(["mean", "size"])
    expected = [*gains, *means.loc[means["size"] > 1, "mean"], *(own["gain"] - mean)[several]]
    for text, gain in zip(cells["Δ mIoU"], expected, strict=True):
        if text.endswith(STAR[SHOWN]):
            yield not _is_true(gain, text)


def _false_statements(
    statements: Sequence[Statement], changes: pd.DataFrame, truth: Mapping[str, float]
) -> Iterator[bool]:
    """Say of each sentence at the head of the page whether a gain in it, or a span, is false."""
    pairs = zip(changes["variant_before"], changes["variant_after"], strict=True)
    own = changes.assign(gain=[truth[after] - truth[before] for before, after in pairs])
    groups = own.groupby(["before", "after"])["gain"]
    for lead, rest in statements:
        found = _FROM_TO.match(lead)
        if found is None:
            continue
        gains = groups.get_group(found.groups())
        if " gains " in lead or " loses " in lead:
            gain = float(gains.mean())
            yield not (abs(gain) > TINY and (gain > 0) == (" gains " in lead))
        if "(shown" in rest:
            yield float(np.ptp(gains)) <= TINY


_FROM_TO = re.compile(r"From (\S+) to ([^\s,]+)")


def _false_places(summary: pd.DataFrame, truth: Mapping[str, float]) -> Iterator[bool]:
    """Say of each variant whether places that it is said not to have could be its own."""
    for row in summary[summary[f"{PRIMARY}_rank_low"].notna()].to_dict("records"):
        others = [truth[name] - truth[row["variant"]] for name in truth if name != row["variant"]]
        yield row[f"{PRIMARY}_rank_low"] - 1 > sum(gain > TINY for gain in others)
        yield len(truth) - row[f"{PRIMARY}_rank_high"] > sum(gain < -TINY for gain in others)


def _judge_pairs(findings: Findings, truth: Mapping[str, float]) -> tuple[float, float]:
    """Return how many pairs' own intervals cover the truth, and how many true differences show."""
    covered, shown = [], []
    names = list(findings.arms)
    for k, after in enumerate(names):
        for before in names[:k]:
            found, gain = findings.compare(before, after), truth[after] - truth[before]
            if found is not None and found.word:
                covered.append(found.own_low <= gain <= found.own_high)
                if abs(gain) > TINY:
                    shown.append(found.word == SHOWN)
    means = [float(np.mean(values)) if values else math.nan for values in (covered, shown)]
    return means[0], means[1]


def _is_true(gain: float, text: str) -> bool:
    """Say whether a claim has the sign of a difference that is there."""
    return abs(gain) > TINY and (gain > 0) == text.removeprefix("≈ ").startswith("+")


def _map_pages(world: World, num_grids: int, num_processes: int) -> list[Page]:
    if num_processes < 2:
        return [draw_page(world, number) for number in range(num_grids)]
    with ProcessPoolExecutor(num_processes) as pool:
        worlds = [world] * num_grids
        return list(pool.map(draw_page, worlds, range(num_grids), chunksize=10))


def simulate(world: World, num_grids: int, num_processes: int = 1) -> dict[str, float]:
    """Draw grids of a world and count.

    Returns:
        `false` (share of pages with a false claim) with its standard error `false_error`, `held`
        and `refused` (share of pages with a claim of the spec falsely held, or not held), `covered`
        (of pairs' own 95 % intervals) and `power`.
    """
    pages = pd.DataFrame(_map_pages(world, num_grids, num_processes))
    share = float(pages["is_false"].mean())
    return {
        "false": share,
        "false_error": math.sqrt(max(share * (1 - share), 1 / num_grids) / num_grids),
        "held": float(pages["is_held"].mean()),
        "refused": float(pages["is_refused"].mean()),
        "covered": float(pages["covered"].mean()),
        "power": float(pages["power"].mean()),
    }


def list_rows(names: Sequence[str], num_grids: int, num_processes: int) -> Iterator[str]:
    """Yield the lines of the section on pages."""
    yield _HEAD.format(grids=num_grids)
    for world in (one for one in WORLDS if one.name in names):
        found = simulate(world, num_grids, num_processes)
        V, power = world.backbones * world.skips, found["power"]
        yield (
            f"| false findings, {world.name} | {world.says}; {V} variants, {world.seeds} seeds | "
            f"{100 * found['false']:.1f} % | {100 * found['false_error']:.1f} | "
            f"{100 * found['held']:.1f} % | {100 * found['refused']:.1f} % | "
            f"{found['covered']:.3f} | {'–' if math.isnan(power) else f'{100 * power:.0f} %'} |"
        )


_HEAD = """# Statistics, by simulation

What the report's own statistics, words and marks claim of grids whose truth is known, {grids} grids
of each kind: `python -m reports.simulate --grids {grids} > docs/statistics.md`. A page is false if
anything on it claims a difference that is not there. Held and not held: pages on which one of the
claims that a spec makes is falsely judged so; what each says is exactly as large as it is.
Coverage is of a pair's own 95 % interval. ±: standard error of the share of false pages.

| world | what is drawn | false pages | ± | held | not held | coverage | true differences shown |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
