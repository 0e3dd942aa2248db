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


VOC_SIZES = ((12, 16), (16, 12), (15, 20), (12, 16), (9, 20))
"""Ragged, as VOC's are: wide and tall photographs."""


def voc_palette(num=256):
    """VOC's colours, by shifting bits as its development kit does."""
    colours = []
    for value in range(num):
        r = g = b = 0
        left = value
        for shift in range(7, -1, -1):
            r |= (left & 1) << shift
            g |= (left >> 1 & 1) << shift
            b |= (left >> 2 & 1) << shift
            left >>= 3
        colours.append((r, g, b))
    return colours


def draw_voc_mask(rng, size, num_classes=21):
    """Two things on background, each with an outline of void, as VOC draws them."""
    mask = np.zeros(size, np.uint8)
    for top, left in ((1, 1), (size[0] // 2, size[1] // 2)):
        box = slice(top, top + 4), slice(left, left + 5)
        mask[box] = 255
        mask[top + 1 : top + 3, left + 1 : left + 4] = rng.integers(1, num_classes)
    return mask


def write_photo(path, rng, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


def write_palette_mask(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    image.putpalette(bytes(value for colour in voc_palette() for value in colour))
    image.save(path)


VOC_NAMES = {
    "train": ("2007_000032", "2007_000039"),
    "val": ("2007_000033", "2007_000042", "2008_000002"),  # the first two are of seg11valid
}


def write_voc(root, inner, names=VOC_NAMES):
    """Write a year as its archive unpacks: lists of other tasks and masks of objects beside."""
    folder = root / inner
    stems = [stem for own in names.values() for stem in own]
    for k, stem in enumerate(stems):
        rng = np.random.default_rng([k, 2011])
        write_photo(folder / "JPEGImages" / f"{stem}.jpg", rng, VOC_SIZES[k])
        mask = draw_voc_mask(rng, VOC_SIZES[k])
        write_palette_mask(folder / "SegmentationClass" / f"{stem}.png", mask)
        write_palette_mask(folder / "SegmentationObject" / f"{stem}.png", mask)
    write_photo(folder / "JPEGImages" / "2008_000099.jpg", rng, (12, 16))  # of detection alone
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, own in {**names, "trainval": tuple(stems)}.items():
        (lists / f"{split}.txt").write_text("\n".join(own) + "\n")
    return root


def write_voc2011(root):
    return write_voc(root, "TrainVal/VOCdevkit/VOC2011")


def write_voc2012(root):
    return write_voc(root, "VOCdevkit/VOC2012")


SBD_NAMES = {
    "train": ("2008_000002", "2008_000007", "2007_000032"),
    "val": ("2007_000033", "2008_000009"),
}


def write_sbd(root):
    write_voc2012(root)
    folder = root / "benchmark_RELEASE" / "dataset"
    for split, stems in SBD_NAMES.items():
        for k, stem in enumerate(stems):
            rng, size = np.random.default_rng([k, len(split)]), VOC_SIZES[k]
            voc = root / "VOCdevkit/VOC2012/JPEGImages" / f"{stem}.jpg"
            if voc.exists():  # the same photograph in both
                with Image.open(voc) as image:
                    size = image.size[::-1]
                (folder / "img").mkdir(parents=True, exist_ok=True)
                (folder / "img" / f"{stem}.jpg").write_bytes(voc.read_bytes())
            else:
                write_photo(folder / "img" / f"{stem}.jpg", rng, size)
            mask = draw_voc_mask(rng, size)
            mask[mask == 255] = 0  # SBD has no void
            path = folder / "cls" / f"{stem}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            savemat(path, {"GTcls": {"Boundaries": [0], "Segmentation": mask}})
            with path.open("r+b") as file:
                file.write(b"MATLAB 5.0 MAT-file".ljust(116))
        (folder / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return root


def write_pascal_context(root):
    folder = root / "VOCdevkit" / "VOC2010"
    names = {"train": ("2008_000002", "2008_000003"), "val": ("2008_000007", "2008_000009")}
    for k, stem in enumerate(stem for own in names.values() for stem in own):
        rng = np.random.default_rng([k, 2010])
        write_photo(folder / "JPEGImages" / f"{stem}.jpg", rng, VOC_SIZES[k])
        for number in (59, 33):
            mask = np.resize(np.arange(number + 1), VOC_SIZES[k]).astype(np.uint8)
            write_layer(root / f"{number}_context_labels" / f"{stem}.png", mask)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, own in names.items():
        (lists / f"{split}.txt").write_text("\n".join(own) + "\n")
        (lists / f"aeroplane_{split}.txt").write_text("2008_000002 -1\n")
    return root


def open_folder(root, **options):
    return open_dataset(DataSpec(dataset="folder", options=options), root)
