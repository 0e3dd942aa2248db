"""The fused loss: coarse scores to loss and gradient, without logits at full size, on a GPU.

In: scores on a coarse grid, and a fixed upsampling. Out: cross-entropy over labelled pixels, whose
gradient was computed along with it: per step tens of megabytes are moved in place of gigabytes.
Whatever it does not serve goes by slices, see `bench.run.losses.sliced`, to the same numbers but
for rounding. Gradients are added up in one order: the same bits every time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.kernels import has_kernels, starting_on
from bench.run.chunking import CHUNK_MIB
from bench.run.losses.terms import Reduction, Term
from fcn.alignment import FixedUpsampling, Grid, reading_matrix, without_autocast
from fcn.constants import made_once

PIXELS = 64
"""Pixels of a row that one program of the kernel has."""

LEAST = 16
"""Least side of a matrix that Triton multiplies."""

MOST_CLASSES = 64
"""Classes that a program looks at together; more than these pass by in turns."""


def is_served(scores: Tensor, upsampling: nn.Module, terms: Sequence[Term]) -> bool:
    """Say whether the fused loss can be had: plain cross-entropy, fixed upsampling, a GPU, Triton.

    Args:
        scores: Logits on a coarse grid, (N, C, h, w).
        upsampling: What takes them to pixels.
        terms: The losses that are asked for.
    """
    is_plain = len(terms) == 1 and terms[0].name == "cross_entropy" and not terms[0].arguments
    is_fixed = type(upsampling) is FixedUpsampling
    is_narrow = scores.dtype != torch.float64
    return is_plain and is_fixed and is_narrow and scores.is_cuda and has_kernels(scores.device)


def upsampled_cross_entropy(
    scores: Tensor,
    target: Tensor,
    upsampling: FixedUpsampling,
    *,
    ignore_index: int,
    reduction: Reduction = "mean",
    weight: float = 1.0,
    class_weights: Tensor | None = None,
    add_up: Callable[[Tensor], Tensor] = lambda number: number,
) -> Tensor:
    """Cross-entropy of upsampled scores over labelled pixels; as `pixel_loss` has it.

    Args:
        scores: Logits on a coarse grid, (N, C, h, w), fp16, bf16 or fp32.
        target: (N, H, W), whole numbers: classes or `ignore_index`. A number that is neither makes
            the loss NaN.
        upsampling: What takes scores to pixels.
        ignore_index: Target value that is not counted.
        reduction: Mean or sum over pixels.
        weight: Factor on the loss.
        class_weights: Weight of each class, (C,).
        add_up: Adds up a number over the processes that share the batch.

    Returns:
        The loss, (), float32; zero, with zero gradient, where no pixel is labelled.
    """
    (h, w), (H, W) = scores.shape[-2:], target.shape[-2:]
    places = _find_places(
        (upsampling.from_grid, upsampling.to_grid),
        (h, w),
        (H, W),
        nearest=upsampling.nearest,
        device=scores.device,
    )
    loss: Tensor = _UpsampledLoss.apply(
        scores, target.contiguous(), places, ignore_index, reduction, weight, class_weights, add_up
    )
    return loss


@dataclass(frozen=True)
class _Places:
    """Where pixels are read from, on the device."""

    window: int
    """Coarse columns that one tile of pixels reads from at most, as a power of two."""
    row: Tensor
    """First of the two coarse rows of each row of pixels, (H,), int32."""
    row_part: Tensor
    """Share of the second, (H,), float32."""
    column: Tensor
    column_part: Tensor
    rows: Tensor
    """What brings rows of pixels back to coarse ones, (h, H)."""
    columns: Tensor
    """What brings the windows of all tiles to coarse columns, (tiles * window, w), 0 or 1."""


@made_once(64)
def _find_places(
    grids: tuple[Grid, Grid],
    cells: tuple[int, int],
    size: tuple[int, int],
    *,
    nearest: bool,
    device: torch.device,
) -> _Places:
    """Work them out on the CPU, once: a step never waits for them."""
    down, across = (
        reading_matrix(
            number,
            outputs,
            outputs,
            from_grid=grids[0],
            to_grid=grids[1],
            nearest=nearest,
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        for number, outputs in zip(cells, size, strict=True)
    )
    with torch.inference_mode(False), torch.no_grad():
        (row, row_part), (column, column_part) = _two_cells(down), _two_cells(across)
        # The cells between the outer pixels of a tile, and the second one of the last.
        window = _power_of_two(int((PIXELS - 1) * grids[1].stride / grids[0].stride) + 3)
        reached = (column[::PIXELS, None] + torch.arange(window)).flatten()
        columns = (reached[:, None] == torch.arange(cells[1])).float()
        found = (row, row_part, column, column_part, down.T, columns)
        return _Places(window, *(tensor.contiguous().to(device) for tensor in found))


class _UpsampledLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        target: Tensor,
        places: _Places,
        ignore_index: int,
        reduction: Reduction,
        weight: float,
        class_weights: Tensor | None,
        add_up: Callable[[Tensor], Tensor],
    ) -> Tensor:
        tiles = -(-target.shape[-1] // PIXELS)
        sums = scores.new_empty(*target.shape[:2], tiles, 2, dtype=torch.float32)
        gradient = torch.empty_like(scores, dtype=torch.float32)
        for images in _together(scores, target, tiles * places.window):
            shape = (*gradient[images].shape[:2], target.shape[1], tiles * places.window)
            slope = scores.new_empty(shape, dtype=torch.float32)
            _launch(
                scores[images], target[images], class_weights, places, sums[images], slope,
                ignore_index,
            )  # fmt: skip
            with without_autocast(scores.device.type):
                gradient[images] = places.rows @ slope @ places.columns
            del slope  # before the next is made
        loss, total = sums.sum((0, 1, 2)).unbind()
        factor = torch.full_like(total, weight)
        if reduction == "mean":
            factor /= add_up(total.clone()).clamp(min=torch.finfo(total.dtype).tiny)
        ctx.dtype = scores.dtype
        ctx.save_for_backward(gradient.mul_(factor))
        return loss * factor

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        # An fp16 loss is scaled by now; before, its gradient was too small for fp16.
        return (grad_output * gradient).to(ctx.dtype), *[None] * 7


def _launch(
    scores: Tensor,
    target: Tensor,
    class_weights: Tensor | None,
    places: _Places,
    sums: Tensor,
    slope: Tensor,
    ignore_index: int,
) -> None:
    from bench.run.losses.upsampled_kernel import loss_and_slope  # there may be no Triton

    (N, C, h, w), (H, W) = scores.shape, target.shape[1:]
    launch: Any = loss_and_slope[sums.shape[2], H, N]
    with starting_on(scores.device):
        launch(
            scores, target, scores if class_weights is None else class_weights,
            places.row, places.row_part, places.column, places.column_part, sums, slope,
            C, h, w, H, W, ignore_index, *scores.stride(),
            has_weights=class_weights is not None,
            classes=min(MOST_CLASSES, _power_of_two(C)), pixels=PIXELS, window=places.window,
        )  # fmt: skip


def _together(scores: Tensor, target: Tensor, columns: int) -> Iterator[slice]:
    """Yield which images have their slopes in memory together, one at least."""
    N, C = scores.shape[:2]
    mib = C * target.shape[1] * columns * 4 / 2**20
    together = max(1, int(CHUNK_MIB["cuda"] / mib))
    return (slice(first, first + together) for first in range(0, N, together))


def _two_cells(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first cell that each place reads, and the share of the one behind it."""
    first = (matrix > 0).int().argmax(1)
    return first.int(), 1 - matrix.gather(1, first[:, None])[:, 0]


def _power_of_two(number: int) -> int:
    return max(LEAST, 1 << (number - 1).bit_length())
