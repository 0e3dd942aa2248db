"""ADE20K, scene parsing: 20,210 images to train on and 2,000 to judge, 150 classes.

Layout, that of ADEChallengeData2016.zip: `images/training`, `images/validation`, `annotations/`
with the same folders and PNGs of the same stems, and `objectInfo150.txt`, from which names are. A
mask holds 1 to 150; 0 is what belongs to none of them, and void.

Reference: Zhou et al., CVPR 2017, doi:10.1109/CVPR.2017.544; sceneparsing.csail.mit.edu.
"""

from collections import Counter
from pathlib import Path

from bench.data.dataset import DATASETS
from bench.data.files import find_root, read_lines
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.described import DescribedDataset, describe_values
from fcn.errors import InputError

NUM_CLASSES = 150
SPLITS = {"train": "training", "val": "validation"}
TABLE = "objectInfo150.txt"
FETCH = "unpack ADEChallengeData2016.zip there (from sceneparsing.csail.mit.edu)"


@DATASETS.register("ade20k")
def load_ade20k(data_dir: Path | None) -> DescribedDataset:
    """Find ADE20K's files in `data_dir`, or in its folder `ADEChallengeData2016` or `ade20k`.

    Raises:
        InputError: The folder or its table is not there, or a split has no image.
    """
    root = find_root(
        "ade20k", data_dir, ("ADEChallengeData2016", "ade20k"), ("images", "annotations"), FETCH
    )
    files: dict[tuple[str, str], tuple[Path, Path]] = {}
    splits: dict[str, tuple[str, ...]] = {}
    for split, folder in SPLITS.items():
        found = sorted((root / "images" / folder).glob("ADE_*.jpg"))
        if not found:
            raise InputError(f"{root / 'images' / folder} has no ADE_*.jpg; {FETCH}")
        splits[split] = tuple(path.stem for path in found)
        for path in found:
            mask = Path("annotations", folder, f"{path.stem}.png")
            files[split, path.stem] = path.relative_to(root), mask
    names = _read_names(root / TABLE)
    description = describe_values(
        {name: [number] for number, name in enumerate(names, start=1)}, void=[0]
    )
    return DescribedDataset.of("ade20k", description, root, splits, files)


@OUTLINES.register("ade20k")
def outline_ade20k() -> Outline:
    """20,210 and 2,000 images."""
    return Outline({"train": 20210, "val": 2000}, NUM_CLASSES, (512, 683), FETCH)


def _read_names(path: Path) -> list[str]:
    """Read names, each by its first word where no other class has that too."""
    rows = [line.split("\t") for line in read_lines(path)]
    whole = [row[-1].strip() for row in rows if row[0].strip().isdigit()]
    if len(whole) != NUM_CLASSES:
        raise InputError(f"{path} names {len(whole)} classes, not {NUM_CLASSES}; {FETCH}")
    first = Counter(name.split(",")[0] for name in whole)
    return [n.split(",")[0] if first[n.split(",")[0]] == 1 else n for n in whole]
