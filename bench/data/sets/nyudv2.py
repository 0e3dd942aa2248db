"""NYUDv2 in the 40-class task: 795 indoor scenes to train on and 654 to judge, with depth.

Layout, that of the archive the FCN authors published (nyud.tar.gz): `data/images/img_5001.png`,
`data/depth/` (16 bit, millimetres, holes filled), `data/hha/`, `segmentation/img_5001.mat`, and
the lists `train.txt`, `val.txt`, `test.txt` with numbers.

Reference: Silberman et al., 2012; classes of Gupta et al., CVPR 2013; HHA of Gupta et al., 2014,
arXiv:1407.5736; statistics and splits of nyud_layers.py in shelhamer/fcn.berkeleyvision.org.
"""

import math
from pathlib import Path

from bench.data.dataset import DATASETS, spread_colours
from bench.data.files import find_root, read_lines
from bench.data.layers import Input
from bench.data.sets.matlab import VOID, MatlabDataset
from fcn.errors import InputError

CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror"),
    *("floor mat", "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel"),
    *("shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp"),
    *("bathtub", "bag", "otherstructure", "otherfurniture", "otherprop"),
)
DEPTH_MM = (500.0, 12000.0)
"""What the sensor measures, with a margin: 0.5 to 10 m."""
MEAN_LOG_DEPTH = 7.844
"""Of the training images, natural logarithm of millimetres."""
HHA_MEAN = (132.431 / 255, 94.076 / 255, 118.477 / 255)
NATS_OF_A_DEVIATION = 57.6
"""In the reference a unit of log depth enters like one grey level of colour, and 57.6 grey levels
are the usual deviation of colours (0.226 of 255)."""
FETCH = (
    "unpack nyud.tar.gz (its address is in data/nyud/README.md of "
    "shelhamer/fcn.berkeleyvision.org) and copy train.txt, val.txt and test.txt from there"
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
    if depth_std <= 0:
        raise InputError(f"data.options.depth_std of 'nyudv2' must be positive, not {depth_std}")
    root = find_root("nyudv2", data_dir, ("nyud", "nyudv2"), ("data/images", "segmentation"), FETCH)
    parts = {name: tuple(read_lines(root / f"{name}.txt")) for name in ("train", "val", "test")}
    splits = parts if val else {"train": parts["train"] + parts["val"], "test": parts["test"]}
    inputs = [_depth(depth_std)] * depth + [Input("hha", 3, mean=HHA_MEAN)] * hha
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
        more_inputs=tuple(inputs),
    )


def _depth(std: float) -> Input:
    low, high = map(math.log, DEPTH_MM)
    span = high - low
    mean = (MEAN_LOG_DEPTH - low) / span
    return Input("depth", 1, mean=(mean,), std=(std / span,), log_range=DEPTH_MM)
