"""The linked gallery: images, masks and counts as the page's script takes them, within a budget.

In: what is kept of the images. Out: `Linked`, which is JSON. Masks are class indices, deflated
(zlib) and in base64: 2 kB of 480x360, a quarter less than as PNG, and whoever inflates them has the
stored classes, whatever a browser does to the pixels of canvases. Palettes are applied in the page.
Everything is in the page itself: one that is opened from a disk may read no other file.
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from bench.metrics import class_counts
from bench.plan import PlannedRun
from bench.store.runs import Store
from bench.text import clean, number_of
from reports.formats import to_script_json
from reports.images.apart import NUM_APART, colours_apart
from reports.images.choice import Pair
from reports.images.kept import Kept
from reports.images.sampling import rank_images

NUM_IMAGES = 24
"""Images held at most; fewer only where they are too large for the budget."""
NUM_VARIANTS = 4
"""Variants held in any case; more as long as they fit."""
MAX_BYTES = 2_000_000
"""Budget: what images and masks may take of the page, in bytes of text."""
MAX_SIDE = 640
"""Pixels; what is larger is held at a half, a third, ... of its size."""
QUALITY = 75
"""Of the images, WebP's scale."""


@dataclass(frozen=True)
class Linked:
    """What the linked gallery holds."""

    names: Sequence[str]
    variants: Sequence[str]
    rule: str
    """How the images were chosen, and what is held of how much; a sentence, unescaped."""
    content: Mapping[str, Any]
    """What the script reads."""

    @property
    def json(self) -> Markup:
        """The content as JSON in which no text ends a script."""
        return to_script_json(self.content)


def link_images(
    kept: Kept, store: Store, pair: Pair | None, order: Sequence[str], shown: Mapping[str, str]
) -> Linked | None:
    """Gather what the linked gallery holds; None below two variants that kept predictions.

    Args:
        kept: What there is.
        store: Where counts by image are.
        pair: Two variants that the gallery begins with.
        order: Names of variants, those first that should be held first.
        shown: How each is named on the page.

    Raises:
        InputError: The pack is damaged where an image lies.
    """
    names = kept.names
    counts = _read_counts(kept, store, names)
    variants = [name for name in order if name in counts]
    if len(variants) < 2:
        return None
    if pair is not None and not {pair.before.variant, pair.after.variant} <= set(variants):
        pair = None
    first, second = (pair.after.variant, pair.before.variant) if pair else variants[:2]
    apart = _count_apart(kept, names, first, second) if pair else None
    chosen, rule = rank_images(names, counts, apart, pair, NUM_IMAGES)
    held = _Held(kept, chosen, variants)
    places = [names.index(name) for name in held.names]
    classes = [clean(name) for name in kept.pack.class_names]
    content = {
        "images": [clean(name) for name in held.names],
        "sizes": held.sizes,
        "photos": held.photos,
        "targets": held.targets,
        "variants": [{"name": clean(n), "shown": shown.get(n, clean(n))} for n in held.variants],
        "predictions": [held.predictions[name] for name in held.variants],
        "counts": [counts[name][places].tolist() for name in held.variants],
        "apart": [
            [
                _count_apart(kept, held.names, one, other).tolist()
                for other in held.variants[:number]
            ]
            for number, one in enumerate(held.variants)
        ],
        "classes": classes,
        "palette": [list(map(int, colour)) for colour in kept.pack.palette],
        "coloursApart": [list(colour) for colour in colours_apart(len(classes))],
        "numApart": NUM_APART,
        "a": held.variants.index(first),
        "b": held.variants.index(second),
    }
    return Linked(held.names, held.variants, held.describe(rule, len(names)), content)


