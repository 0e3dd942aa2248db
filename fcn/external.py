"""External: a segmentation network of another library, in the place of an FCN.

In: any network from images to logits. Out: a model with an FCN's handles: `mean`, `std`, and
`forward(images, size)`, so that the one loop trains and scores it. Logits are resized by the same
exact bilinear matrices as ours.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from fcn.alignment import IMAGE_GRID, FixedUpsampling
from fcn.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class External(nn.Module):
    """A network of another library with an FCN's handles.

    Args:
        net: Images (N, in_chans, H, W) -> logits: a tensor (N, C, h, w), a dictionary with "out",
            or a sequence whose first element is that tensor.
        num_classes: Number of classes C that it must give.
        mean: Per channel, of images scaled to 0..1.
        std: Likewise.
        granularity: Images are padded with zeros, right and below, to multiples of this, and
            what the padding adds is cut off again. Only for networks whose logits have the size
            of the images.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        num_classes: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        granularity: int = 1,
    ) -> None:
        super().__init__()
        self.net = net
        self.num_classes = num_classes
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.granularity = granularity
        self.upsampling = _Resizing(IMAGE_GRID, IMAGE_GRID)

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return logits (N, C, *size), by default at the size of the images, in fp32.

        Raises:
            InputError: The network gives something else than logits of `num_classes` classes.
        """
        cells = (images.shape[-2], images.shape[-1])
        resized: Tensor = self.upsampling(self.score(images), size or cells)
        return resized

    def score(self, images: Tensor) -> Tensor:
        """Return logits (N, C, h, w) as the network gives them.

        Raises:
            InputError: The network gives something else than logits of `num_classes` classes.
        """
        height, width = images.shape[-2:]
        g = self.granularity
        padded = F.pad(images, (0, -width % g, 0, -height % g)) if g > 1 else images
        logits = self._logits(self.net(padded))
        return logits[..., :height, :width] if g > 1 else logits

    def _logits(self, output: Any) -> Tensor:
        logits = output
        if isinstance(output, dict):
            logits = output.get("out")
        elif isinstance(output, list | tuple) and output:
            logits = output[0]
        if not (
            isinstance(logits, Tensor) and logits.ndim == 4 and logits.shape[1] == self.num_classes
        ):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
            raise InputError(
                f"the external network gives {found}; model.external needs logits (N, "
                f"{self.num_classes}, h, w), alone, under 'out' in a dictionary, or first in a list"
            )
        return logits


class _Resizing(FixedUpsampling):
    """Bilinear, from any number of cells: they cover the image, as with `align_corners=False`."""

    def forward(
        self, logits: Tensor, size: tuple[int, int], cells: tuple[int, int] | None = None
    ) -> Tensor:
        return super().forward(logits, size, (logits.shape[-2], logits.shape[-1]))
