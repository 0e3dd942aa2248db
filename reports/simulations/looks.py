"""Sequential designs by simulation: false verdicts, seeds spent, and power beside a fixed design.

Scores are drawn under the page's model, with seeds and images, and put through the same looks as
those of `fcn-bench run --until-decided`; no images are counted, so that a grid takes a second.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.claims import Claim
from bench.looks import FIRST_LOOK
from reports.stats.asked import Asked, Question
from reports.stats.claims import HELD, NOT_HELD, Verdict, judge_claims
from reports.stats.effects import Effect, less, mean_effect
from reports.stats.model import Floats
from reports.stats.pairs import Arm
from reports.stats.primary import PRIMARY
from reports.stats.sequential import Sequential

NUM_DRAWS = 4000
"""Draws of noise at each look; the command takes five times as many."""
NUM_RESAMPLES = 200
NUM_UNITS = 100
POINT = 0.01


@dataclass(frozen=True)
class Design:
    """Grids of one kind and how many seeds they may have; spreads in points of mIoU."""

    name: str
    max_seeds: int
    backbones: int = 2
    skips: int = 2
    of_seeds: float = 1.0
    """Of a run beside its variant's others."""
    of_images: float = 0.0
    """Of a variant, by the choice of images."""
    gain: float = 0.0
    """Points by which each skip is better than the one before."""
    ahead: float = 0.0
    """Points by which that is more than what is claimed."""

    @property
    def says(self) -> str:
        """The design in words, for a row of a table."""
        at = "at the bound" if self.ahead == 0 else f"{self.ahead:g} points above it"
        images = f", images move it by {self.of_images:g}" if self.of_images else ""
        return f"{self.backbones * self.skips} variants; truth {at}{images}"


DESIGNS = (
    *(Design(f"up to {n}", n) for n in (3, 5, 8, 10, 20)),
    *(Design(f"up to {n}, images", n, of_images=0.5) for n in (5, 10, 20)),
    Design("two variants", 10, backbones=1),
    Design("twelve variants", 10, backbones=4, skips=3, of_images=0.3),
    *(Design(f"known effect, up to {n}", n, gain=2.0, ahead=2.0) for n in (5, 10, 20)),
    Design("known effect, images", 10, gain=2.0, ahead=2.0, of_images=0.3),
)


class Outcome(NamedTuple):
    """What the looks at one grid came to, and what a fixed design would have."""

    is_held: bool
    """Whether a claim is held."""
    is_refused: bool
    power: float
    """Share of claims that are held."""
    seeds: float
    """Seeds of a variant, in the mean."""
    fixed_is_held: bool
    fixed_power: float


def draw_outcome(design: Design, number: int) -> Outcome:
    """Draw grid `number` of a design, take looks at it, and judge it with all seeds at once."""
    rng = np.random.default_rng([zlib.crc32(design.name.encode()), number])
    arms, questions = draw_arms(rng, design), list(claim_less(design))
    verdicts, seeds = take_looks(arms, questions, design.max_seeds)
    fixed = judge_claims(questions, arms, {})
    words, fixed_words = ([one.word for one in each] for each in (verdicts, fixed))
    return Outcome(
        HELD in words,
        NOT_HELD in words,
        float(np.mean([word == HELD for word in words])),
        float(np.mean(list(seeds.values()))),
        HELD in fixed_words,
        float(np.mean([word == HELD for word in fixed_words])),
    )


def take_looks(
    arms: Mapping[str, Arm], questions: Sequence[Question], max_seeds: int
) -> tuple[Sequence[Verdict], dict[str, int]]:
    """Take looks as `--until-decided` does; return the verdicts, and seeds by variant."""
    sequence = Sequential(questions, {}, max_seeds, NUM_DRAWS)
    seeds = dict.fromkeys(arms, FIRST_LOOK)
    for number in range(FIRST_LOOK, max_seeds + 1):
        taken = sequence.look(_first_seeds(arms, seeds), {}, number)
        if taken.is_over or number == max_seeds:
            break
        wanted = {
            name
            for one in taken.verdicts
            if one.is_open
            for asked in one.question.asked
            for name in asked.weights
        }
        seeds |= dict.fromkeys(wanted, number + 1)
    return taken.verdicts, seeds


def draw_arms(rng: np.random.Generator, design: Design) -> dict[str, Arm]:
    """Draw the scores of all variants with all seeds."""
    of_each_seed = rng.normal(0, design.of_seeds, design.max_seeds)
    names = [(b, s) for b in range(design.backbones) for s in range(design.skips)]
    return {f"b{b}-s{s}": _draw_arm(rng, design, design.gain * s + of_each_seed) for b, s in names}


