"""Worlds of grids whose truth is known: how counts are drawn, and what each variant truly has.

Images differ in difficulty, shared by all variants; each variant and each run has an effect of its
own on each image, and seeds move both. Nothing here trains.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.metrics import SCORES
from reports.results.counts import Counts, score_flat
from reports.stats.bootstrap import Floats
from reports.stats.primary import PRIMARY

FREQUENCIES = np.array([0.30, 0.25, 0.20, 0.15, 0.07, 0.03])
"""Share of each class in the pixels of an image, in the mean."""
HIT_RATES = np.array([2.2, 1.6, 1.4, 0.8, -0.3, -1.2])
"""Logits of each class's chance to be hit."""
PIXELS = 20_000
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


def effects_of(world: World) -> dict[str, float]:
    """Return each variant's effect in logits."""
    return {
        f"b{b}-s{s}": world.effect * s for b in range(world.backbones) for s in range(world.skips)
    }


def draw_counts(
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
                values = count_pixels(shares, np.full_like(logits, -9.0) if is_flat else logits)
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


def count_pixels(shares: Floats, logits: Floats) -> NDArray[np.int32]:
    """Return condensed counts, (N, 3 C): hits, pixels of the target, of the prediction."""
    target = np.round(shares * PIXELS)
    hits = np.round(target / (1 + np.exp(-logits)))
    missed = target - hits
    others = np.tile(FREQUENCIES, (len(FREQUENCIES), 1))
    np.fill_diagonal(others, 0)
    predicted = hits + np.round(missed @ (others / others.sum(1, keepdims=True)))
    return np.concatenate([hits, target, predicted], axis=1).astype(np.int32)


@lru_cache(maxsize=256)
def true_score(world: World, shift: float) -> float:
    """Return the mIoU that a variant has in the mean over seeds, of very many images."""
    plain = replace(world, copies=1, unequal=0.0, missing=0.0, collapsed=False)
    many = replace(plain, images=4000, seeds=60, backbones=1, skips=1)
    rng = np.random.default_rng(12345)
    ((_, counts),) = draw_counts(rng, many, {"b0-s0": shift})
    sums = np.stack([one.values.sum(0, dtype=np.int64) for one in counts.values()])
    scores, _ = score_flat(sums, len(FREQUENCIES))
    return float(scores[:, SCORES.index(PRIMARY)].mean())
