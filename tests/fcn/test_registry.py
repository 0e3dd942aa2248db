import subprocess
import sys

import pytest

import fcn
from fcn.errors import InputError
from fcn.registry import Registry
from fcn.skips import SKIPS, SkipStrategy


def test_a_taken_name_is_refused():
    parts = Registry("part")
    parts.register("one")(1)
    with pytest.raises(ValueError, match="part 'one' is registered already"):
        parts.register("one")(2)
    assert parts["one"] == 1


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown skip 'fcn8'; did you mean 'fcn8s'"):
        SKIPS["fcn8"]


def test_lists_name_what_is_registered():
    assert fcn.list_skips() == [
        "fcn16s", "fcn2s", "fcn32s", "fcn4s", "fcn8s", "fcn8s-atonce",
        "fpn", "hypercolumn", "pool3", "pool4", "pool5", "unet", "unet4s",
    ]  # fmt: skip
    assert fcn.list_heads() == ["convolutionalized", "linear"]
    assert fcn.list_upsamplings() == [
        "bilinear", "carafe", "learned", "learned_random", "nearest", "subpixel",
    ]  # fmt: skip
    assert fcn.list_fusions() == ["concat", "gate", "max", "sum", "weighted"]
    assert fcn.list_backbones("googlenet") == ["googlenet"]
    assert len(fcn.list_backbones()) > 1000


@pytest.mark.parametrize(
    ("strides", "scales"), [((8, 16), None), ((16, 16), None), ((16, 8), (1.0,))]
)
def test_strides_that_make_no_sense_are_refused(strides, scales):
    with pytest.raises(ValueError, match="strides"):
        SkipStrategy(strides, scales)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strides": (16, 8), "coarsest": 16}, "not finer than 16"),
        ({"strides": (16,), "widths": (64,)}, "1 widths for 1 \\+ 1 strides"),
        ({"strides": (16,), "refine": 1}, "need widths"),
        ({"strides": (16,), "widths": (64, 32)}, "differ"),
        ({"strides": (16,), "merge": "stack"}, "need widths"),
    ],
)
def test_a_decoder_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        SkipStrategy(**fields)


def test_importing_the_package_loads_no_torch():
    code = "import sys, fcn, fcn.registry, fcn.errors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fcn.nothing  # noqa: B018
