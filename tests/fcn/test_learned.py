"""Learned upsamplings: where they start, where they put things, and their sums written out."""

import pytest
import torch
import torch.nn.functional as F

from fcn import create_model, list_upsamplings
from fcn.alignment import IMAGE_GRID, FixedUpsampling, Grid
from fcn.errors import InputError
from fcn.learned import (
    CarafeUpsampling,
    DeconvolutionUpsampling,
    SubpixelUpsampling,
    bilinear_kernel,
)
from fcn.upsampling import UPSAMPLINGS

STARTS_AS_BILINEAR = ("learned", "subpixel", "carafe")
# Centred cells (VGG), corners (ResNet), AlexNet, one step, and cells that fit no pixel.
PAIRS = [
    (Grid(32, 15.5), IMAGE_GRID, (160, 131)),
    (Grid(32, 0.0), IMAGE_GRID, (97, 160)),
    (Grid(32, 31.0), Grid(8, 7.0), (20, 15)),
    (Grid(16, 7.5), Grid(8, 3.5), (10, 9)),
    (Grid(8, 3.25), IMAGE_GRID, (40, 33)),
]


@pytest.mark.parametrize("name", STARTS_AS_BILINEAR)
@pytest.mark.parametrize(("source", "target", "size"), PAIRS)
def test_they_start_as_bilinear(name, source, target, size):
    ramp = source.offset + source.stride * torch.arange(5.0)
    logits = torch.stack([ramp[:, None].expand(5, 5), ramp.expand(5, 5)])[None]
    module = UPSAMPLINGS[name](2, source, target)
    if name == "carafe":
        torch.nn.init.zeros_(module.predict.weight)  # the share of the content, small as it starts
    first = module.start + (source.offset - target.offset) / target.stride
    fits = first == int(first)
    if fits:  # elsewhere the second, fixed step rounds the kinks off
        logits = logits + 10 * torch.randn(1, 2, 5, 5)
    ours = module(logits, size)
    theirs = FixedUpsampling(source, target)(logits, size)
    last = ramp[-1] - target.stride
    inside = [
        [
            i
            for i in range(n)
            if ramp[0] + target.stride <= target.offset + target.stride * i <= last
        ]
        for n in size
    ]
    # CARAFE's softmax leaves each of 25 cells a thousandth.
    allowed = 0.04 * (logits.max() - logits.min()) if name == "carafe" else 1e-4
    if not fits:
        ours, theirs = (each[..., inside[0], :][..., inside[1]] for each in (ours, theirs))
    torch.testing.assert_close(ours, theirs, atol=float(allowed), rtol=0)


@pytest.mark.parametrize("name", list_upsamplings())
def test_they_take_any_size(name):
    logits = torch.randn(1, 2, 3, 2)
    for source, target, _ in PAIRS:
        module = UPSAMPLINGS[name](2, source, target)
        for size in ((97, 75), (33, 130)):
            result = module(logits, size)
            assert result.shape == (1, 2, *size)
            assert result.isfinite().all()
            # A target of another size than its image covers as many cells, read elsewhere.
            assert module(logits, (20, 30), size).shape == (1, 2, 20, 30)


@pytest.mark.parametrize("factor", [2, 3, 4, 8, 16, 32])
def test_kernels_are_the_references(factor):
    """k = 2f - f % 2, the centre at f - 1 for an odd k and f - 0.5 for an even one."""
    upsampling = DeconvolutionUpsampling(2, Grid(factor, (factor - 1) / 2), IMAGE_GRID)
    size = 2 * factor - factor % 2
    centre = factor - 1 if size % 2 else factor - 0.5
    expected = torch.zeros(2, 2, size, size)
    for y in range(size):
        for x in range(size):
            weight = (1 - abs(y - centre) / factor) * (1 - abs(x - centre) / factor)
            expected[0, 0, y, x] = expected[1, 1, y, x] = weight
    torch.testing.assert_close(upsampling.weight.detach(), expected)


def test_the_kernel_of_fcn_alexnet_has_63_pixels():
    assert DeconvolutionUpsampling(1, Grid(32, 31.0), IMAGE_GRID).kernel_size == 63
    assert bilinear_kernel(63)[31, 31] == 1


def test_a_learned_deconvolution_is_torchs_own_between_the_outer_cells():
    upsampling = DeconvolutionUpsampling(3, Grid(4, 1.5), IMAGE_GRID, random=True)
    logits = torch.randn(1, 3, 6, 6)
    theirs = F.conv_transpose2d(logits, upsampling.weight, stride=4, padding=2)
    inside = slice(4, -4)
    torch.testing.assert_close(
        upsampling(logits, (24, 24))[..., inside, inside], theirs[..., inside, inside]
    )


def test_subpixels_are_channels_of_their_own():
    upsampling = SubpixelUpsampling(2, Grid(4, 1.5), IMAGE_GRID)
    torch.nn.init.normal_(upsampling.convolution.weight)
    logits = torch.randn(1, 2, 5, 5)
    result = upsampling(logits, (20, 20))
    channels = upsampling.convolution(logits)  # of the cells 1, 2 and 3
    for c, y, x in ((0, 9, 6), (1, 4, 15), (1, 10, 11)):
        channel = c * 16 + (y % 4) * 4 + x % 4
        expected = channels[0, channel, y // 4 - 1, x // 4 - 1]
        torch.testing.assert_close(result[0, c, y, x], expected)


def test_carafe_mixes_5_by_5_cells_with_weights_from_the_content():
    upsampling = CarafeUpsampling(2, Grid(4, 1.5), IMAGE_GRID)
    torch.nn.init.normal_(upsampling.predict.weight, std=0.3)
    logits = torch.randn(1, 2, 7, 7)
    result = upsampling(logits, (28, 28))
    codes = upsampling.predict(upsampling.squeeze(logits))  # of the cells 1 to 5
    for y, x in ((12, 13), (11, 18)):
        i, j = y // 4, x // 4
        code = codes[0, :, i - 1, j - 1].reshape(25, 16)[:, (y % 4) * 4 + x % 4].exp()
        around = logits[0, :, i - 2 : i + 3, j - 2 : j + 3].reshape(2, 25)
        expected = (around * code).sum(1) / code.sum()
        torch.testing.assert_close(result[0, :, y, x], expected)


def test_a_factor_that_is_not_whole_is_refused():
    with pytest.raises(InputError, match="from stride 17 to 12; use bilinear"):
        UPSAMPLINGS["learned"](2, Grid(17, 0.0), Grid(12, 0.0))


def test_the_last_stage_can_differ():
    """The paper's choice: the stages between are learned, the last is fixed."""
    model = create_model(
        "resnet18", num_classes=2, upsampling="learned", upsampling_last="bilinear"
    )
    assert isinstance(model.upsampling, FixedUpsampling)
    stages = [skip.upsampling for skip in model.skips.values()]
    assert all(isinstance(stage, DeconvolutionUpsampling) for stage in stages)
