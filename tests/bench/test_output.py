"""Output that cannot be written, or not in every letter: the work goes on, listings are quiet."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store.runs import Store

ROOT = Path(__file__).parent.parent.parent
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")

SPEAKING = """
import subprocess, sys
from bench.output import guard_output, output_error
guard_output()
guard_output()  # a second time changes nothing
with open(sys.argv[1], "w", encoding="utf-8") as file:
    for _ in range(3):
        print("α → 1", flush=True)
        print("β → 2", file=sys.stderr, flush=True)
    child = subprocess.run([sys.executable, "-c", "import os; os.fstat(1)"])
    file.write(f"{file.fileno()} {type(output_error()).__name__} {child.returncode}")
sys.exit(3)
"""


def shell(folder, line, *words, **variables):
    """Run Python in a shell whose line says where its streams lead: `{} >&-`."""
    command = shlex.join([sys.executable, "-W", "error", *map(str, words)])
    script = f"set -o pipefail; {line.format(command)}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, timeout=250
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{}", "NoneType"),
        ("{} >&-", "NoneType"),
        ("{} 2>&-", "NoneType"),
        ("{} <&- >&- 2>&-", "NoneType"),
        ("{} | true", "NoneType"),
        ("{} 2>&1 | true", "NoneType"),
        pytest.param("{} >/dev/full", "OSError", marks=FULL),
        pytest.param("{} 2>/dev/full", "NoneType", marks=FULL),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_process_ends_as_it_would_whatever_becomes_of_its_output(
    tmp_path, line, error, unbuffered
):
    (tmp_path / "speak.py").write_text(SPEAKING)
    ended = shell(tmp_path, line, "speak.py", "seen", PYTHONUNBUFFERED=unbuffered)
    assert ended.returncode == 3, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"Exception" not in ended.stderr
    number, seen, child = (tmp_path / "seen").read_text().split()
    assert int(number) > 2  # nothing that is printed can get into a file
    assert (seen, child) == (error, "0")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_letters_that_an_encoding_lacks_are_written_out(tmp_path, encoding):
    (tmp_path / "speak.py").write_text(SPEAKING)
    ended = shell(tmp_path, "{}", "speak.py", "seen", PYTHONIOENCODING=encoding)
    lines = ended.stdout.decode(encoding).splitlines()
    assert lines[0] == ("α → 1" if encoding == "utf-8" else r"\u03b1 \u2192 1")


def test_a_listing_that_nobody_reads_to_its_end_is_quiet(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "ablations.cli", "list"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()  # long before the first line
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")


@FULL
def test_a_listing_that_cannot_be_written_says_so(tmp_path):
    for words in (["list"], ["list", "--json"]):
        ended = shell(tmp_path, "{} >/dev/full", "-m", "ablations.cli", *words)
        assert ended.returncode == 74
        assert ended.stderr.startswith(b"error: the output cannot be written: No space left")
        assert ended.stderr.count(b"\n") == 1


def test_json_is_json_in_every_encoding(tmp_path):
    code = "from bench.cli.command import show_json; show_json({'α': '🙂'})"
    for encoding in ("latin-1", "utf-8"):
        ended = shell(tmp_path, "{}", "-c", code, PYTHONIOENCODING=encoding)
        assert json.loads(ended.stdout.decode(encoding)) == {"α": "🙂"}


SPEC = """
question: Who reads this?
common:
  model: {backbone: test_resnet, skip: fcn32s, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 4, num_val: 2, num_test: 2}}
  train: {steps: 2, batch_size: 2}
variants: {"α → 1": {}, "β → 2": {train.lr: 0.02}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "variables"),
    [
        ("{}", {"PYTHONIOENCODING": "latin-1"}),
        ("{} | head -1", {}),
        pytest.param("{} 2>&1 | true", {}, marks=pytest.mark.long),
        pytest.param("{} <&- >&- 2>&-", {}, marks=pytest.mark.long),
        pytest.param("{} >/dev/full 2>&1", {}, marks=FULL),
    ],
)
def test_a_grid_goes_on_to_its_end_whatever_becomes_of_its_output(tmp_path, line, variables):
    (tmp_path / "q.yaml").write_text(SPEC)
    words = ["-m", "ablations.cli", "run", "q.yaml", "--devices", "cpu", "--slots", 1]
    ended = shell(tmp_path, line, *words, **variables)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == b""
    store = Store(tmp_path / "runs")
    assert [store.status(run_id) for run_id in store.run_ids()] == ["done", "done"]
    assert (tmp_path / "out" / "q" / "index.html").exists()
