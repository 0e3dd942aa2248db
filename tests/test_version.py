"""The version stands in one place, and all that tells it reads it there."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import yaml

import ablations
from bench.grid.node_check import SOFTWARE, describe
from bench.run.environment import describe_environment
from bench.version import __version__

ROOT = Path(__file__).parent.parent


def test_it_has_three_numbers_and_is_the_changelogs_last():
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    heads = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert heads[0] == ("Unreleased", "")
    name, date = heads[1]
    assert name == __version__
    assert re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date)


def test_python_records_and_nodes_tell_it(tmp_path):
    assert ablations.__version__ == __version__
    assert describe_environment(torch.device("cpu"))["fcn-bench"] == __version__
    assert describe(tmp_path, [])["fcn-bench"] == __version__
    assert "fcn-bench" in SOFTWARE


def test_a_checkout_that_nobody_installed_tells_it(tmp_path):
    """Without the metadata of an installation: what another installation says is not ours."""
    for package in ("ablations", "bench", "fcn", "reports"):
        shutil.copytree(ROOT / package, tmp_path / package)
    changed = tmp_path / "bench" / "version.py"
    changed.write_text(changed.read_text().replace(__version__, "9.8.7"))
    done = subprocess.run(
        [sys.executable, "-m", "ablations.cli", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "fcn-bench 9.8.7\n"


@pytest.mark.slow
def test_the_package_that_is_built_has_it(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for package in ("ablations", "bench", "fcn", "reports"):
        shutil.copytree(ROOT / package, tmp_path / package)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--dry-run", "--report", "report.json", "."],
        cwd=tmp_path,
        check=True,
    )  # fmt: skip
    (built,) = json.loads((tmp_path / "report.json").read_text())["install"]
    assert (built["metadata"]["name"], built["metadata"]["version"]) == ("fcn-bench", __version__)


def test_no_other_file_states_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())
