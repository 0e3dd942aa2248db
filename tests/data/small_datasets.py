"""Writers of small datasets of every kind."""

import numpy as np
from PIL import Image

from bench.data.registry import open_dataset
from bench.spec import DataSpec

SIZES = {"a": (20, 24), "b": (20, 24), "c": (18, 30), "d": (20, 24)}
SPLITS = {"train": ("a", "b"), "val": ("c",), "test": ("d",)}


def write_pair(image_path, mask_path, size, key, num_classes, ignore_index):
    rng = np.random.default_rng(key)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = rng.integers(0, num_classes, size, dtype=np.uint8)
    mask[0, :3] = ignore_index
    for path, pixels in ((image_path, image), (mask_path, mask)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def write_camvid(root):
    for key, (split, stems) in enumerate(SPLITS.items()):
        for k, stem in enumerate(stems):
            paths = root / split / f"{stem}.png", root / f"{split}annot" / f"{stem}.png"
            write_pair(*paths, SIZES[stem], [key, k], 11, 11)
        (root / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return root


def write_folder(root):
    (root / "classes.txt").parent.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("sea\nland\nsky\n")
    for key, (split, stems) in enumerate(SPLITS.items()):
        for k, stem in enumerate(stems):
            paths = root / "images" / f"{stem}.png", root / "masks" / f"{stem}.png"
            write_pair(*paths, SIZES[stem], [key, k], 3, 255)
        (root / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return root


def open_folder(root, **options):
    return open_dataset(DataSpec(dataset="folder", options=options), root)
