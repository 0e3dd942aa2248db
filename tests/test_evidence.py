"""What a machine with a GPU is asked, at sizes that need none, so that it cannot rot."""

import json
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / ".ci" / "evidence"
WHEELS = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection")


@pytest.fixture(scope="module")
def evidence():
    loader = SourceFileLoader("evidence", str(SCRIPT))
    spec = spec_from_loader("evidence", loader)
    module = module_from_spec(spec)
    sys.modules["evidence"] = module  # its dataclass looks for it
    loader.exec_module(module)
    yield module
    del sys.modules["evidence"]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("part", [1, pytest.param(2, marks=pytest.mark.long)])
def test_every_stage_ends_well_without_a_gpu(tmp_path, part):
    command = [sys.executable, SCRIPT, "--part", str(part), "--out", tmp_path / "out", "--toy"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    logs = "\n".join(log.read_text()[-1500:] for log in (tmp_path / "out").glob("*.log"))
    assert ended.returncode == 0, ended.stdout + logs
    rows = read_lines(tmp_path / "out" / "stages.jsonl")
    names = {1: ["facts", "tests", "probe"],
             2: ["train", "evaluate", "memory", "packing", "run", "determinism"]}  # fmt: skip
    assert [row["stage"] for row in rows] == names[part]
    assert all(row["seconds"] < row["limit"] for row in rows)
    if part == 1:
        found = read_lines(tmp_path / "out" / "probe.jsonl")
        assert len(found) == 7
        assert not [one for one in found if "failed" in one]
    else:
        page = (tmp_path / "out" / "performance.md").read_text()
        assert page.count("<!-- end ") == 4
        assert (tmp_path / "out" / "run" / "index.html").exists()


def test_stages_fit_into_their_part_and_name_tests_that_exist(evidence, tmp_path):
    for part, seconds in evidence.SECONDS.items():
        stages = evidence.list_stages(part, tmp_path, tmp_path, Path("camvid"), False)
        own = [stage for stage in stages if "MPS" not in stage.name]
        assert sum(stage.seconds for stage in own) <= seconds
        assert own[0].name == ("facts" if part == 1 else "train")


def test_a_stage_that_takes_too_long_ends_with_all_that_it_started(evidence, tmp_path):
    command = ["bash", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; echo begun; wait"]
    stage = evidence.Stage("two words", 1, command)
    assert evidence.perform(stage, 1, tmp_path, dict(os.environ)) == 124
    assert (tmp_path / "two-words.log").read_text() == "begun\n"
    started = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")
    assert not started.exists() or "State:\tZ" in started.read_text()  # dead, if nobody looked


def test_wheels_are_read_without_an_installer(evidence, tmp_path):
    with ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("only_in_a_wheel.py", "found = 1\n")
    evidence.unpack(tmp_path, tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run([sys.executable, "-c", "import only_in_a_wheel"], env=environment, check=True)
    evidence.unpack(None, tmp_path / "none")


def test_a_bare_checkout_says_its_version_where_nothing_is_installed():
    """The name of a distribution that is not there ends what asks for its version."""
    code = """
import importlib.metadata as metadata
real = metadata.distribution
def bare(name):
    if name.replace("_", "-") == "fcn-bench":
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.distribution = bare
import torch
from bench.run.environment import describe_environment
from bench.version import __version__
assert describe_environment(torch.device("cpu"))["fcn-bench"] == __version__
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.data
def test_all_that_is_carried_is_small():
    """The checkout, CamVid, and four wheels, counted as large as what they install."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    left_out = ("docs/", "tests/stores/")  # a machine that measures needs neither
    tree = sum((ROOT / name).stat().st_size for name in listed.stdout.splitlines()
               if not name.startswith(left_out))  # fmt: skip
    camvid = Path(os.environ["FCN_BENCH_CAMVID"])
    images = sum(file.stat().st_size for file in camvid.rglob("*") if file.is_file())
    installed = [
        Path(distribution(name).locate_file(file))
        for name in WHEELS
        for file in distribution(name).files or []
        if file.suffix != ".pyc"
    ]
    wheels = sum(file.stat().st_size for file in installed if file.exists())
    assert (tree + images + wheels) / 2**20 < 60
