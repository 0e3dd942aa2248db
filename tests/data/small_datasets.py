"""Writers of small datasets of every kind."""

import numpy as np
from PIL import Image
from scipy.io import savemat

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


def write_layer(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_labels(path, variable, rng, size, num_classes, void):
    """MATLAB's labels count from 1; one class and the void value are sure to be there."""
    labels = rng.integers(1, num_classes + 1, size).astype(np.int16)
    labels[0, :3] = void
    labels[1, 0] = num_classes
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {variable: labels})
    with path.open("r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))  # scipy writes the second it is made
    return labels


def write_nyudv2(root):
    for key, (split, stems) in enumerate(SPLITS.items()):
        numbers = [str(5001 + "abcd".index(stem)) for stem in stems]
        for k, number in enumerate(numbers):
            rng, size = np.random.default_rng([key, k]), (12, 16)
            file = f"img_{number}.png"
            write_layer(root / "data/images" / file, rng.integers(0, 256, (*size, 3), np.uint8))
            write_layer(root / "data/hha" / file, rng.integers(0, 256, (*size, 3), np.uint8))
            depth = rng.integers(400, 13000, size).astype(np.uint16)
            write_layer(root / "data/depth" / file, depth)
            labels = root / "segmentation" / f"img_{number}.mat"
            write_labels(labels, "segmentation", rng, size, 40, 0)
        (root / f"{split}.txt").write_text("\n".join(numbers) + "\n")
    return root


def write_siftflow(root):
    scenes = "spatial_envelope_256x256_static_8outdoorcategories"
    lists = {"trainval": ("coast_a", "forest_b"), "test": ("street_c",)}
    for key, (name, stems) in enumerate(lists.items()):
        for k, stem in enumerate(stems):
            rng, size = np.random.default_rng([key, k]), (16, 16)
            image = root / "Images" / scenes / f"{stem}.jpg"
            write_layer(image, rng.integers(0, 256, (*size, 3), np.uint8))
            labels = root / "SemanticLabels" / scenes / f"{stem}.mat"
            write_labels(labels, "S", rng, size, 33, 0)
            write_labels(root / "GeoLabels" / scenes / f"{stem}.mat", "S", rng, size, 3, -1)
        (root / f"{name}.txt").write_text("\n".join(stems) + "\n")
    return root


def open_folder(root, **options):
    return open_dataset(DataSpec(dataset="folder", options=options), root)
