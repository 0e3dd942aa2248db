"""Kinds of losses: what each needs to see at once, which decides how a batch is cut into slices.

A loss is a function under `LOSSES.register("name")` and one of the kinds below it. Full-size logits
exist for a slice of the images at a time; whatever is known of the whole batch beforehand (how many
pixels are labelled) or after a first look at it (sums of probabilities) is of a few numbers.
Logits are (n, C, H, W) float32 or better.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fcn.registry import Registry


@dataclass(frozen=True)
class Labels:
    """What n images show, and which of it counts."""

    classes: Tensor
    """(n, H, W), int64; 0 where a pixel is not labelled."""
    labelled: Tensor
    """(n, H, W), bool."""
    class_weights: Tensor | None = None
    """(C,), from `train.class_weights`; None for 1 each."""

    def part(self, images: slice) -> "Labels":
        """Return those of some of the images."""
        return Labels(self.classes[images], self.labelled[images], self.class_weights)

    def pixel_weights(self) -> Tensor:
        """Return (n, H, W) float32: the weight of each pixel's class, 0 where it has none."""
        weights = self.labelled.float()
        if self.class_weights is not None:
            weights *= self.class_weights[self.classes]
        return weights


@dataclass(frozen=True)
class PerPixel:
    """A loss of each pixel by itself; the mean over pixels, weighted by their classes.

    The function takes logits and classes (n, H, W), and returns losses (n, H, W); those of pixels
    that are not labelled do not count. If its third parameter is `class_weights`, (C,) or None, it
    has them in its losses already.
    """

    function: Callable[..., Tensor]
    fused: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    """Logits, classes, weights (n, H, W) -> weighted sum of the losses and its gradient, where the
    function is given no argument."""


@dataclass(frozen=True)
class PerImage:
    """A figure of each image by itself; the mean over images that have a label at all.

    The function takes logits and `Labels`, and returns (n,), 0 for an image without a label.
    """

    function: Callable[..., Tensor]


@dataclass(frozen=True)
class OfSums:
    """A function of sums over the pixels of the batch. Images are looked at twice."""

    sums: Callable[[Tensor, Labels], Tensor]
    """Logits and labels -> any sums over images and pixels."""
    function: Callable[..., Tensor]
    """Sums of the whole batch and class weights -> loss, (); 0 where nothing is labelled."""


@dataclass(frozen=True)
class Whole:
    """A loss that sees the whole batch at once: its full-size logits are all in memory.

    The function takes logits and `Labels`, of a batch in which something is labelled, and returns
    the loss, (). Such a run is on one device.
    """

    function: Callable[..., Tensor]


Kind = PerPixel | PerImage | OfSums | Whole

LOSSES: Registry[Kind] = Registry("loss")
"""name -> kind, whose function may take arguments by name: `focal(gamma=3)`."""
