"""Reading over several processes gives what one gives, ends with the command, and says how far."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from small_datasets import open_folder, write_folder

from bench.data import check as checking
from bench.data import cores as shared
from bench.data.check import check
from bench.data.packs.pack import pack
from fcn.errors import InputError


@pytest.fixture
def many(tmp_path):
    """A folder of thirty images, of which two cannot be used."""
    root = write_folder(tmp_path / "mine")
    names = [f"n{k:02}" for k in range(30)]
    for k, name in enumerate(names):
        rng = np.random.default_rng(k)
        for kind, shape, top in (("images", (8 + k, 12, 3), 256), ("masks", (8 + k, 12), 3)):
            pixels = rng.integers(0, top, shape, np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{name}.png")
    (root / "images" / "n07.png").write_bytes(b"no image")
    Image.fromarray(np.full((20, 12), 77, np.uint8)).save(root / "masks" / "n12.png")
    (root / "train.txt").write_text("\n".join(names))
    return root


def mend(root):
    for kind in ("images", "masks"):
        for name in ("n07", "n12"):
            (root / kind / f"{name}.png").write_bytes((root / kind / "n03.png").read_bytes())


@pytest.fixture
def cores(monkeypatch):
    """Have few images read by several processes."""
    if sys.platform != "linux":
        pytest.skip("one process reads everything here")

    def use(number):
        monkeypatch.setattr(shared, "WORTH_IT", 2)
        monkeypatch.setattr(shared, "_num_cores", lambda: number)

    return use


@pytest.mark.parametrize("number", [2, 3, 40])
def test_the_same_report_in_the_same_order_by_any_number(many, cores, number):
    alone = check(open_folder(many))
    assert len(alone.problems) == 2
    cores(number)
    pids = set()
    assert check(open_folder(many), progress=lambda *_: pids.add(os.getpid())) == alone
    assert pids == {os.getpid()}


def test_the_same_pack_to_the_byte(many, cores, tmp_path):
    mend(many)
    alone = pack(open_folder(many), tmp_path / "one")
    cores(3)
    together = pack(open_folder(many), tmp_path / "three")
    for path in alone.folder.iterdir():
        assert path.read_bytes() == (together.folder / path.name).read_bytes()


def test_progress_counts_every_image_once(many, cores):
    told = []
    cores(3)
    check(open_folder(many), progress=lambda *numbers: told.append(numbers))
    assert told == [(k, 32) for k in range(1, 33)]


def test_a_process_that_dies_is_an_error_and_not_a_gap(many, cores, monkeypatch):
    mend(many)
    cores(2)
    known = checking.examine

    def die(dataset, split, name):
        if name == "n15":
            os._exit(9)
        return known(dataset, split, name)

    monkeypatch.setattr(checking, "examine", die)
    with pytest.raises(InputError, match="ended early"):
        check(open_folder(many))


@pytest.mark.slow
def test_no_process_outlives_a_command_that_is_killed(many):
    mend(many)
    code = (
        "import sys, time\n"
        "from bench.data import check as checking, cores\n"
        "from bench.data.registry import open_dataset\n"
        "from bench.data.check import check\n"
        "from bench.spec import DataSpec\n"
        "from pathlib import Path\n"
        "cores.WORTH_IT, cores._num_cores = 2, lambda: 3\n"
        "known = checking.examine\n"
        "checking.examine = lambda *a: (time.sleep(0.1), known(*a))[1]\n"
        "dataset = open_dataset(DataSpec(dataset='folder'), Path(sys.argv[1]))\n"
        "check(dataset, progress=lambda *n: print(*n, flush=True))\n"
    )
    command = [sys.executable, "-c", code, str(many)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            pids = [int(word) for word in file.read().split()]
        assert len(pids) == 3
        process.kill()
    deadline = time.monotonic() + 20
    while any(map(is_at_work, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_at_work(pid):
    """Say whether a process is there, and not merely waiting to be forgotten."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
