"""`shapes`: images drawn from a seed, so that everything works without a download.

Six classes told by local colour and texture. Bars of 2 to 4 px, thin rings and spiky outlines can
only be drawn by fine strides, so that FCN-32s, 16s and 8s differ after a minute of training.
An image depends on (seed, split, index) alone. Options add depth, and a second target: whether
a shape lies low or high, which depth shows and colour does not.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import DATASETS, Dataset
from bench.data.layers import Input, Target
from fcn.errors import InputError

DRAWING_VERSION = 1
"""Raise it when a change here changes a single pixel."""

CLASSES = {
    "ground": (206, 199, 184),
    "disc": (217, 83, 62),
    "ring": (48, 112, 190),
    "bar": (240, 190, 50),
    "polygon": (76, 158, 92),
    "star": (141, 89, 174),
}
GROUND, DISC, RING, BAR, POLYGON, STAR = range(len(CLASSES))
GEOMETRY = {"ground": (206, 199, 184), "low": (120, 150, 200), "high": (60, 70, 130)}
HEIGHTS = ((0, 0), (30, 70), (110, 150))
"""Of ground, low and high shapes, in grey levels of depth above the ground; apart."""
DEPTH = Input("depth", 1, mean=(0.35,), std=(0.2,))
VOID = 255
SPLITS = ("train", "val", "test")

MOST_SHAPES = 13
"""Of one image: two polygons and stars, two rings, four discs, three bars."""

DESIGN_PX = 64
"""Image size that radii below are given for; they grow with the image, line widths do not."""

Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Shapes(Dataset):
    """Drawn images."""

    size: int
    """Height and width in pixels."""
    seed: int
    """Seed of the drawing, apart from a run's seed."""

    def read(self, split: str, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw the image (H, W, 3) and target (H, W) of an image."""
        drawing = self._draw(split, name)
        return drawing.image, drawing.target

    def read_input(self, split: str, name: str, wanted: Input) -> NDArray[np.uint8]:
        """Draw the depth (H, W, 1) of an image: a ground that rises, shapes above it, noise."""
        drawing, kinds, rng = self._heights(split, name)
        low, high = np.array(HEIGHTS).T
        heights = rng.uniform(low[kinds], high[kinds])
        ground = np.linspace(30, 70, self.size)[:, None]
        depth = ground + heights[drawing.order] + rng.normal(0, 3, drawing.order.shape)
        return np.asarray(np.clip(depth.round(), 0, 255), dtype=np.uint8)[..., None]

    def read_target(self, split: str, name: str, wanted: Target) -> NDArray[np.uint8]:
        """Draw the geometric target (H, W) of an image."""
        drawing, kinds, _ = self._heights(split, name)
        geometry = kinds[drawing.order].astype(np.uint8)
        geometry[drawing.target == VOID] = VOID
        return geometry

    def _draw(self, split: str, name: str) -> "Drawing":
        index = int(name.rpartition("-")[2])
        return draw(np.random.default_rng([self.seed, SPLITS.index(split), index]), self.size)

    def _heights(
        self, split: str, name: str
    ) -> tuple["Drawing", NDArray[np.int64], np.random.Generator]:
        """Draw whether each shape is low (1) or high (2); the ground is 0."""
        drawing = self._draw(split, name)
        index = int(name.rpartition("-")[2])
        rng = np.random.default_rng([self.seed, SPLITS.index(split), index, 1])  # not the drawing's
        kinds = rng.integers(1, 3, MOST_SHAPES + 1)
        kinds[0] = 0
        return drawing, kinds, rng

    def content(self) -> list[object]:
        """Return what the drawing depends on."""
        return [DRAWING_VERSION, self.size, self.seed]


@DATASETS.register("shapes")
def load_shapes(
    data_dir: Path | None = None,
    *,
    size: int = DESIGN_PX,
    num_train: int = 256,
    num_val: int = 32,
    num_test: int = 64,
    seed: int = 0,
    depth: bool = False,
    geometric: bool = False,
) -> Shapes:
    """Set up the drawing.

    Args:
        data_dir: Not used.
        size: Height and width in pixels, 16 to 1024.
        num_train: Images to train on, as with `num_val` and `num_test` up to 100,000.
        num_val: Images to watch training with.
        num_test: Images to judge with.
        seed: Seed of the drawing, not negative.
        depth: Draw depth too, an input of one channel.
        geometric: Draw a second target too, called `geometric`.

    Raises:
        InputError: A number is out of range.
    """
    ranges = {"size": (size, 16, 1024), "seed": (seed, 0, 2**31 - 1)}
    counts = {"num_train": num_train, "num_val": num_val, "num_test": num_test}
    ranges |= {key: (count, 1, 100_000) for key, count in counts.items()}
    for key, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise InputError(
                f"data.options.{key} of 'shapes' must lie in {low}..{high}, not {value}"
            )
    return Shapes(
        name="shapes",
        class_names=tuple(CLASSES),
        palette=tuple(CLASSES.values()),
        ignore_index=VOID,
        splits={
            split: tuple(f"{split}-{k:05d}" for k in range(count))
            for split, count in zip(SPLITS, counts.values(), strict=True)
        },
        size=size,
        seed=seed,
        more_inputs=(DEPTH,) * depth,
        more_targets=(Target("geometric", tuple(GEOMETRY), tuple(GEOMETRY.values()), VOID),)
        * geometric,
    )


@dataclass(frozen=True)
class Drawing:
    """One image."""

    image: NDArray[np.uint8]
    """(H, W, 3)."""
    target: NDArray[np.uint8]
    """Classes, (H, W)."""
    order: NDArray[np.int64]
    """Which shape is seen at each pixel, (H, W): 0 for the ground, the last drawn highest."""


def draw(rng: np.random.Generator, size: int) -> Drawing:
    """Draw one image.

    Args:
        rng: Source of everything random.
        size: Height and width in pixels.
    """
    y, x = np.mgrid[:size, :size] + 0.5
    unit = size / DESIGN_PX
    image = _texture(rng, GROUND, x, y)
    target = np.full((size, size), GROUND, dtype=np.uint8)
    order = np.zeros((size, size), dtype=np.int64)

    # Large shapes first, so that thin ones lie on top and stay whole.
    kinds = [POLYGON] * rng.integers(1, 3) + [STAR] * rng.integers(1, 3)
    thin = [RING] * rng.integers(1, 3) + [DISC] * rng.integers(2, 5) + [BAR] * rng.integers(1, 4)
    kinds += [thin[k] for k in rng.permutation(len(thin))]
    for number, kind in enumerate(kinds, start=1):
        centre_x, centre_y = rng.uniform(0.1, 0.9, 2) * size
        distance = _distance(rng, kind, x - centre_x, y - centre_y, unit)
        below_right = np.pad(distance, ((1, 0), (1, 0)), mode="edge")[:-1, :-1]
        shadow = np.clip(1 - below_right / 2, 0, 1)[..., None]
        cover = np.clip(0.5 - distance, 0, 1)[..., None]
        image = image * (1 - 0.25 * shadow)
        image = image * (1 - cover) + _texture(rng, kind, x, y) * cover
        target[distance < 0] = kind
        order[distance < 0] = number
        if kind in (POLYGON, STAR) and rng.random() < 0.25:
            target[np.abs(distance) < 0.7] = VOID  # an undecided outline, as annotators leave it

    return Drawing(_expose(rng, image, x / size, y / size), target, order)


def _distance(rng: np.random.Generator, kind: int, x: Plane, y: Plane, unit: float) -> Plane:
    """Return the signed distance to a shape's outline in pixels, negative inside."""
    turn = rng.uniform(0, 2 * np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    r = np.hypot(x, y)
    if kind == DISC:
        return np.asarray(r - rng.uniform(3, 6) * unit)
    if kind == RING:
        return np.asarray(np.abs(r - rng.uniform(6, 12) * unit) - rng.uniform(1.2, 1.8))
    if kind == BAR:
        length, width = rng.uniform(14, 30) * unit, rng.uniform(2, 4)
        return np.asarray(np.maximum(np.abs(u) - length / 2, np.abs(v) - width / 2))
    if kind == POLYGON:
        radius = rng.uniform(16, 26) * unit
        num_sides = rng.integers(3, 7)
        angles = 2 * np.pi * (np.arange(num_sides) + rng.uniform(-0.2, 0.2, num_sides)) / num_sides
        sides = [u * np.cos(a) + v * np.sin(a) - radius * rng.uniform(0.6, 0.9) for a in angles]
        return np.asarray(np.maximum.reduce(sides))
    # A star folded onto half of one point: there its outline is one straight line.
    num_points = rng.integers(4, 7)
    tip, notch = np.array([1, rng.uniform(0.45, 0.55)]) * rng.uniform(13, 20) * unit
    half = np.pi / num_points
    angle = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
    edge = np.array([notch * np.cos(half) - tip, notch * np.sin(half)])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    return np.asarray((r * np.cos(angle) - tip) * normal[0] + r * np.sin(angle) * normal[1])


def _texture(rng: np.random.Generator, kind: int, x: Plane, y: Plane) -> Plane:
    """Return the colour of a surface, (H, W, 3), in 0..255."""
    base = list(CLASSES.values())[kind] + rng.normal(0, 9, 3)
    turn, period = rng.uniform(0, np.pi), rng.uniform(4, 6)
    u = (x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period
    v = (y * np.cos(turn) - x * np.sin(turn)) * 2 * np.pi / period
    if kind == GROUND:
        pattern = 0.05 * (np.sin(u / 6) + np.sin(v / 5))
    elif kind == POLYGON:
        pattern = 0.25 * np.tanh(4 * np.sin(u))
    elif kind == STAR:
        pattern = 0.22 * np.tanh(4 * np.sin(u) * np.sin(v))
    else:
        pattern = np.zeros_like(x)
    return np.asarray(base * (1 + pattern[..., None]))


def _expose(rng: np.random.Generator, image: Plane, x: Plane, y: Plane) -> NDArray[np.uint8]:
    """Light a scene from one side, add a tint and the noise of a sensor, and round."""
    turn = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.5) * ((x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn))
    light = rng.uniform(0.7, 1.1) * (1 + slope)
    lit = image * light[..., None] * rng.normal(1, 0.04, 3)
    noisy = lit + rng.normal(0, rng.uniform(3, 9), image.shape)
    return np.asarray(np.clip(noisy.round(), 0, 255), dtype=np.uint8)
