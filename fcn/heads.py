"""Heads: the deepest features turned into logits on their own grid.

In: features (N, channels, h, w). Out: logits (N, num_classes, h, w).
A head is built from (channels, num_classes, dropout, score_init) and keeps the grid it is given.
"""

from collections.abc import Callable
from typing import Literal

from torch import nn

from fcn.errors import InputError
from fcn.registry import Registry

ScoreInit = Literal["zero", "random"]

HEADS: Registry[Callable[..., nn.Module]] = Registry("head")
"""name -> module built from (channels, num_classes, *, dropout, score_init)."""


def list_heads() -> list[str]:
    """Return the names of all heads."""
    return list(HEADS)


def create_score(channels: int, num_classes: int, score_init: ScoreInit) -> nn.Conv2d:
    """Return the 1x1 convolution that scores the classes.

    Args:
        channels: Of the features.
        num_classes: Of the logits.
        score_init: "zero" as in the paper, where random was neither better nor faster, or "random":
            weights of a normal distribution with deviation 0.01. Biases are 0 either way.

    Raises:
        InputError: `score_init` is neither.

    Reference: Long et al., 2015, section 4.3, arXiv:1411.4038.
    """
    if score_init not in ("zero", "random"):
        raise InputError(f"score_init is {score_init!r}; it may be 'zero' or 'random'")
    score = nn.Conv2d(channels, num_classes, kernel_size=1)
    nn.init.zeros_(score.bias)  # type: ignore[arg-type]
    if score_init == "zero":
        nn.init.zeros_(score.weight)
    else:
        nn.init.normal_(score.weight, std=0.01)
    return score


@HEADS.register("linear")
def create_linear(
    channels: int, num_classes: int, *, dropout: float, score_init: ScoreInit
) -> nn.Module:
    """Dropout, then a 1x1 convolution: the features scored as they are."""
    return nn.Sequential(nn.Dropout(dropout), create_score(channels, num_classes, score_init))
