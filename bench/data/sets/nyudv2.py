"""NYUDv2 in the 40-class task: 795 indoor scenes to train on and 654 to judge, with depth.

Layout, that of the archive the FCN authors published (nyud.tar.gz): `data/images/img_5001.png`,
`data/depth/` (16 bit, millimetres, holes filled), `data/hha/`, `segmentation/img_5001.mat`. Lists
`train.txt`, `val.txt`, `test.txt` with numbers are read where they lie beside, else ours.

Reference: Silberman et al., 2012; classes of Gupta et al., CVPR 2013; HHA of Gupta et al., 2014,
arXiv:1407.5736; statistics and splits of nyud_layers.py in shelhamer/fcn.berkeleyvision.org.
"""

import math
from pathlib import Path

from bench.data.dataset import DATASETS, spread_colours
from bench.data.files import find_root
from bench.data.layers import Input
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.matlab import VOID, MatlabDataset
from bench.data.sets.published_lists import read_published, read_splits
from fcn.errors import InputError

CLASSES = read_published("nyudv2-classes")
LISTS = {split: (f"{split}.txt", f"nyudv2-{split}") for split in ("train", "val", "test")}
DEPTH_MM = (500.0, 12000.0)
"""What the sensor measures, with a margin: 0.5 to 10 m."""
MEAN_LOG_DEPTH = 7.844
"""Of the training images, natural logarithm of millimetres."""
HHA_MEAN = (132.431 / 255, 94.076 / 255, 118.477 / 255)
NATS_OF_A_DEVIATION = 57.6
"""In the reference a unit of log depth enters like one grey level of colour, and 57.6 grey levels
are the usual deviation of colours (0.226 of 255)."""
FETCH = (
    "unpack nyud.tar.gz there (from dl.caffe.berkeleyvision.org): images, depth, HHA and masks as "
    "the FCN authors prepared them"
)


@DATASETS.register("nyudv2")
def load_nyudv2(
    data_dir: Path | None,
    *,
    depth: bool = True,
    hha: bool = True,
    val: bool = False,
    depth_std: float = NATS_OF_A_DEVIATION,
) -> MatlabDataset:
    """Find NYUDv2's files in `data_dir`, or in its folder `nyud` or `nyudv2`.

    Args:
        data_dir: Where the archive was unpacked.
        depth: Read depth, an input of one channel.
        hha: Read HHA (disparity, height, angle), an input of three.
        val: Keep the 414 validation images apart; the paper trains on them too.
        depth_std: Natural logarithms of depth that count as one standard deviation. The default is
            the reference's, with which depth weighs little; about 0.45 would be depth's own.

    Raises:
        InputError: The folder or a list is not there, or `depth_std` is not positive.
    """
    inputs = _inputs(depth, hha, depth_std)
    root = find_root("nyudv2", data_dir, ("nyud", "nyudv2"), ("data/images", "segmentation"), FETCH)
    parts = read_splits(root, LISTS)
    splits = parts if val else {"train": parts["train"] + parts["val"], "test": parts["test"]}
    keys = [(split, number) for split, numbers in splits.items() for number in numbers]
    return MatlabDataset(
        variable="segmentation",
        name="nyudv2",
        class_names=CLASSES,
        palette=spread_colours(len(CLASSES)),
        ignore_index=VOID,
        splits=splits,
        root=root,
        files={
            key: (
                Path("data", "images", f"img_{key[1]}.png"),
                Path("segmentation", f"img_{key[1]}.mat"),
            )
            for key in keys
        },
        more_files={
            one.name: {key: Path("data", one.name, f"img_{key[1]}.png") for key in keys}
            for one in inputs
        },
        more_inputs=inputs,
    )


@OUTLINES.register("nyudv2")
def outline_nyudv2(
    *,
    depth: bool = True,
    hha: bool = True,
    val: bool = False,
    depth_std: float = NATS_OF_A_DEVIATION,
) -> Outline:
    """795 and 654 images of 480 x 640; 381 to train on where `val` is apart."""
    parts = {split: len(read_published(ours)) for split, (_, ours) in LISTS.items()}
    whole = {"train": parts["train"] + parts["val"], "test": parts["test"]}
    inputs = _inputs(depth, hha, depth_std)
    return Outline(parts if val else whole, len(CLASSES), (480, 640), FETCH, inputs)


def _inputs(depth: bool, hha: bool, depth_std: float) -> tuple[Input, ...]:
    if depth_std <= 0:
        raise InputError(f"data.options.depth_std of 'nyudv2' must be positive, not {depth_std}")
    return (_depth(depth_std),) * depth + (Input("hha", 3, mean=HHA_MEAN),) * hha


def _depth(std: float) -> Input:
    low, high = map(math.log, DEPTH_MM)
    span = high - low
    mean = (MEAN_LOG_DEPTH - low) / span
    return Input("depth", 1, mean=(mean,), std=(std / span,), log_range=DEPTH_MM)
