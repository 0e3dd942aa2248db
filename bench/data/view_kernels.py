"""Kernels that make views on a GPU, in the arithmetic of a CPU: `find_places`, then `see`.

Everything is in whole numbers but where weights are found, in fp64 as Pillow finds them, and the
normalisation at the end. Neither may be contracted or approximated, or bits would differ: they are
to be started with `enable_fp_fusion=False`, and divide by `div_rn` where it is in fp32.
Imported only where there is Triton.
"""

# mypy: ignore-errors
# The language of a kernel is not Python's, and Triton has no types.

import triton
import triton.language as tl


@triton.jit
def find_places(
    views,
    images,
    first,
    weights,
    nearest,
    num_places,
    axis: tl.constexpr,
    taps: tl.constexpr,
    fraction_bits: tl.constexpr,
    block: tl.constexpr,
):
    """Find what each place of each view reads along an axis: 0 for rows, 1 for columns.

    Args:
        views: (V, 6) int32: image, top, left, scaled height, scaled width, whether mirrored.
        images: (M, 3) int64: first pixel, height and width of each image.
        first: First pixel that a place reads, (V, num_places) int32; written.
        weights: Of that pixel and the next ones, in parts of 2**fraction_bits,
            (V, taps, num_places) int32; written.
        nearest: Pixel whose label a place shows, (V, num_places) int32, -1 outside; written.
        num_places: Length of the axis.
        axis: Which axis.
        taps: Most pixels that a place reads.
        fraction_bits: Bits of a weight after the point.
        block: Places of a program.
    """
    v = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * block + tl.arange(0, block)
    is_there = at < num_places
    view = views + v * 6
    begins, scaled = tl.load(view + 1 + axis), tl.load(view + 3 + axis)
    size = tl.load(images + tl.load(view).to(tl.int64) * 3 + 1 + axis).to(tl.int32)
    mirrored = (tl.load(view + 5) != 0) & (axis == 1)

    # Which places show the image, and of which of its pixels: see `bench.data.axis`.
    shrink = size.to(tl.float64) / scaled.to(tl.float64)
    begin, end = tl.maximum(-begins, 0), tl.minimum(num_places, scaled - begins)
    low = (begins + begin).to(tl.float64) * shrink
    high = tl.minimum((begins + end).to(tl.float64) * shrink, size.to(tl.float64))
    reach = tl.maximum(shrink, 1.0)
    start = tl.maximum(tl.floor(low - reach), 0.0)
    stop = tl.minimum(tl.ceil(high + reach) + 1.0, size.to(tl.float64))
    box_low, box_high = (low - start).to(tl.float32), (high - start).to(tl.float32)
    if mirrored:
        begin, end = num_places - end, num_places - begin
    inside = (at >= begin) & (at < end)
    place = tl.where(mirrored, end - 1 - at, at - begin)

    # A triangle that widens when shrinking, added up in Pillow's order.
    scale = (box_high - box_low).to(tl.float64) / (end - begin).to(tl.float64)
    reach = tl.maximum(scale, 1.0)
    centre = box_low.to(tl.float64) + (place.to(tl.float64) + 0.5) * scale
    lowest = tl.maximum(centre - reach + 0.5, 0.0).to(tl.int32)
    count = (stop - start).to(tl.int32)
    total = tl.zeros((block,), tl.float64)
    for tap in range(taps):
        total += _part(lowest + tap, centre, reach, count, inside)
    total = tl.maximum(total, 1e-9)  # 0 at places outside
    for tap in range(taps):
        part = _part(lowest + tap, centre, reach, count, inside)
        whole = (part / total * (1 << fraction_bits) + 0.5).to(tl.int32)
        tl.store(weights + (v * taps + tap) * num_places + at, whole, mask=is_there)
    tl.store(first + v * num_places + at, lowest + start.to(tl.int32), mask=is_there)

    label = begins + tl.where(mirrored, num_places - 1 - at, at)
    shown = ((2 * label + 1).to(tl.int64) * size) // (2 * scaled)
    label = tl.where((label >= 0) & (label < scaled), shown.to(tl.int32), -1)
    tl.store(nearest + v * num_places + at, label, mask=is_there)


@triton.jit
def _part(pixel, centre, reach, count, inside):
    """Return what a pixel has in places, before they are made to add up to 1."""
    away = tl.abs((pixel.to(tl.float64) - centre + 0.5) * (1.0 / reach))
    return tl.where((away <= 1.0) & (pixel < count) & inside, 1.0 - away, 0.0)


