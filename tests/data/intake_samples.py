"""Photographs and masks as people have them, drawn, and what comes of taking them in."""

from collections import Counter

import numpy as np
import yaml
from PIL import Image

from bench.data.intake.intake import Wishes, taken_in

H, W = 24, 32


def draw(seed, values):
    """Blocks of values, each value once or more."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.permutation(np.resize(values, 12)).reshape(3, 4), np.ones((8, 8), int))


def photograph(seed, size=(H, W)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def colour(key):
    return key >> 16, key >> 8 & 255, key & 255


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def write(root, masks, image="images/{}.jpg", mask="masks/{}.png"):
    for k, (name, drawn) in enumerate(masks.items()):
        save(root / image.format(name), photograph(k))
        save(root / mask.format(name), drawn)
    return root


def take(root, tmp_path, images="images", masks="masks", **wishes):
    """Take a folder in; return its report, classes.yaml and sentences."""
    folder = tmp_path / "mine"
    given = Wishes(str(root / images), str(root / masks), **wishes)
    with taken_in(folder, given) as taken:
        pass
    return taken.report, yaml.safe_load((folder / "classes.yaml").read_text()), taken.said


def counted(report):
    """Pixels of each class, over all splits."""
    totals = sum(report.class_counts(split) for split in report.splits)
    return dict(zip(report.class_names, totals.tolist(), strict=True))


def expected(drawn):
    return Counter(np.concatenate([mask.ravel() for mask in drawn.values()]).tolist())


def grey(values):
    return Image.fromarray(values.astype(np.uint16 if values.max() > 255 else np.uint8))


NAMES = ["a", "b", "c", "d", "e"]
