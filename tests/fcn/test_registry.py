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
    assert fcn.list_skips() == ["fcn16s", "fcn32s", "fcn4s", "fcn8s", "fcn8s_atonce"]
    assert fcn.list_heads() == ["linear"]
    assert fcn.list_upsamplings() == ["bilinear", "nearest"]
    assert fcn.list_fusions() == ["max", "sum"]
    assert fcn.list_backbones("googlenet") == ["googlenet"]
    assert len(fcn.list_backbones()) > 1000


@pytest.mark.parametrize(
    ("strides", "scales"), [((8, 16), None), ((16, 16), None), ((16, 8), (1.0,))]
)
def test_a_strategy_that_makes_no_sense_is_refused(strides, scales):
    with pytest.raises(ValueError, match="strides"):
        SkipStrategy(strides, scales)


def test_importing_the_package_loads_no_torch():
    code = "import sys, fcn, fcn.registry, fcn.errors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fcn.nothing  # noqa: B018
