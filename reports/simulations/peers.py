"""Other ways to add seeds until something is decided, on the same drawn scores.

AdaStop (package `adastop`, where it is installed) tests equality of distributions by permutations,
in groups. A confidence sequence holds at every number of seeds at once and assumes nothing but that
scores are bounded: the boundary here is the empirical-Bernstein one of `seqbench`, an R package,
by its published formula. Almost stochastic order (package `deepsig`, where it is installed) is
asked once, when all seeds are there: one is called better where epsilon is below 0.2.

Reference: Mathieu et al., 2023, arXiv:2306.10882 (AdaStop); Waudby-Smith and Ramdas, 2024,
"Estimating means of bounded random variables by betting", theorem 2 (confidence sequences); Dror et
al., 2019, and Ulmer et al., 2022, arXiv:2204.06815 (almost stochastic order).
"""

import importlib.util
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.claims import Claim
from bench.looks import FIRST_LOOK
from reports.simulations.looks import POINT, Design, draw_arms, take_looks
from reports.stats.asked import Asked, Question
from reports.stats.claims import HELD, NOT_HELD
from reports.stats.model import LEVEL, Floats
from reports.stats.pairs import Arm
from reports.stats.primary import PRIMARY

ALPHA = 1 - LEVEL
NUM_PERMUTATIONS = 2000
NUM_RESAMPLES = 200
BETTER = 0.2
"""Epsilon of almost stochastic order below which one is called better, as its authors advise."""


@dataclass(frozen=True)
class World:
    """Four variants: a baseline, and three that are each claimed to be better than it."""

    says: str
    gain: float
    """Points by which the three are better."""
    claimed: float
    """Points by which they are claimed to be."""


WORLDS = (
    World("nothing differs", 0.0, 0.0),
    World("two points better", 2.0, 0.0),
    World("two points better, as claimed", 2.0, 2.0),
)


@dataclass(frozen=True)
class Found:
    """What a method says of each variant against the first: 1 more, -1 less, 0 nothing."""

    signs: Sequence[int]
    seeds: float
    """Of a variant, in the mean."""


Method = Callable[[dict[str, Arm], float], Found]


