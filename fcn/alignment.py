"""Alignment: logits read off one grid of cells at the cells of another, exactly where they sit.

A grid is a stride and an offset in input pixels: cell i sits at offset + stride * i. Reading is
two matrix products, one per axis, because the bilinear `interpolate` of torch adds its gradients
in an order that changes from run to run on CUDA; a matrix product gives the same bits.
They run in fp32 under autocast too; so does their backward, which is taken outside of autocast
(`without_autocast`), as every backward should be. With TF32 switched on for matrix products
(`torch.backends.cuda.matmul`) the weights would be rounded to 10 bits: leave it off.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcn.constants import made_once


@dataclass(frozen=True)
class Grid:
    """Where cells sit: cell i is at offset + stride * i, in input pixels, on both axes."""

    stride: float
    offset: float


IMAGE_GRID = Grid(stride=1.0, offset=0.0)


class FixedUpsampling(nn.Module):
    """Upsampling without parameters, by one matrix per axis.

    Args:
        from_grid: Where the logits sit.
        to_grid: Where they are wanted.
        nearest: Take the nearest cell instead of weighing the two around.
    """

    def __init__(self, from_grid: Grid, to_grid: Grid, *, nearest: bool = False) -> None:
        super().__init__()
        self.from_grid = from_grid
        self.to_grid = to_grid
        self.nearest = nearest

    def forward(
        self, logits: Tensor, size: tuple[int, int], cells: tuple[int, int] | None = None
    ) -> Tensor:
        """Return logits (N, C, *size) in fp32 (fp64 stays), from (N, C, h, w)."""
        return read_at(
            logits,
            size,
            cells,
            from_grid=self.from_grid,
            to_grid=self.to_grid,
            nearest=self.nearest,
        )

    def extra_repr(self) -> str:
        """Name the grids."""
        return f"{self.from_grid} -> {self.to_grid}, nearest={self.nearest}"


def read_at(
    logits: Tensor,
    size: tuple[int, int],
    cells: tuple[int, int] | None = None,
    *,
    from_grid: Grid,
    to_grid: Grid,
    nearest: bool = False,
) -> Tensor:
    """Return logits (N, C, *size) in fp32 (fp64 stays), from (N, C, h, w).

    Args:
        logits: What is read.
        size: Height and width of the result.
        cells: Number of cells of `to_grid` that the result covers; None for `size`.
        from_grid: Where the logits sit.
        to_grid: Where they are wanted.
        nearest: Take the nearest cell instead of weighing the two around.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    rows, columns = (
        reading_matrix(
            num_cells,
            outputs,
            covered,
            from_grid=from_grid,
            to_grid=to_grid,
            nearest=nearest,
            device=logits.device,
            dtype=logits.dtype,
        )
        for num_cells, outputs, covered in zip(logits.shape[-2:], size, cells or size, strict=True)
    )
    with without_autocast(logits.device.type):
        return rows @ logits @ columns.T


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Return a context in which operations keep the type of what they are given."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()  # the meta device has none, and torch.autocast refuses it


def interpolation_matrix(
    positions: Tensor, num_cells: int, grid: Grid, *, nearest: bool = False
) -> Tensor:
    """Return the weights that read a row of cells at `positions`.

    Args:
        positions: Where to read, in input pixels, (outputs,), float64. Beyond the first and the
            last cell, that cell is read.
        num_cells: Length of the row.
        grid: Where its cells sit.
        nearest: Give all weight to the nearest cell (the later one of two equally near).

    Returns:
        Weights, (outputs, num_cells), float64; each row sums to 1.
    """
    place = ((positions - grid.offset) / grid.stride).clamp(0, num_cells - 1)
    if nearest:
        place = (place + 0.5).floor().clamp(max=num_cells - 1)
    cells = torch.arange(num_cells, dtype=torch.float64, device=positions.device)
    return (1 - (place[:, None] - cells).abs()).clamp(min=0)


# Long enough for a pass over images of many sizes; 512 rows of 16 cells are 32 KB each.
@made_once(1024)
def reading_matrix(
    num_cells: int,
    outputs: int,
    covered: int,
    *,
    from_grid: Grid,
    to_grid: Grid,
    nearest: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Return the weights that read one axis of `to_grid`, (outputs, num_cells); see `read_at`."""
    # A tensor born in inference mode may not take part in training later; the cache outlives both.
    with torch.inference_mode(False), torch.no_grad():
        # On the CPU in float64, so that every device gets the same weights.
        index = torch.arange(outputs, dtype=torch.float64, device="cpu")
        cells = (index + 0.5) * (covered / outputs) - 0.5
        positions = to_grid.offset + to_grid.stride * cells
        weights = interpolation_matrix(positions, num_cells, from_grid, nearest=nearest)
        weights = weights.to(dtype)
        if device.type == "cuda":  # a copy from memory that is not pinned waits for the device
            weights = weights.pin_memory()
        return weights.to(device, non_blocking=True)
