"""The reference's way to align: 100 pixels of padding, deconvolutions, and crops.

In: where maps sit. Out: modules that take the place of the exact upsamplings. Each deconvolution
gives a map of its own size; finer features and the image's pixels are cut out of what overlaps.
The offsets of the authors' nets (19; 5, 27; 5, 9, 31; 18 for AlexNet) follow from where cells sit.

Reference: net.py of the voc nets in shelhamer/fcn.berkeleyvision.org.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.alignment import IMAGE_GRID, Grid, read_at
from fcn.errors import InputError
from fcn.learned import bilinear_kernel, choose_kernel_size, create_weight

_UPSAMPLINGS = ("bilinear", "learned", "learned_random")


class Deconvolution(nn.Module):
    """A transposed convolution of which nothing is cut off.

    Args:
        channels: Of the logits.
        from_grid: Where they sit.
        to_grid: Whose cells the result shares, as far as it reaches.
        upsampling: bilinear (fixed), learned, or learned_random.

    Raises:
        InputError: The upsampling is not a deconvolution.
    """

    def __init__(self, channels: int, from_grid: Grid, to_grid: Grid, upsampling: str) -> None:
        super().__init__()
        if upsampling not in _UPSAMPLINGS:
            raise InputError(
                f"upsampling {upsampling!r} is no deconvolution, which padding 'pad100' needs: use "
                f"{', '.join(_UPSAMPLINGS)}, or padding 'exact'"
            )
        self.factor = int(from_grid.stride / to_grid.stride)
        apart = (from_grid.offset - to_grid.offset) / to_grid.stride
        self.kernel_size = choose_kernel_size(self.factor, apart)
        first = apart - (self.kernel_size - 1) / 2
        if first != int(first):
            raise InputError("the backbone's cells are no whole pixels apart; use padding 'exact'")
        self.first = int(first)
        """Cell of `to_grid` at which the result begins."""
        self.grid = Grid(to_grid.stride, to_grid.offset + self.first * to_grid.stride)
        """Where the result sits."""
        if upsampling == "bilinear":
            # One kernel for each class by itself: the reference's dense one is zero elsewhere.
            kernel = bilinear_kernel(self.kernel_size).repeat(channels, 1, 1, 1)
            self.register_buffer(
                "weight", torch.empty(kernel.shape).copy_(kernel), persistent=False
            )
            self.groups = channels
        else:
            random = upsampling == "learned_random"
            self.weight = create_weight(channels, self.kernel_size, self.factor, random=random)
            self.groups = 1

    def forward(self, logits: Tensor) -> Tensor:
        """Return logits, (N, C, factor * (h - 1) + k, factor * (w - 1) + k)."""
        return F.conv_transpose2d(logits, self.weight, stride=self.factor, groups=self.groups)


class CroppedUpsampling(nn.Module):
    """A deconvolution to pixels, of which the image's are cut out.

    Args:
        channels: Of the logits.
        from_grid: Where they sit.
        upsampling: See `Deconvolution`.
    """

    def __init__(self, channels: int, from_grid: Grid, upsampling: str) -> None:
        super().__init__()
        self.deconvolution = Deconvolution(channels, from_grid, IMAGE_GRID, upsampling)
        self.crop = -self.deconvolution.first

    def forward(
        self, logits: Tensor, size: tuple[int, int], cells: tuple[int, int] | None = None
    ) -> Tensor:
        """Return logits (N, C, *size) in fp32 (fp64 stays), of an image of `cells` pixels.

        Raises:
            InputError: The padding does not reach around an image as large.
        """
        height, width = cells or size
        pixels = self.deconvolution(logits)
        pixels = pixels[..., self.crop : self.crop + height, self.crop : self.crop + width]
        if tuple(pixels.shape[-2:]) != (height, width):
            raise InputError(
                f"images of {height}x{width} pixels are outside of what padding 'pad100' covers; "
                "use padding 'exact'"
            )
        return read_at(pixels, size, (height, width), from_grid=IMAGE_GRID, to_grid=IMAGE_GRID)
