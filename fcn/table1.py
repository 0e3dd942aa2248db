"""The paper's Table 1 as data: what its three networks cost, to be set beside ours.

Reference: Long, Shelhamer and Darrell, 2015, Table 1, arXiv:1411.4038.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table1Column:
    """A column of the paper's Table 1: FCN-32s, 21 classes, 500 x 500 pixels, a Tesla K40c."""

    head: str
    depth: int
    num_parameters: float
    receptive_field: int
    forward_ms: float
    output_stride: int = 32
    note: str = ""


PUBLISHED = {
    "caffenet": Table1Column("convolutionalized", 8, 57e6, 355, 50.0),
    "vgg16": Table1Column("convolutionalized", 16, 134e6, 404, 210.0),
    "googlenet_original": Table1Column(
        "linear",
        22,
        6e6,
        907,
        59.0,
        note="the paper's 907 is 715 + 6 x 32: it counts the 7x7 average pool, which the FCN drops",
    ),
}
"""Table 1 by backbone."""

RELATIVES = {
    "alexnet": "the paper's AlexNet is 'caffenet': other widths, groups, LRN",
    "googlenet": "the paper's GoogLeNet is 'googlenet_original': 5x5 windows where this has 3x3, "
    "LRN and no batch norm",
}
"""Backbone -> which of the paper's networks goes by its name."""
