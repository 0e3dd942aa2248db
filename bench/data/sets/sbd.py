"""SBD, the Semantic Boundaries Dataset: VOC's photographs, of which it labels five times as many.

Layout: `benchmark_RELEASE/dataset/` of benchmark.tgz with `img/`, `cls/` (MATLAB files) and the
lists `train.txt` and `val.txt`, or these as torchvision's `SBDataset` puts them; and VOC beside,
from which what judges is. SBD's masks have no void.

| split | images | masks |
| --- | --- | --- |
| `train` | 8,498 of SBD's own train, on which the FCN paper trains | SBD's |
| `sbd_val` | 2,857 of SBD's own val | SBD's |
| `trainaug` | both, and VOC's train, less `seg11valid` and VOC's val: 10,582 | VOC's, else SBD's |
| `seg11valid` | 736 of VOC 2011's val that are not in `train`, by which the paper judges | VOC's |
| `val` | VOC's | VOC's |

Reference: Hariharan et al., ICCV 2011, doi:10.1109/ICCV.2011.6126343.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import DATASETS
from bench.data.files import find_root, read_lines
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.described import DescribedDataset
from bench.data.sets.matlab import read_matlab_struct
from bench.data.sets.published_lists import read_published
from bench.data.sets.voc import FOLDERS, SIZE, fetch_voc, find_voc, read_voc_splits, voc_description
from fcn.errors import InputError
from fcn.registry import unknown_name

FETCH = (
    "unpack benchmark.tgz there (from www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
    "semantic_contours), or have torchvision fetch it: torchvision.datasets.SBDataset(DIR, "
    "download=True); and, beside it, "
)
WAY_OUT = "; fetch the file again"


@dataclass(frozen=True)
class SbdDataset(DescribedDataset):
    """VOC's photographs with masks of VOC or SBD."""

    def read_labels(self, path: Path, target: str) -> NDArray[np.uint8]:
        """Return the classes (H, W) of a mask."""
        if path.suffix != ".mat":
            return super().read_labels(path, target)
        values = read_matlab_struct(path, "GTcls", "Segmentation")
        return self.description.class_map.apply(values, self.ignore_index, path, WAY_OUT)


@DATASETS.register("sbd")
def load_sbd(data_dir: Path | None, *, voc: str = "voc2012") -> SbdDataset:
    """Find SBD and VOC in `data_dir`.

    Args:
        data_dir: The folder that holds both.
        voc: Which year judges, voc2011 or voc2012; VOC 2012 has the images of 2011 too.

    Raises:
        InputError: A folder or a list is not there.
    """
    fetch = _fetch(voc)
    own = find_root("sbd", data_dir, ("benchmark_RELEASE/dataset", "sbd"), ("img", "cls"), fetch)
    other = find_voc("sbd", voc, data_dir, fetch)
    assert data_dir is not None  # else it would not have been found
    splits, judges = _splits(own, other), read_voc_splits(other)
    has_voc = {stem for stems in judges.values() for stem in stems}
    files = {}
    for split, stems in splits.items():
        for stem in stems:
            is_vocs = split not in ("train", "sbd_val") and stem in has_voc
            image = other / "JPEGImages" if is_vocs else own / "img"
            mask = (
                other / "SegmentationClass" / f"{stem}.png" if is_vocs else own / f"cls/{stem}.mat"
            )
            pair = (image / f"{stem}.jpg", mask)
            files[split, stem] = (pair[0].relative_to(data_dir), pair[1].relative_to(data_dir))
    return SbdDataset.of("sbd", voc_description(), data_dir, splits, files)


@OUTLINES.register("sbd")
def outline_sbd(*, voc: str = "voc2012") -> Outline:
    """Splits by the lists of both sets; that of trainaug is known of VOC 2012 alone."""
    fetch = _fetch(voc)
    judges = {"voc2011": {"val": 1111}, "voc2012": {"trainaug": 10582, "val": 1449}}[voc]
    own = {"train": 8498, "sbd_val": 2857, "seg11valid": 736}
    return Outline(own | judges, len(read_published("voc-classes")), SIZE, fetch)


def _fetch(voc: str) -> str:
    if voc not in FOLDERS:
        raise InputError(f"data.options.voc of 'sbd': {unknown_name('year', voc, FOLDERS)}")
    return FETCH + fetch_voc(voc)


def _splits(own: Path, other: Path) -> dict[str, tuple[str, ...]]:
    """Read who is in which split."""
    train, val = (tuple(read_lines(own / f"{split}.txt")) for split in ("train", "val"))
    judges = read_voc_splits(other)
    held_out = {*judges["val"], *read_published("seg11valid")}
    both = {*train, *val, *judges["train"]} - held_out
    splits = {"train": train, "sbd_val": val, "trainaug": tuple(sorted(both))}
    if "seg11valid" in judges:
        splits["seg11valid"] = judges["seg11valid"]
    return splits | {"val": judges["val"]}
