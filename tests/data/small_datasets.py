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


def write_values(image_path, mask_path, size, key, values):
    """Write an image and a mask in which each of some values occurs."""
    rng = np.random.default_rng(key)
    write_layer(image_path, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    write_layer(
        mask_path,
        rng.permutation(np.resize(values, size[0] * size[1])).astype(np.uint8).reshape(size),
    )


def write_cityscapes(root):
    for split, cities in {
        "train": ("aachen", "bremen"),
        "val": ("lindau",),
        "test": ("bonn",),
    }.items():
        for k, city in enumerate(cities):
            for frame in range(2):
                stem = f"{split}/{city}/{city}_00000{frame}_000019"
                image = root / "leftImg8bit" / f"{stem}_leftImg8bit.png"
                mask = root / "gtFine" / f"{stem}_gtFine_labelIds.png"
                values = range(34) if split != "test" else [0]
                write_values(image, mask, (16, 32), [k, frame], list(values))
                write_layer(
                    mask.with_name(mask.name.replace("labelIds", "instanceIds")),
                    np.zeros((16, 32), np.uint16),
                )
    return root


def write_ade20k(root):
    for split, folder in {"train": "training", "val": "validation"}.items():
        for k in range(2):
            stem = f"{folder}/ADE_{split}_0000000{k}"
            paths = root / "images" / f"{stem}.jpg", root / "annotations" / f"{stem}.png"
            write_values(*paths, (16, 20), [k, len(split)], list(range(151)))
    lines = ["Idx\tRatio\tTrain\tVal\tStuff\tName"]
    names = ["wall", "building, edifice", "screen, silver screen", "screen, CRT screen"]
    names += [f"thing {n}" for n in range(4, 150)]
    lines += [f"{n}\t0.1\t9\t9\t1\t{name}" for n, name in enumerate(names, start=1)]
    (root / "objectInfo150.txt").write_text("\n".join(lines))
    return root


def write_pets(root):
    lists = {"trainval": ("Abyssinian_1", "beagle_2"), "test": ("pug_3",)}
    for k, (name, stems) in enumerate(lists.items()):
        for n, stem in enumerate(stems):
            mask = root / "annotations" / "trimaps" / f"{stem}.png"
            write_values(root / "images" / f"{stem}.jpg", mask, (16, 20), [k, n], [1, 2, 3])
            (mask.parent / f"._{stem}.png").write_bytes(b"as in the published archive")
        lines = ["#Image CLASS-ID SPECIES BREED ID"] * (name == "test")
        text = "\n".join([*lines, *(f"{stem} 1 1 1" for stem in stems)])
        (root / "annotations" / f"{name}.txt").write_text(text)
    return root


def write_coco_stuff(root):
    never = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    values = [*(label - 1 for label in range(1, 183) if label not in never), 255]
    for folder in ("train2017", "val2017"):
        for k in range(2):
            stem = f"00000000000{k}"
            mask = root / "stuffthingmaps" / folder / f"{stem}.png"
            write_values(root / folder / f"{stem}.jpg", mask, (16, 20), [k, len(folder)], values)
    lines = ["0: unlabeled", *(f"{label}: label {label}" for label in range(1, 183))]
    (root / "labels.txt").write_text("\n".join(lines))
    return root


def open_folder(root, **options):
    return open_dataset(DataSpec(dataset="folder", options=options), root)