def _draw_arm(rng: np.random.Generator, design: Design, shifts: Floats) -> Arm:
    S = len(shifts)
    moved = rng.normal(0, design.of_images)
    points = 0.5 + POINT * (shifts + moved + rng.normal(0, design.of_seeds, S))
    shrunk = design.of_images * math.sqrt((NUM_UNITS - 1) / NUM_UNITS)
    moves = POINT * rng.normal(0, shrunk, (NUM_RESAMPLES, 1, 1))
    return Arm(
        images="drawn",
        num_images=NUM_UNITS,
        num_units=NUM_UNITS,
        class_names=("a", "b"),
        counted={PRIMARY: frozenset({(0, 1)})},
        seeds=tuple(range(S)),
        scores=(PRIMARY,),
        points=points[:, None],
        draws=points[None, :, None] + moves,
        collapsed=(),
        bounds=pd.DataFrame(),
    )


def claim_less(design: Design) -> Iterator[Question]:
    """Claim that the finest skip gains more than a bound: in each backbone, in all, on average.

    Where the truth is at the bound, also that it gains more in one backbone than in another.
    """
    last = design.skips - 1
    gains: list[Effect] = [
        {f"b{b}-s{last}": 1.0, f"b{b}-s0": -1.0} for b in range(design.backbones)
    ]
    bound = POINT * (design.gain * last - design.ahead)
    several: list[list[Effect]] = [gains, [mean_effect(gains)]] if len(gains) > 1 else []
    sets: list[tuple[list[Effect], float]] = [(one, bound) for one in [[gains[0]], *several]]
    if len(gains) > 1 and design.ahead == 0:
        sets.append(([less(gains[0], gains[-1])], 0.0))
    for effects, own in sets:
        yield Question(
            Claim(left="a", right="b"), tuple(Asked("", one, own, PRIMARY) for one in effects)
        )


def _first_seeds(arms: Mapping[str, Arm], seeds: Mapping[str, int]) -> dict[str, Arm]:
    return {
        name: replace(
            arm,
            seeds=arm.seeds[: seeds[name]],
            points=arm.points[: seeds[name]],
            draws=arm.draws[:, : seeds[name]],
        )
        for name, arm in arms.items()
    }


def simulate_design(design: Design, num_grids: int, num_processes: int = 1) -> dict[str, float]:
    """Draw grids of a design and count.

    Returns:
        Means of the fields of `Outcome` by name.
    """
    if num_processes < 2:
        found = [draw_outcome(design, number) for number in range(num_grids)]
    else:
        with ProcessPoolExecutor(num_processes) as pool:
            designs = [design] * num_grids
            found = list(pool.map(draw_outcome, designs, range(num_grids), chunksize=5))
    means = pd.DataFrame(found).mean(numeric_only=False)
    return {str(name): float(value) for name, value in means.items()}


def list_rows(names: Sequence[str], num_grids: int, num_processes: int) -> Iterator[str]:
    """Yield the lines of the section on sequential designs, of those that are named."""
    yield _HEAD.format(grids=num_grids)
    for design in (one for one in DESIGNS if one.name in names):
        found = simulate_design(design, num_grids, num_processes)
        at_bound = design.ahead == 0
        held, refused = (_percent(found[key]) for key in ("is_held", "is_refused"))
        fixed = _percent(found["fixed_is_held"])
        powers = [_percent(found[key], 0) for key in ("power", "fixed_power")]
        yield (
            f"| {design.name} | {design.says} | {held if at_bound else '–'} | {refused} | "
            f"{fixed if at_bound else '–'} | {found['seeds']:.1f} of {design.max_seeds} | "
            f"{'–' if at_bound else powers[0]} | {'–' if at_bound else powers[1]} |"
        )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


_HEAD = """
## Seeds added to what is undecided

Looks at 3 seeds and at each further one, up to a number, as `fcn-bench run --until-decided` takes
them, {grids} grids of each kind (`--sections looks`). 5 % of false held and of false not held are
those of all looks and all claims together. Scores are drawn under the page's model: runs of a
variant spread by one point of mIoU, and so does what a seed does to all of them. Beside it: all
seeds at once.

Critical values are drawn for all looks together. To judge each look at the level that is spent
there, which needs no joint draws, costs power: it held 60 % of true claims where these held 76 %
(up to 10 seeds, 1.5 points above the bound, 100 grids). Error is spent in proportion to
information: at the same power that took 6.2 of 10 seeds, the function that is like Pocock's 6.2, the
one like O'Brien and Fleming's 7.0 (2 points, 60 grids).

| design | what is drawn | held falsely | not held falsely | held falsely, all seeds at once | seeds a variant | true claims held | true claims held, all seeds at once |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""  # noqa: E501
