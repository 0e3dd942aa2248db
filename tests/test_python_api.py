"""`docs/examples/python_api.py` is a program that works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_example_trains_predicts_and_plots(tmp_path):
    path = ROOT / "docs" / "examples" / "python_api.py"
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(path), "here"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    first, second = ended.stdout.splitlines()
    assert first.endswith("at the upper left of a (120, 160) mask")
    assert second == "mIoU: 0.5"  # 1/2 of each: one pixel right, one wrong, one not counted
    assert len(list((tmp_path / "here" / "runs").glob("*/*/result.json"))) == 4
    with Image.open(tmp_path / "here" / "mine.png") as drawn:
        assert len(drawn.convert("RGB").getcolors(2**20)) > 10
