"""False findings and coverage, by simulation: `python -m reports.simulate > docs/statistics.md`.

Grids of variants whose truth is known are put through the report's own statistics, tables and
marks: counts of images are drawn, with difficulty shared by all variants, an effect of each variant
on each image, of each run on each image, and of seeds. A page is false if anything on it claims a
difference that is not there: a verdict, a sentence at its head, a mark behind a change, a mean or a
context, a place, a variant that is not among those tied with the best. Nothing here trains.
"""

import argparse
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.claims import Claim
from bench.metrics import SCORES
from reports.figures.canvas import Drawing
from reports.figures.effects import plot_differences
from reports.formats import Table
from reports.results.counts import Counts, score_flat
from reports.simulations import looks, peers
from reports.statements import Statement, state_changes
from reports.stats.asked import Asked, Question
from reports.stats.bootstrap import Floats
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

FREQUENCIES = np.array([0.30, 0.25, 0.20, 0.15, 0.07, 0.03])
"""Share of each class in the pixels of an image, in the mean."""
HIT_RATES = np.array([2.2, 1.6, 1.4, 0.8, -0.3, -1.2])
"""Logits of each class's chance to be hit."""
PIXELS = 20_000
NUM_RESAMPLES = 500
SECTIONS = ("pages", "looks", "peers")
"""Of the page that is printed."""
NUM_DRAWN = 3
"""Grids of each world whose figures are drawn."""
GAIN = 0.15
"""Logits by which each skip is better than the one before, where there is an effect."""


@dataclass(frozen=True)
class World:
    """How grids are drawn; spreads in logits of the hit rate."""

    name: str
    says: str
    backbones: int = 4
    skips: int = 3
    seeds: int = 3
    images: int = 100
    of_seeds: float = 0.06
    of_images: float = 0.5
    of_variant_images: float = 0.25
    of_run_images: float = 0.15
    unequal: float = 0.0
    """Standard deviation of the logarithm of variants' spread over seeds."""
    missing: float = 0.0
    """Chance that a run is missing; each variant keeps one."""
    fewer: bool = False
    """Whether every other variant has two seeds less than the others."""
    copies: int = 1
    """Frames of each scene, nearly the same."""
    told: bool = True
    """Whether the data says which frames are of one scene."""
    effect: float = 0.0
    """Logits by which each skip is better than the one before."""
    collapsed: bool = False
    """Whether one run calls everything the first class."""
    bound: float = 0.08
    """Share of pages with a false claim that is allowed."""


WORLDS = (
    World("three seeds", "nothing differs"),
    World("two seeds", "nothing differs", seeds=2),
    World("five seeds", "nothing differs", seeds=5),
    World("two variants", "nothing differs", backbones=2, skips=1),
    World("six variants", "nothing differs", backbones=3, skips=2),
    World("forty variants", "nothing differs", backbones=10, skips=4),
    World("unequal spreads", "nothing differs; seeds move variants unequally", unequal=0.5,
          bound=0.1),
    World("missing runs", "nothing differs; a tenth of the runs is missing", missing=0.1),
    World("unequal seeds", "nothing differs; every other variant has three of five seeds", seeds=5,
          fewer=True),
    World("near-duplicate frames", "nothing differs; ten frames of each of ten scenes, told",
          copies=10),
    World("a clip's frames", "nothing differs; four frames of each of fifty scenes in order, "
          "which nobody tells", images=200, copies=4, told=False),
    World("as camvid-cpu", "nothing differs; 233 images", images=233, of_seeds=0.036,
          of_variant_images=0.33),
    World("known effect", "each skip gains about 3 points", effect=GAIN),
    World("one collapsed run", "nothing differs but one run", collapsed=True),
)  # fmt: skip


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
    effects = _effects(world)
    arms: dict[str, Arm] = {}
    rows = []
    resamples = Resamples(NUM_RESAMPLES)
    drawn = list(_draw_counts(rng, world, effects))
    resamples.look_at([next(iter(counts.values())) for _, counts in drawn[:MAX_LOOKED_AT]])
    for name, counts in drawn:
        arms[name] = measure_arm(name, counts, resamples)[0]
        backbone, skip = name.split("-")
        for s, seed in enumerate(arms[name].seeds):
            scores = dict(zip(arms[name].scores, arms[name].points[s], strict=True))
            shared = {"variant": name, "seed": seed, "backbone": backbone, "skip": skip}
            rows.append({**shared, **_COSTS, **scores})
    runs = pd.DataFrame(rows)
    truth = {name: _true_score(world, shift) for name, shift in effects.items()}
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


TINY = 1e-9


def _is_true(gain: float, text: str) -> bool:
    """Say whether a claim has the sign of a difference that is there."""
    return abs(gain) > TINY and (gain > 0) == text.removeprefix("≈ ").startswith("+")


def _effects(world: World) -> dict[str, float]:
    """Return each variant's effect in logits."""
    return {
        f"b{b}-s{s}": world.effect * s for b in range(world.backbones) for s in range(world.skips)
    }