@triton.jit(do_not_specialize=["first_view"])
def see(
    pixels,
    labels,
    views,
    images,
    rows,
    row_weights,
    row_labels,
    columns,
    column_weights,
    column_labels,
    statistics,
    ignored,
    seen,
    targets,
    first_view,
    num_pixels,
    height,
    width,
    num_channels,
    num_targets,
    taps: tl.constexpr,
    fraction_bits: tl.constexpr,
    is_deep: tl.constexpr,
    rows_at_once: tl.constexpr,
    columns_at_once: tl.constexpr,
):
    """Write what some views show: one program has a part of a view.

    Args:
        pixels: Images end to end, (num_pixels, num_channels) uint8, or int16 if `is_deep`.
        labels: Their labels, (num_targets, num_pixels) uint8.
        views: As of `find_places`, as are `images` and what comes next, of rows and of columns.
        images: Likewise.
        rows: Likewise.
        row_weights: Likewise.
        row_labels: Likewise.
        columns: Likewise.
        column_weights: Likewise.
        column_labels: Likewise.
        statistics: Mean and deviation of each channel over 255, (2, num_channels) float32.
        ignored: Label outside the images, of each target, (num_targets,) int64.
        seen: (N, height, width, num_channels) float32; written.
        targets: (num_targets, N, height, width) int64; written.
        first_view: Number of the first of the N views.
        num_pixels: Of all images.
        height: Of a view.
        width: Of a view.
        num_channels: Of an image.
        num_targets: Of an image.
        taps: As of `find_places`.
        fraction_bits: As of `find_places`.
        is_deep: Whether pixels have 16 bits.
        rows_at_once: Height of the part that a program has.
        columns_at_once: Its width.
    """
    n = tl.program_id(0).to(tl.int64)
    y = tl.program_id(1) * rows_at_once + tl.arange(0, rows_at_once)
    x = tl.program_id(2) * columns_at_once + tl.arange(0, columns_at_once)
    is_row, is_column = y < height, x < width
    is_there = is_row[:, None] & is_column[None, :]
    v = first_view + n
    image = images + tl.load(views + v * 6).to(tl.int64) * 3
    begins, last_row = tl.load(image), tl.load(image + 1).to(tl.int32) - 1
    size = tl.load(image + 2).to(tl.int32)
    row_label = tl.load(row_labels + v * height + y, mask=is_row, other=-1)
    column_label = tl.load(column_labels + v * width + x, mask=is_column, other=-1)
    inside = (row_label >= 0)[:, None] & (column_label >= 0)[None, :]
    row = tl.load(rows + v * height + y, mask=is_row, other=0)
    column = tl.load(columns + v * width + x, mask=is_column, other=0)
    to = (n * height + y[:, None]) * width + x[None, :]
    kind: tl.constexpr = tl.int64 if is_deep else tl.int32

    for k in range(num_channels):
        total = tl.zeros((rows_at_once, columns_at_once), kind)
        for tap_y in range(taps):
            # Beyond the end the weight is 0: any pixel will do.
            above = begins + tl.minimum(row + tap_y, last_row).to(tl.int64) * size
            across = tl.zeros((rows_at_once, columns_at_once), kind)
            for tap_x in tl.static_range(taps):
                pixel = above[:, None] + tl.minimum(column + tap_x, size - 1)[None, :]
                level = tl.load(pixels + pixel * num_channels + k, mask=inside, other=0)
                place = column_weights + (v * taps + tap_x) * width + x
                weight = tl.load(place, mask=is_column, other=0).to(kind)
                across += (level.to(tl.int32) & 0xFFFF) * weight[None, :]
            across = (across + (1 << (fraction_bits - 1))) >> fraction_bits
            place = row_weights + (v * taps + tap_y) * height + y
            weight = tl.load(place, mask=is_row, other=0).to(kind)
            total += across * weight[:, None]
        total = (total + (1 << (fraction_bits - 1))) >> fraction_bits
        mean, deviation = tl.load(statistics + k), tl.load(statistics + num_channels + k)
        value = tl.div_rn(total.to(tl.float32), 255.0) - mean
        value = tl.where(inside, tl.div_rn(value, deviation), 0.0)
        tl.store(seen + to * num_channels + k, value, mask=is_there)

    own = begins + row_label.to(tl.int64)[:, None] * size + column_label[None, :]
    of_target = tl.num_programs(0).to(tl.int64) * height * width
    for _ in range(num_targets):
        label = tl.load(labels + own, mask=inside, other=0).to(tl.int64)
        tl.store(targets + to, tl.where(inside, label, tl.load(ignored)), mask=is_there)
        labels += num_pixels
        targets += of_target
        ignored += 1
