"""The kernel of the fused loss: logits of some pixels of a row, their losses, and what flows back.

One program has `pixels` places of one row of one image. It reads the two rows of coarse scores
around it, interpolates, and leaves the slope of its pixels already added up along the row, in a
window of coarse columns that is its own: nothing is added by atomics, so bits are always the same.
Classes pass by `classes` at a time, twice: for the softmax, and for the slope.
Imported only where there is Triton.
"""

# mypy: ignore-errors
# The language of a kernel is not Python's, and Triton has no types.

import triton
import triton.language as tl


@triton.jit
def loss_and_slope(
    scores,
    target,
    weights,
    row,
    row_part,
    column,
    column_part,
    sums,
    slope,
    num_classes,
    height,
    width,
    num_rows,
    num_columns,
    ignore_index,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    has_weights: tl.constexpr,
    classes: tl.constexpr,
    pixels: tl.constexpr,
    window: tl.constexpr,
):
    """Write sums (N, num_rows, tiles, 2) and slope (N, C, num_rows, tiles, window).

    `sums` are the loss and the weight of a program's pixels. `row` and `column` are the first of
    the two cells that a pixel is read from, `row_part` and `column_part` the share of the second.
    """
    tile, y, n = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    place = (n * num_rows + y) * tl.num_programs(0) + tile
    x = tile * pixels + tl.arange(0, pixels)
    is_there = x < num_columns

    # As matrices, so that reading and what flows back have the same weights.
    first = tl.load(column + tile * pixels)
    cells = first + tl.arange(0, window)
    left = tl.load(column + x, mask=is_there, other=0)
    right = tl.minimum(left + 1, width - 1)
    share = tl.load(column_part + x, mask=is_there, other=0.0)
    reads = tl.where(cells[:, None] == left[None, :], 1 - share[None, :], 0.0)
    reads += tl.where(cells[:, None] == right[None, :], share[None, :], 0.0)
    upper = tl.load(row + y)
    lower = tl.minimum(upper + 1, height - 1)
    part = tl.load(row_part + y)
    above = scores + n * stride_n + upper * stride_h + cells * stride_w
    below = scores + n * stride_n + lower * stride_h + cells * stride_w

    wanted = tl.load(target + (n * num_rows + y) * num_columns + x, mask=is_there, other=0)
    wanted = wanted.to(tl.int32)
    counts = is_there & (wanted != ignore_index)
    is_class = (wanted >= 0) & (wanted < num_classes)
    weight = tl.where(counts, 1.0, 0.0)
    if has_weights:
        weight = tl.load(weights + wanted, mask=counts & is_class, other=0.0)
    # What is neither a class nor ignored ends the run, as a loss that is NaN does.
    weight = tl.where(counts & ~is_class, float("nan"), weight)

    top = tl.full((pixels,), float("-inf"), tl.float32)
    total = tl.zeros((pixels,), tl.float32)
    own = tl.zeros((pixels,), tl.float32)
    for start in range(0, num_classes, classes):
        c = start + tl.arange(0, classes)
        is_read = (c[:, None] < num_classes) & (cells[None, :] < width)
        at = c[:, None] * stride_c
        high = tl.load(above[None, :] + at, mask=is_read, other=0.0).to(tl.float32)
        low = tl.load(below[None, :] + at, mask=is_read, other=0.0).to(tl.float32)
        logits = tl.dot(high * (1 - part) + low * part, reads, input_precision="ieee")
        logits = tl.where(c[:, None] < num_classes, logits, float("-inf"))
        higher = tl.maximum(top, tl.max(logits, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(logits - higher[None, :]), 0)
        is_own = (c[:, None] == wanted[None, :]) & is_class[None, :]  # never one that is padding
        own += tl.sum(tl.where(is_own, logits, 0.0), 0)
        top = higher
    level = top + tl.log(total)
    tl.store(sums + place * 2, tl.sum((level - own) * weight, 0))
    tl.store(sums + place * 2 + 1, tl.sum(weight, 0))

    for start in range(0, num_classes, classes):
        c = start + tl.arange(0, classes)
        is_read = (c[:, None] < num_classes) & (cells[None, :] < width)
        at = c[:, None] * stride_c
        high = tl.load(above[None, :] + at, mask=is_read, other=0.0).to(tl.float32)
        low = tl.load(below[None, :] + at, mask=is_read, other=0.0).to(tl.float32)
        logits = tl.dot(high * (1 - part) + low * part, reads, input_precision="ieee")
        hot = tl.where(c[:, None] == wanted[None, :], 1.0, 0.0)
        slopes = (tl.exp(logits - level[None, :]) - hot) * weight[None, :]
        slopes = tl.where(c[:, None] < num_classes, slopes, 0.0)
        back = tl.dot(slopes, tl.trans(reads), input_precision="ieee")
        rows = (n * num_classes + c[:, None]) * num_rows + y
        to = slope + (rows * tl.num_programs(0) + tile) * window
        tl.store(to + tl.arange(0, window)[None, :], back, mask=c[:, None] < num_classes)