def _draw_counts(
    rng: np.random.Generator, world: World, effects: Mapping[str, float]
) -> Iterator[tuple[str, dict[int, Counts]]]:
    """Yield each variant with the counts of its runs by seed, all over the same images."""
    shares = _draw_shares(rng, world)
    difficulty = _draw_field(rng, world, world.of_images)
    seeds = rng.normal(0, world.of_seeds, (world.seeds, 1)) * 0.5
    first = next(iter(effects))
    scenes = _name_scenes(world)
    for number, (name, shift) in enumerate(effects.items()):
        spread = world.of_seeds * math.exp(rng.normal(0, world.unequal) - world.unequal**2)
        variant = _draw_field(rng, world, world.of_variant_images)
        kept = rng.random(world.seeds) >= world.missing
        kept[0] |= not kept.any()
        kept[world.seeds - 2 * (world.fewer and number % 2) :] = False
        counts = {}
        for seed in range(world.seeds):
            own = rng.normal(0, spread) + rng.normal(0, spread, len(FREQUENCIES)) + seeds[seed]
            noise = _draw_field(rng, world, world.of_run_images)
            logits = HIT_RATES + shift + own + difficulty + variant + noise
            is_flat = world.collapsed and name == first and seed == 0
            if kept[seed]:
                values = _count(shares, np.full_like(logits, -9.0) if is_flat else logits)
                counts[seed] = Counts(values, tuple("abcdef"), "drawn", scenes)
        yield name, counts


def _name_scenes(world: World) -> tuple[str, ...]:
    """Return the scene of each image, where the data tells."""
    if world.copies == 1 or not world.told:
        return ()
    return tuple(f"scene {i // world.copies}" for i in range(world.images))


def _draw_shares(rng: np.random.Generator, world: World) -> Floats:
    """Draw the share of each class in each image, (N, C)."""
    size = math.ceil(world.images / world.copies), len(FREQUENCIES)
    scenes = rng.gamma(2.0, FREQUENCIES / 2.0, size)
    shares = np.repeat(scenes, world.copies, axis=0)[: world.images]
    total: Floats = shares / shares.sum(1, keepdims=True)
    return total


def _draw_field(rng: np.random.Generator, world: World, spread: float) -> Floats:
    """Draw an effect on each image and class, (N, C), nearly the same for copies of a scene."""
    scenes = rng.normal(0, spread, (math.ceil(world.images / world.copies), len(FREQUENCIES)))
    values = np.repeat(scenes, world.copies, axis=0)[: world.images]
    if world.copies > 1:
        values = 0.99 * values + 0.15 * rng.normal(0, spread, values.shape)
    return values


def _count(shares: Floats, logits: Floats) -> NDArray[np.int32]:
    """Return condensed counts, (N, 3 C): hits, pixels of the target, of the prediction."""
    target = np.round(shares * PIXELS)
    hits = np.round(target / (1 + np.exp(-logits)))
    missed = target - hits
    others = np.tile(FREQUENCIES, (len(FREQUENCIES), 1))
    np.fill_diagonal(others, 0)
    predicted = hits + np.round(missed @ (others / others.sum(1, keepdims=True)))
    return np.concatenate([hits, target, predicted], axis=1).astype(np.int32)


@lru_cache(maxsize=256)
def _true_score(world: World, shift: float) -> float:
    """Return the mIoU that a variant has in the mean over seeds, of very many images."""
    plain = replace(world, copies=1, unequal=0.0, missing=0.0, collapsed=False)
    many = replace(plain, images=4000, seeds=60, backbones=1, skips=1)
    rng = np.random.default_rng(12345)
    ((_, counts),) = _draw_counts(rng, many, {"b0-s0": shift})
    sums = np.stack([one.values.sum(0, dtype=np.int64) for one in counts.values()])
    scores, _ = score_flat(sums, len(FREQUENCIES))
    return float(scores[:, SCORES.index(PRIMARY)].mean())


_COSTS = {
    **{"status": "done", "reason": "", "message": "", "num_parameters": 1.0},
    **{"train_seconds": 1.0, "evaluate_seconds": 1.0},
}


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


def main() -> None:
    """Print the page of all worlds."""
    parser = argparse.ArgumentParser(description="False findings of reports, by simulation.")
    parser.add_argument("--grids", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worlds", nargs="*", default=[world.name for world in WORLDS])
    designs = [design.name for design in looks.DESIGNS]
    parser.add_argument("--designs", nargs="*", choices=designs, default=designs)
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=SECTIONS)
    given = parser.parse_args()
    rows = {
        "pages": _list_rows(given.worlds, given.grids, given.processes),
        "looks": looks.list_rows(given.designs, given.grids, given.processes),
        "peers": peers.list_rows(given.grids),
    }
    for section in given.sections:
        for row in rows[section]:
            print(row, flush=True)


def _list_rows(names: Sequence[str], num_grids: int, num_processes: int) -> Iterator[str]:
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

if __name__ == "__main__":
    main()
