"""Upsampling against torch's interpolate, the paper's deconvolution, and ramps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fcn.alignment import IMAGE_GRID, FixedUpsampling, Grid
from fcn.errors import InputError
from fcn.upsampling import UPSAMPLINGS


def _centred(stride):
    return Grid(stride, (stride - 1) / 2)


@pytest.mark.parametrize(("coarse", "fine"), [(32, 1), (32, 16), (8, 1), (16, 8)])
def test_bilinear_equals_interpolate_on_centred_grids(coarse, fine):
    logits = torch.randn(2, 3, 5, 7, requires_grad=True)
    size = (5 * coarse // fine, 7 * coarse // fine)
    ours = UPSAMPLINGS["bilinear"](3, _centred(coarse), _centred(fine))(logits, size)
    theirs = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    weight = torch.randn_like(ours)
    (ours_grad,) = torch.autograd.grad((ours * weight).sum(), logits)
    (theirs_grad,) = torch.autograd.grad((theirs * weight).sum(), logits)
    torch.testing.assert_close(ours_grad, theirs_grad, atol=1e-4, rtol=1e-5)


def test_nearest_equals_interpolate_on_centred_grids():
    logits = torch.randn(1, 2, 4, 3)
    ours = UPSAMPLINGS["nearest"](2, _centred(8), IMAGE_GRID)(logits, (32, 24))
    assert torch.equal(ours, F.interpolate(logits, size=(32, 24), mode="nearest"))


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_bilinear_equals_the_papers_deconvolution_inside(stride):
    """Kernel of surgery.py of shelhamer/fcn.berkeleyvision.org, written out anew."""
    size = 2 * stride
    line = 1 - (torch.arange(size) - (stride - 0.5)).abs() / stride
    kernel = (line[:, None] * line).expand(1, 1, size, size)
    logits = torch.randn(1, 1, 6, 6)
    # A deconvolution without padding starts stride / 2 pixels before the first centred pixel.
    theirs = F.conv_transpose2d(logits, kernel, stride=stride, padding=stride // 2)
    ours = FixedUpsampling(_centred(stride), IMAGE_GRID)(logits, (6 * stride, 6 * stride))
    inside = slice(stride, -stride)
    torch.testing.assert_close(ours[..., inside, inside], theirs[..., inside, inside])


@pytest.mark.parametrize("source", [Grid(32, 31.0), Grid(32, 0.0), Grid(8, 3.5), Grid(7, -2.25)])
@pytest.mark.parametrize("target", [IMAGE_GRID, Grid(4, 1.5), Grid(2, 0.0)])
def test_a_ramp_is_reproduced_between_the_outer_cells(source, target):
    cells = source.offset + source.stride * torch.arange(6, dtype=torch.float64)
    outputs = target.offset + target.stride * torch.arange(60, dtype=torch.float64)
    ramp = cells[:, None].expand(1, 1, 6, 6)
    result = FixedUpsampling(source, target)(ramp, (60, 60))[0, 0, :, 30]
    torch.testing.assert_close(result, outputs.clamp(cells[0], cells[-1]))


def test_logits_for_a_target_of_another_size_come_from_one_interpolation():
    """Pixel centres map by (i + 0.5) * from / to - 0.5, separately for each axis."""
    ramp = torch.arange(10, dtype=torch.float64)[:, None].expand(1, 1, 10, 10)
    result = FixedUpsampling(Grid(8, 3.5), IMAGE_GRID)(ramp * 8 + 3.5, (40, 90), (80, 80))
    expected = ((torch.arange(40, dtype=torch.float64) + 0.5) * 2 - 0.5).clamp(3.5, 75.5)
    torch.testing.assert_close(result[0, 0], expected[:, None].expand(40, 90))


def test_gradients_are_those_of_finite_differences():
    logits = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    upsampling = FixedUpsampling(Grid(4, 1.0), IMAGE_GRID)
    assert torch.autograd.gradcheck(lambda x: upsampling(x, (13, 17)), logits)


def test_weights_born_in_inference_mode_can_train_later():
    upsampling = FixedUpsampling(Grid(4, 1.5), IMAGE_GRID)
    logits = torch.randn(1, 2, 3, 3)
    with torch.inference_mode():
        upsampling(logits, (11, 13))
    logits.requires_grad_()
    upsampling(logits, (11, 13)).sum().backward()
    assert logits.grad is not None


def test_autocast_does_not_round_the_weights():
    logits = torch.randn(1, 2, 5, 5)
    upsampling = FixedUpsampling(Grid(32, 15.5), IMAGE_GRID)
    expected = upsampling(logits, (160, 160))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(upsampling(logits, (160, 160)), expected)
        half = nn.Identity()(logits.bfloat16())
        assert upsampling(half, (160, 160)).dtype == torch.float32


def test_one_cell_fills_the_image():
    result = FixedUpsampling(Grid(32, 31.0), IMAGE_GRID)(torch.full((1, 1, 1, 1), 3.0), (63, 70))
    assert torch.equal(result, torch.full((1, 1, 63, 70), 3.0))


def test_an_unknown_upsampling_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'bilinear'"):
        UPSAMPLINGS["bilinaer"]
