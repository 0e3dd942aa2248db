"""What a machine with a GPU is asked, at sizes that need none, so that it cannot rot."""

import json
import os
import subprocess
import sys
import time
import zlib
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
    log = (tmp_path / "out" / "log.txt").read_text()
    assert ended.returncode == 0, ended.stdout + log[-8000:]
    assert len(list((tmp_path / "out").rglob("*"))) <= 8  # few come back from some machines
    rows = read_lines(tmp_path / "out" / "stages.jsonl")
    names = {1: ["facts", "tests", "probe"],
             2: ["train", "evaluate", "memory", "packing", "run", "determinism"]}  # fmt: skip
    assert [row["stage"] for row in rows] == names[part]
    assert all(row["seconds"] < row["limit"] for row in rows)
    if part == 1:
        found = read_lines(tmp_path / "out" / "probe.jsonl")
        assert len(found) == 8
        assert not [one for one in found if "failed" in one]
    else:
        page = (tmp_path / "out" / "performance.md").read_text()
        assert page.count("<!-- end ") == 4
        with ZipFile(tmp_path / "out" / "report.zip") as report:
            assert "index.html" in report.namelist()


def test_stages_fit_into_their_part_and_the_first_are_worth_most(evidence, tmp_path):
    for part, seconds in evidence.SECONDS.items():
        stages = evidence.list_stages(part, tmp_path, tmp_path, Path("camvid"), False)
        due = [stage for stage in stages if stage.is_due]
        assert sum(stage.seconds for stage in due) <= seconds
        assert stages[: len(due)] == due  # others get what these leave over
        assert due[0].name == ("facts" if part == 1 else "train")


def test_what_a_stage_leaves_over_goes_to_the_next_and_a_failure_ends_nothing(
    evidence, tmp_path, monkeypatch, capsys
):
    def say(word, *more):
        return ["bash", "-c", f"echo {word} $0", *more]

    stages = [
        evidence.Stage("short", 60, ["false"]),
        evidence.Stage("long", 100, say("room", evidence.ROOM)),
        evidence.Stage("rest", 9, say("rest"), is_due=False),
        evidence.Stage("last", 50, say("due")),
    ]
    monkeypatch.setattr(evidence, "list_stages", lambda *_: stages)
    monkeypatch.setattr(sys, "argv", ["evidence", "--part", "1", "--out", str(tmp_path)])
    assert evidence.main() == 1
    rows = read_lines(tmp_path / "stages.jsonl")
    assert [row["exit"] for row in rows] == [1, 0, 0, 0]
    limits = [row["limit"] for row in rows]
    assert 60 <= limits[0] <= 63  # 215 s, less those of the others that are due
    assert 155 <= limits[1] <= 163
    assert limits[2] >= 155
    log = (tmp_path / "log.txt").read_text()
    assert f"room {round(0.8 * limits[1])}\n" in log
    assert "rest" in capsys.readouterr().out  # told twice: files may not come back


def test_a_stage_that_takes_too_long_ends_with_all_that_it_started(evidence, tmp_path):
    command = ["bash", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; echo begun; wait"]
    stage = evidence.Stage("two words", 1, command)
    assert evidence.perform(stage, 1, tmp_path, dict(os.environ)) == 124
    assert (tmp_path / "log.txt").read_text().endswith("two words, 1 s at most\nbegun\n")
    started = Path("/proc", (tmp_path / "pid").read_text().strip(), "status")
    deadline = time.monotonic() + 30  # of the 60 that it would sleep: it dies when it gets a core
    while is_alive(started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(started)


def is_alive(status):
    """Whether a process is there, by its file in /proc, and more than dead and not looked for."""
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_loading_processes_are_no_more_than_shared_memory_holds(evidence, monkeypatch):
    monkeypatch.setattr(evidence.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(evidence.os, "sched_getaffinity", lambda _: range(16))
    for free, options in {
        9000: [],
        6000: [],
        3000: ["--workers", "8"],
        0: ["--workers", "0"],
    }.items():
        monkeypatch.setattr(evidence, "_free_mib", lambda folder, free=free: free)
        assert evidence.give_room() == options


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
    """The checkout, CamVid, and four wheels, which are what they install, compressed."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tree = sum((ROOT / name).stat().st_size for name in listed.stdout.splitlines())
    camvid = Path(os.environ["FCN_BENCH_CAMVID"])
    images = sum(file.stat().st_size for file in camvid.rglob("*") if file.is_file())
    installed = [
        Path(distribution(name).locate_file(file))
        for name in WHEELS
        for file in distribution(name).files or []
        if file.suffix != ".pyc"
    ]
    wheels = sum(len(zlib.compress(file.read_bytes())) for file in installed if file.exists())
    assert (tree + images + wheels) / 2**20 < 60
