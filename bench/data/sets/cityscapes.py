"""Cityscapes: 2,975 street scenes of 2048x1024 to train on and 500 to judge, 19 of 34 ids.

Layout, that of leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip: `leftImg8bit/SPLIT/CITY/`
and `gtFine/SPLIT/CITY/` with `..._gtFine_labelIds.png`. The labels of `test` are not published, so
it is no split here. Images of a city are not independent.

Reference: Cordts et al., CVPR 2016, arXiv:1604.01685; ids, classes and colours of
`cityscapesscripts/helpers/labels.py` in mcordts/cityscapesScripts (`trainId` 0 to 18).
"""

from pathlib import Path

from bench.data.dataset import DATASETS
from bench.data.files import files_below, find_root
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.described import DescribedDataset, describe_values
from fcn.errors import InputError

CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""By name: its id in the masks, and its colour. All other ids are void."""
SPLITS = ("train", "val")
IMAGE, MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"
FETCH = (
    "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there (from "
    "cityscapes-dataset.com, after registration)"
)


@DATASETS.register("cityscapes")
def load_cityscapes(data_dir: Path | None) -> DescribedDataset:
    """Find Cityscapes' files in `data_dir`, or in its folder `cityscapes`.

    Raises:
        InputError: The folder is not there, or a split has no image.
    """
    root = find_root(
        "cityscapes", data_dir, ("cityscapes", "Cityscapes"), ("leftImg8bit", "gtFine"), FETCH
    )
    files: dict[tuple[str, str], tuple[Path, Path]] = {}
    splits: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        folder = root / "leftImg8bit" / split
        found = [path for path in files_below(folder) if path.name.endswith(IMAGE)]
        names = [path.relative_to(folder).as_posix().removesuffix(IMAGE) for path in found]
        if not names:
            raise InputError(f"{folder} has no image such as CITY/X{IMAGE}; {FETCH}")
        splits[split] = tuple(names)
        for name, path in zip(names, found, strict=True):
            mask = Path("gtFine", split, name + MASK)
            files[split, name] = path.relative_to(root), mask
    description = describe_values(
        {name: [number] for name, (number, _) in CLASSES.items()},
        shown={name: colour for name, (_, colour) in CLASSES.items()},
        others="void",
    )
    return DescribedDataset.of(
        "cityscapes",
        description,
        root,
        splits,
        files,
        groups={key: key[1].partition("/")[0] for key in files},
    )


@OUTLINES.register("cityscapes")
def outline_cityscapes() -> Outline:
    """2,975 and 500 images."""
    return Outline({"train": 2975, "val": 500}, len(CLASSES), (1024, 2048), FETCH)
