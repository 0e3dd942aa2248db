"""COCO-Stuff: 118,287 photographs to train on and 5,000 to judge, 171 things and stuff.

Layout: `train2017/` and `val2017/` with the photographs, `stuffthingmaps/` with the same folders
and PNGs of the same stems (stuffthingmaps_trainval2017.zip), and `labels.txt` of
nightrome/cocostuff, from which names are. A mask holds a label less one; 255 is void. Eleven labels
of 182 were never given, and are no classes.

Reference: Caesar et al., CVPR 2018, arXiv:1612.03716; https://github.com/nightrome/cocostuff.
"""

import re
from pathlib import Path

from bench.data.dataset import DATASETS
from bench.data.files import find_root, read_lines
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.described import DescribedDataset, describe_values
from fcn.errors import InputError

NUM_LABELS = 182
NEVER_GIVEN = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
"""Labels of things that COCO's annotators were asked for and left out of the published set."""
VOID = 255
SPLITS = {"train": "train2017", "val": "val2017"}
FETCH = (
    "unpack train2017.zip, val2017.zip (cocodataset.org) there, and "
    "stuffthingmaps_trainval2017.zip in "
    "its folder stuffthingmaps; labels.txt is in nightrome/cocostuff on GitHub"
)


@DATASETS.register("coco_stuff")
def load_coco_stuff(data_dir: Path | None) -> DescribedDataset:
    """Find COCO-Stuff's files in `data_dir`, or in its folder `coco` or `coco_stuff`.

    Raises:
        InputError: The folder or its table is not there, or a split has no mask.
    """
    root = find_root(
        "coco_stuff", data_dir, ("coco_stuff", "coco"), ("stuffthingmaps", "val2017"), FETCH
    )
    files: dict[tuple[str, str], tuple[Path, Path]] = {}
    splits: dict[str, tuple[str, ...]] = {}
    for split, folder in SPLITS.items():
        found = sorted((root / "stuffthingmaps" / folder).glob("*.png"))
        if not found:
            raise InputError(f"{root / 'stuffthingmaps' / folder} has no PNG; {FETCH}")
        splits[split] = tuple(path.stem for path in found)
        for path in found:
            files[split, path.stem] = Path(folder, f"{path.stem}.jpg"), path.relative_to(root)
    names = _read_names(root / "labels.txt")
    description = describe_values({name: [label - 1] for label, name in names.items()}, void=[VOID])
    return DescribedDataset.of("coco_stuff", description, root, splits, files)


@OUTLINES.register("coco_stuff")
def outline_coco_stuff() -> Outline:
    """118,287 and 5,000 images."""
    number = NUM_LABELS - len(NEVER_GIVEN)
    return Outline({"train": 118287, "val": 5000}, number, (480, 640), FETCH)


def _read_names(path: Path) -> dict[int, str]:
    """Read the names of those labels that were given."""
    found = {}
    for line in read_lines(path):
        if match := re.fullmatch(r"(\d+):\s*(.+)", line):
            found[int(match[1])] = match[2]
    wanted = set(range(1, NUM_LABELS + 1))
    if not wanted <= set(found):
        raise InputError(f"{path} does not name the labels 1 to {NUM_LABELS}; {FETCH}")
    return {label: found[label] for label in sorted(wanted - NEVER_GIVEN)}
