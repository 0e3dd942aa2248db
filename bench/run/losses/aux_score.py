"""Aux: the loss of an earlier score of the network, beside that of its own.

In: a network and `train.aux`. Out: which score it is, and what takes it to pixels.
"""

from torch import nn

from bench.spec import AuxSpec
from fcn.alignment import IMAGE_GRID, FixedUpsampling
from fcn.errors import InputError
from fcn.model import FCN, Network


def aux_upsampling(model: Network, aux: AuxSpec) -> nn.Module:
    """Return what takes an earlier score to pixels: interpolation, exact for its grid.

    Raises:
        InputError: The network has no such score.
    """
    grids = model.grids if isinstance(model, FCN) else {}
    if aux.stride not in grids:
        known = (
            f"this network has them at stride {', '.join(map(str, grids))}"
            if grids
            else "this network has none: an FCN has, whose skips fuse class scores (fcn16s, fcn8s)"
        )
        raise InputError(f"train.aux: there is no earlier score at stride {aux.stride}; {known}")
    return FixedUpsampling(grids[aux.stride], IMAGE_GRID)