class _Held:
    """Encoded images and masks, as many as the budget allows: images give way before variants do.

    Args:
        kept: What there is.
        names: Of images, the most wanted first.
        variants: Likewise.
    """

    def __init__(self, kept: Kept, names: Sequence[str], variants: Sequence[str]) -> None:
        self._kept = kept
        self.num_variants = len(variants)
        self.names: list[str] = []
        self.variants = list(variants[:NUM_VARIANTS])
        self.photos: list[str] = []
        self.targets: list[str] = []
        self.sizes: list[tuple[int, int, int]] = []
        """Height and width as held, and by how much that is smaller."""
        self.predictions: dict[str, list[str]] = {name: [] for name in self.variants}
        self.num_bytes = 0
        for name in names:
            if not self._add_image(name):
                break
        more_fit = len(self.names) == len(names)
        for variant in variants[NUM_VARIANTS:] if more_fit else ():
            more = [self._encode(kept.predictions[variant][name]) for name in self.names]
            if self.num_bytes + sum(map(len, more)) > MAX_BYTES:
                break
            self.variants.append(variant)
            self.predictions[variant] = more
            self.num_bytes += sum(map(len, more))

    def describe(self, rule: str, num_kept: int) -> str:
        """Say what is held, by what rule, and what it takes."""
        few = len(self.names) < num_kept or len(self.variants) < self.num_variants
        largest = max(shrink for _, _, shrink in self.sizes)
        return (
            f"{number_of(len(self.names), 'image')} of {num_kept} whose prediction was kept: "
            f"{rule}. {len(self.variants)} of {number_of(self.num_variants, 'variant')}, each by "
            f"its first seed. They take {self.num_bytes / 1e6:.1f} MB of this page; at most "
            f"{MAX_BYTES / 1e6:g} MB are for them"
            + (", which is why there are not more" if few and len(self.names) < NUM_IMAGES else "")
            + (f". Shown is every pixel in {largest} of each row and column" * (largest > 1))
            + "."
        )

    def _add_image(self, name: str) -> bool:
        kept = self._kept
        target = kept.target(name)
        step = _shrink(target)
        photo = _encode_photo(kept.image(name), step)
        masks = [kept.predictions[variant][name] for variant in self.variants]
        encoded = [
            self._encode(_without_unlabelled(target, kept)),
            *(self._encode(mask) for mask in masks),
        ]
        more = len(photo) + sum(map(len, encoded))
        if self.names and self.num_bytes + more > MAX_BYTES:
            return False
        height, width = target[::step, ::step].shape
        self.names.append(name)
        self.photos.append(photo)
        self.sizes.append((height, width, step))
        self.targets.append(encoded[0])
        for variant, mask in zip(self.variants, encoded[1:], strict=True):
            self.predictions[variant].append(mask)
        self.num_bytes += more
        return True

    def _encode(self, mask: NDArray[np.uint8]) -> str:
        step = _shrink(mask)
        classes = np.ascontiguousarray(mask[::step, ::step])
        return base64.b64encode(zlib.compress(classes.tobytes(), 9)).decode()


def _shrink(mask: NDArray[np.uint8]) -> int:
    return -(-int(max(mask.shape)) // MAX_SIDE)


def _without_unlabelled(target: NDArray[np.uint8], kept: Kept) -> NDArray[np.uint8]:
    """Return a target in which what is not counted is 255, whatever the data set calls it."""
    counted = (target != kept.pack.ignore_index) & (target < len(kept.pack.class_names))
    return np.where(counted, target, np.uint8(255))


def _encode_photo(image: NDArray[np.uint8], step: int) -> str:
    buffer = io.BytesIO()
    with Image.fromarray(image[..., :3]) as whole:
        whole.reduce(step).save(buffer, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _count_apart(kept: Kept, names: Sequence[str], one: str, other: str) -> NDArray[np.int64]:
    """Count the labelled pixels of each image of which two variants predict different classes."""
    ignore = kept.pack.ignore_index
    pairs = [(kept.predictions[one][n], kept.predictions[other][n], kept.target(n)) for n in names]
    counts = [int(((a != b) & (target != ignore)).sum()) for a, b, target in pairs]
    return np.array(counts, dtype=np.int64)


def _read_counts(kept: Kept, store: Store, names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Read the counts of each image, (N, 3, C), of all variants whose masks are as they should."""
    found = {}
    for arm in kept.arms:
        masks = kept.predictions[arm.variant]
        if masks and all(masks[name].shape == kept.target(name).shape for name in names):
            counts = _read_arm(arm, store)
            if all(name in counts for name in names):
                found[arm.variant] = np.stack([counts[name] for name in names])
    return found


def _read_arm(arm: PlannedRun, store: Store) -> dict[str, NDArray[np.int64]]:
    try:
        names, confusions = store.confusions(arm.run.id, arm.run.spec.evaluate.split)
    except (OSError, KeyError, ValueError):  # not what we wrote; InputError is a ValueError
        return {}
    return dict(zip(names, class_counts(confusions), strict=True))