def list_methods(max_seeds: int) -> dict[str, Method]:
    """Return what can be compared, by name."""
    found: dict[str, Method] = {"--until-decided": partial(_decide, max_seeds=max_seeds)}
    if importlib.util.find_spec("adastop"):
        each = 5
        name = f"AdaStop, {max_seeds // each} looks of {each} seeds"
        found[name] = partial(_adastop, num_looks=max_seeds // each, each=each)
    if importlib.util.find_spec("deepsig"):
        found["almost stochastic order, ε < 0.2"] = _order
    for span in (1.0, 0.1):
        name = f"confidence sequence, differences within ±{100 * span:g} points"
        found[name] = partial(_follow, span=span)
    return found


def _decide(arms: dict[str, Arm], claimed: float, max_seeds: int) -> Found:
    first, *others = arms
    questions = [
        Question(
            Claim(left="a", right="b"), (Asked("", {one: 1.0, first: -1.0}, claimed, PRIMARY),)
        )
        for one in others
    ]
    verdicts, seeds = take_looks(arms, questions, max_seeds)
    signs = {HELD: 1, NOT_HELD: -1}
    return Found([signs.get(one.word, 0) for one in verdicts], float(np.mean(list(seeds.values()))))


def _adastop(arms: dict[str, Arm], claimed: float, num_looks: int, each: int) -> Found:
    """Run AdaStop, which knows no margin: what is claimed is not asked."""
    from adastop import MultipleAgentsComparator

    names = list(arms)
    scores = {name: arm.points[:, 0] for name, arm in arms.items()}
    pairs = np.array([(k, 0) for k in range(1, len(names))])
    comparator = MultipleAgentsComparator(
        n=each, K=num_looks, B=NUM_PERMUTATIONS, comparisons=pairs, alpha=ALPHA, seed=0
    )
    seeds = dict.fromkeys(names, each)
    for look in range(num_looks):
        comparator.partial_compare(
            {name: scores[name][: seeds[name]] for name in names}, verbose=False
        )
        if comparator.is_finished or look + 1 == num_looks:
            break
        wanted = {names[k] for k in np.ravel(comparator.current_comparisons)}
        seeds |= dict.fromkeys(wanted, each * (look + 2))
    signs = {"larger": 1, "smaller": -1}
    said = [signs.get(comparator.decisions[str(pair)], 0) for pair in pairs]
    return Found(said, float(np.mean(list(seeds.values()))))


def _order(arms: dict[str, Arm], claimed: float) -> Found:
    """Ask for almost stochastic order, all seeds at once; what is claimed is taken off before."""
    from deepsig import aso

    first, *others = (arm.points[:, 0] for arm in arms.values())
    is_better = partial(
        aso,
        confidence_level=LEVEL,
        num_comparisons=len(others),
        num_bootstrap_iterations=NUM_RESAMPLES,
        show_progress=False,
        seed=0,
    )
    signs = []
    for one in others:
        more = is_better(one - claimed, first) < BETTER
        less = not more and is_better(first, one - claimed) < BETTER
        signs.append(int(more) - int(less))
    return Found(signs, float(len(first)))


def _follow(arms: dict[str, Arm], claimed: float, span: float) -> Found:
    """Follow a confidence sequence of each difference, paired by seed, from the first look on.

    The comparisons share 5 % on each side evenly.
    """
    first, *others = (arm.points[:, 0] for arm in arms.values())
    signs, spent = [], []
    for one in others:
        low, high = follow_mean((one - first + span) / (2 * span), 2 * ALPHA / len(others))
        bound = (claimed + span) / (2 * span)
        there = np.arange(len(low)) >= FIRST_LOOK - 1
        decided = there & ((low > bound) | (high < bound))
        last = int(np.argmax(decided)) if decided.any() else len(low) - 1
        signs.append(int(low[last] > bound) - int(high[last] < bound))
        spent.append(last + 1)
    seeds = float(np.mean([max(spent), *spent]))
    return Found(signs, seeds)


def follow_mean(values: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return the confidence sequence of a mean: ends, (n,), that hold at every n at once.

    Args:
        values: Between 0 and 1, in the order in which they came, (n,).
        alpha: Chance that the mean is ever left out, on either side.
    """
    n = np.arange(1, len(values) + 1)
    means = (0.5 + np.cumsum(values)) / (n + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (n + 1)
    mean_before = np.concatenate([[0.5], means[:-1]])
    variance_before = np.concatenate([[0.25], variances[:-1]])
    log = math.log(2 / alpha)
    bets = np.minimum(np.sqrt(2 * log / (variance_before * n * np.log1p(n))), 0.5)
    cost = (-np.log1p(-bets) - bets) / 4 * 4 * (values - mean_before) ** 2
    total = np.cumsum(bets)
    centre, far = np.cumsum(bets * values) / total, (log + np.cumsum(cost)) / total
    low: Floats = np.maximum.accumulate(centre - far)
    high: Floats = np.minimum.accumulate(centre + far)
    return low, high


def list_rows(num_grids: int, max_seeds: Sequence[int] = (10,)) -> Iterator[str]:
    """Yield the lines of the section on other methods."""
    yield _HEAD.format(grids=num_grids)
    for number in max_seeds:
        for world in WORLDS:
            for name, method in list_methods(number).items():
                found = compare_method(world, number, method, num_grids)
                yield (
                    f"| {world.says} | {name} | {100 * found['any_more']:.1f} % | "
                    f"{100 * found['any_less']:.1f} % | {100 * found['more']:.0f} % | "
                    f"{found['seeds']:.1f} of {number} |"
                )
    yield _TAIL


def compare_method(
    world: World, max_seeds: int, method: Method, num_grids: int
) -> dict[str, float]:
    """Count what a method says of grids of a world.

    Returns:
        `any_more` and `any_less` (share of grids of which it says so of a variant), `more` (share
        of variants), `seeds`.
    """
    design = Design(world.says, max_seeds, backbones=4, skips=1)
    more, less, shares, seeds = 0, 0, [], []
    for number in range(num_grids):
        rng = np.random.default_rng([zlib.crc32(world.says.encode()), max_seeds, number])
        arms = draw_arms(rng, design)
        for arm in list(arms.values())[1:]:
            arm.points[:] += POINT * world.gain
            arm.draws[:] += POINT * world.gain
        found = method(arms, POINT * world.claimed)
        more, less = more + (1 in found.signs), less + (-1 in found.signs)
        shares.append(float(np.mean([sign > 0 for sign in found.signs])))
        seeds.append(found.seeds)
    return {
        "any_more": more / num_grids,
        "any_less": less / num_grids,
        "more": float(np.mean(shares)),
        "seeds": float(np.mean(seeds)),
    }


_HEAD = """
## Beside other methods

The same drawn scores, {grids} grids of each kind (`--sections peers`): a baseline and three
variants, each claimed to be better than it (by 0 points, or by as much as it is), runs of a variant
spread by one point of mIoU and share what a seed does by as much.

| truth | method | grids with a "more" | grids with a "less" | variants with a "more" | seeds a variant |
| --- | --- | ---: | ---: | ---: | ---: |"""  # noqa: E501

_TAIL = """
What differs: AdaStop tests by permutation whether two variants' scores have one distribution. It
knows no margin, so that it says "more" of a difference that is exactly what was claimed, no pairs
of runs with one seed, and no images; what it does not find it calls equal. A confidence sequence
holds at whatever number one stops, for any distribution within its range, and pays for that: with
ten seeds it decides none of these. (`seqbench` takes images for rounds, of which there
are hundreds; its statement is then about the mean of a loss over images, not about mIoU, which is
no mean over images.) Almost stochastic order, as deep-significance has it, is no test of a mean:
its 5 % are those of a bound on epsilon, and an epsilon below 0.2 says that one is better at most
quantiles. It knows neither seeds in common nor looks. AdaStop and it are run through their
packages, the sequence by its published formula."""
