"""Learned upsamplings: deconvolution, pixel shuffle and content-aware reassembly.

In: logits (N, C, h, w) on a coarse grid. Out: logits on a finer one, a whole number of times as
fine. Each enlarges the cells by that factor, and is then read exactly where the finer cells sit: a
plain cut where the two agree, else one fixed bilinear step. Beyond the outer cells they see those
cells again. Off the random start, each begins as the fixed bilinear upsampling.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.alignment import Grid, read_at
from fcn.errors import InputError


class LearnedUpsampling(nn.Module):
    """What all of them share: extend, enlarge, read.

    Args:
        from_grid: Where the logits sit.
        to_grid: Where they are wanted.
    """

    margin: int = 1
    """Outer cells that enlarging uses up on each side, or needs for its last fine cells."""
    start: float
    """First enlarged cell, seen from the centre of the first extended one, in fine cells."""

    def __init__(self, from_grid: Grid, to_grid: Grid) -> None:
        super().__init__()
        self.from_grid = from_grid
        self.to_grid = to_grid
        factor = from_grid.stride / to_grid.stride
        if factor != int(factor):
            raise InputError(
                f"a learned upsampling enlarges by whole factors, not from stride "
                f"{from_grid.stride:g} to {to_grid.stride:g}; use bilinear or nearest there"
            )
        self.factor = int(factor)

    def enlarge(self, logits: Tensor) -> Tensor:
        """Return logits `factor` times as fine, of the inner cells."""
        raise NotImplementedError

    def forward(
        self, logits: Tensor, size: tuple[int, int], cells: tuple[int, int] | None = None
    ) -> Tensor:
        """Return logits (N, C, *size) in fp32 (fp64 stays), from (N, C, h, w)."""
        height, width = cells or size
        lacks = self._missing(logits.shape[2], height), self._missing(logits.shape[3], width)
        enlarged = self.enlarge(_extended(logits, lacks))
        first = self._first(lacks[0][0])  # the same on both axes: only the ends differ
        if first == int(first) and cells in (None, size):
            begin = -int(first)
            enlarged = enlarged[..., begin : begin + size[0], begin : begin + size[1]]
            return enlarged if enlarged.dtype == torch.float64 else enlarged.float()
        stride = self.to_grid.stride
        grid = Grid(stride, self.to_grid.offset + first * stride)
        return read_at(enlarged, size, cells, from_grid=grid, to_grid=self.to_grid)

    def _missing(self, num_cells: int, outputs: int) -> tuple[int, int]:
        """Return how many cells the logits lack before and after, to cover all outputs."""
        coarse, fine = self.from_grid, self.to_grid
        before = (coarse.offset - fine.offset) / coarse.stride
        last = fine.offset + fine.stride * (outputs - 1)
        after = (last - coarse.offset) / coarse.stride - (num_cells - 1)
        return self.margin + max(0, math.ceil(before)), self.margin + max(0, math.ceil(after))

    def _first(self, before: int) -> float:
        """Return where the first enlarged cell sits, in cells of the finer grid."""
        centre = self.from_grid.offset - before * self.from_grid.stride
        return (centre - self.to_grid.offset) / self.to_grid.stride + self.start

    def extra_repr(self) -> str:
        """Name the grids."""
        return f"{self.from_grid} -> {self.to_grid}"


class DeconvolutionUpsampling(LearnedUpsampling):
    """A transposed convolution, dense over the channels as in the reference.

    Args:
        channels: Of the logits.
        from_grid: Where the logits sit.
        to_grid: Where they are wanted.
        random: Start from noise of the same gain instead of bilinear interpolation.
    """

    def __init__(
        self, channels: int, from_grid: Grid, to_grid: Grid, *, random: bool = False
    ) -> None:
        super().__init__(from_grid, to_grid)
        apart = (from_grid.offset - to_grid.offset) / to_grid.stride
        self.kernel_size = choose_kernel_size(self.factor, apart)
        # The fading border is cut off, up to the first fine cell at or after a cell's centre.
        self.start = self.kernel_size // 2 - (self.kernel_size - 1) / 2
        self.weight = create_weight(channels, self.kernel_size, self.factor, random=random)

    def enlarge(self, logits: Tensor) -> Tensor:
        """Return the deconvolution without its fading border."""
        enlarged = F.conv_transpose2d(logits, self.weight, stride=self.factor)
        cut = self.kernel_size // 2
        height, width = enlarged.shape[-2:]
        return enlarged[..., cut : height - cut, cut : width - cut]


class SubpixelUpsampling(LearnedUpsampling):
    """A 3 x 3 convolution to factor^2 channels per class, laid out as factor x factor cells.

    Reference: Shi et al., 2016, section 3.2, arXiv:1609.05158.
    """

    margin = 2

    def __init__(self, channels: int, from_grid: Grid, to_grid: Grid) -> None:
        super().__init__(from_grid, to_grid)
        self.start = (self.factor + 1) / 2
        self.convolution = nn.Conv2d(channels, channels * self.factor**2, kernel_size=3)
        with torch.no_grad():
            phases = bilinear_phases(self.factor, reach=1).to(self.convolution.weight)
            weight = torch.eye(channels)[:, None, :, None, None] * phases[None, :, None]
            self.convolution.weight.copy_(weight.flatten(0, 1))
            nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def enlarge(self, logits: Tensor) -> Tensor:
        """Return the cells laid out; the outermost ones are used up."""
        return F.pixel_shuffle(self.convolution(logits), self.factor)


class CarafeUpsampling(LearnedUpsampling):
    """Content-aware reassembly: softmax weights over 5 x 5 cells, predicted for each fine cell.

    The paper reassembles 256 features and squeezes them to 64 for the prediction; logits are few,
    and 16 keep a factor of 32 affordable. Its weights start near bilinear, not near flat.

    Reference: Wang et al., 2019, CARAFE, section 3, arXiv:1905.02188.
    """

    margin = 3
    reach = 2

    def __init__(self, channels: int, from_grid: Grid, to_grid: Grid) -> None:
        super().__init__(from_grid, to_grid)
        self.start = self.reach * self.factor - (self.factor - 1) / 2
        self.window = 2 * self.reach + 1
        self.squeeze = nn.Conv2d(channels, 16, kernel_size=1)
        self.predict = nn.Conv2d(16, (self.window * self.factor) ** 2, kernel_size=3)
        nn.init.normal_(self.predict.weight, std=0.001)
        with torch.no_grad():
            phases = bilinear_phases(self.factor, reach=self.reach).to(self.predict.weight)
            # Softmax cannot give zero; a thousandth leaves every cell a gradient.
            start = (phases.flatten(1).T + 0.001).log()
            self.predict.bias.copy_(start.flatten())  # type: ignore[union-attr]

    def enlarge(self, logits: Tensor) -> Tensor:
        """Return each fine cell as its own mixture; the two outermost cells are used up."""
        N, C, h, w = logits.shape
        h, w = h - 2 * self.reach, w - 2 * self.reach
        weights = self.predict(self.squeeze(logits))[..., 1:-1, 1:-1]
        weights = weights.reshape(N, self.window**2, self.factor**2, h * w).softmax(1)
        around = F.unfold(logits, self.window).reshape(N, C, self.window**2, h * w)
        # One small matrix product per coarse cell: (C, 25) @ (25, factor^2).
        mixed = around.permute(0, 3, 1, 2) @ weights.permute(0, 3, 1, 2).to(around.dtype)
        mixed = mixed.permute(0, 2, 3, 1).reshape(N, C * self.factor**2, h, w)
        return F.pixel_shuffle(mixed, self.factor)


def choose_kernel_size(factor: int, apart: float) -> int:
    """Return the size of a bilinear deconvolution kernel that lands on the finer grid.

    The reference takes 2 * factor - factor % 2, which fits centred cells, and 63 for a factor of 32
    in FCN-AlexNet, whose cells are whole pixels apart.

    Args:
        factor: Of enlarging.
        apart: From the first fine to the first coarse cell, in fine cells.
    """
    if apart == int(apart):
        return 2 * factor - 1
    if 2 * apart == int(2 * apart):
        return 2 * factor
    return 2 * factor - factor % 2


def create_weight(
    channels: int, kernel_size: int, factor: int, *, random: bool = False
) -> nn.Parameter:
    """Return the weights of a deconvolution, (channels, channels, kernel_size, kernel_size).

    They interpolate each channel by itself, or are noise that keeps the size of what it enlarges.
    """
    weight = nn.Parameter(torch.empty(channels, channels, kernel_size, kernel_size))
    if random:
        summed = channels * (kernel_size / factor) ** 2
        return nn.init.normal_(weight, std=summed**-0.5)  # type: ignore[return-value]
    with torch.no_grad():
        kernel = bilinear_kernel(kernel_size).to(weight)
        weight.copy_(torch.eye(channels)[:, :, None, None] * kernel)
    return weight


def bilinear_kernel(size: int) -> Tensor:
    """Return the kernel with which a deconvolution interpolates, (size, size), float64.

    Reference: upsample_filt in surgery.py of shelhamer/fcn.berkeleyvision.org.
    """
    factor = (size + 1) // 2
    away = (torch.arange(size, dtype=torch.float64, device="cpu") - (size - 1) / 2).abs()
    line = 1 - away / factor
    return line[:, None] * line


def bilinear_phases(factor: int, *, reach: int) -> Tensor:
    """Return how each fine cell of a coarse one weighs the coarse cells around.

    Returns:
        Weights, (factor^2, 2 * reach + 1, 2 * reach + 1), float64; each window sums to 1.
    """
    fine = torch.arange(factor, dtype=torch.float64, device="cpu")
    place = (fine - (factor - 1) / 2) / factor
    cells = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu")
    line = (1 - (place[:, None] - cells).abs()).clamp(min=0)
    return torch.einsum("yi,xj->yxij", line, line).flatten(0, 1)


def _extended(logits: Tensor, lacks: tuple[tuple[int, int], tuple[int, int]]) -> Tensor:
    """Repeat the outer cells, by concatenation: torch's own padding adds gradients in any order."""
    for axis, (before, after) in zip((2, 3), lacks, strict=True):
        first = logits.narrow(axis, 0, 1)
        last = logits.narrow(axis, logits.shape[axis] - 1, 1)
        logits = torch.cat([first] * before + [logits] + [last] * after, dim=axis)
    return logits
