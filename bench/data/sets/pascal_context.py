"""PASCAL-Context: VOC 2010's photographs, labelled whole, by the 59 most common classes or by 33.

Layout: VOC 2010 (`JPEGImages/`, `ImageSets/Main/` with `train.txt` and `val.txt`), and beside it
`59_context_labels/` and `33_context_labels/` of the archives of those names, with a PNG for each
image. A mask holds a class from 1; 0 is what belongs to none. Sizes differ; the longer side is 500.

Reference: Mottaghi et al., CVPR 2014, doi:10.1109/CVPR.2014.119;
cs.stanford.edu/~roozbeh/pascal-context.
"""

from pathlib import Path

from bench.data.dataset import DATASETS
from bench.data.files import find_root, read_lines
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.described import DescribedDataset, describe_values
from bench.data.sets.published_lists import read_published
from bench.data.sets.voc import SIZE, voc_colours
from fcn.errors import InputError

SPLITS = ("train", "val")
NUMBERS = (59, 33)
VOC = ("VOCdevkit/VOC2010", "VOC2010")
BACKGROUND = "background"


@DATASETS.register("pascal_context")
def load_pascal_context(
    data_dir: Path | None, *, classes: int = 59, background: bool = False
) -> DescribedDataset:
    """Find PASCAL-Context and VOC 2010 in `data_dir`.

    Args:
        data_dir: The folder that holds both.
        classes: 59 or 33.
        background: Take what belongs to no class for one more, the first, as the reference nets
            are trained; else it is void.

    Raises:
        InputError: A folder or a list is not there, or `classes` is neither.
    """
    names = _names(classes, background)
    fetch, labels = _fetch(classes), f"{classes}_context_labels"
    found = find_root(
        "pascal_context", data_dir, ("pascal-context", "pascal_context"), (labels,), fetch
    )
    voc = find_root("pascal_context", data_dir, VOC, ("JPEGImages", "ImageSets/Main"), fetch)
    assert data_dir is not None  # else it would not have been found
    splits = {
        split: tuple(read_lines(voc / "ImageSets" / "Main" / f"{split}.txt")) for split in SPLITS
    }
    files = {
        (split, stem): (
            (voc / "JPEGImages" / f"{stem}.jpg").relative_to(data_dir),
            (found / labels / f"{stem}.png").relative_to(data_dir),
        )
        for split, stems in splits.items()
        for stem in stems
    }
    first = 0 if background else 1
    description = describe_values(
        {name: [value] for value, name in enumerate(names, start=first)},
        shown=dict(zip(names, voc_colours(len(names) + first)[first:], strict=True)),
        void=[255] if background else [0, 255],
    )
    return DescribedDataset.of("pascal_context", description, data_dir, splits, files)


@OUTLINES.register("pascal_context")
def outline_pascal_context(*, classes: int = 59, background: bool = False) -> Outline:
    """4,998 and 5,105 images."""
    number = len(_names(classes, background))
    return Outline({"train": 4998, "val": 5105}, number, SIZE, _fetch(classes))


def _names(classes: int, background: bool) -> tuple[str, ...]:
    if classes not in NUMBERS:
        raise InputError(
            f"data.options.classes of 'pascal_context' is 59 or 33, the two that are published, "
            f"not {classes}"
        )
    return (BACKGROUND,) * background + read_published(f"pascal-context-{classes}")


def _fetch(classes: int) -> str:
    return (
        f"unpack VOCtrainval_03-May-2010.tar there (from host.robots.ox.ac.uk/pascal/VOC/voc2010) "
        f"and, beside it, {classes}_context_labels.tar.gz (from "
        "cs.stanford.edu/~roozbeh/pascal-context)"
    )
