"""What all commands share: how they say what the system refused."""

import errno
import os
import resource
import subprocess
import sys

import pytest
import typer

from bench.cli import command
from bench.cli.command import explain, open_store, run_app
from bench.data.catalog import Catalog
from bench.spec import DataSpec
from fcn.errors import InputError


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ENOSPC", "make room there, or give another place"),
        ("EDQUOT", "make room there, or give another place"),
        ("EROFS", "give another place"),
        ("EACCES", "give another place"),
        ("EISDIR", "a folder is in the way"),
        ("EIO", "Input/output error"),
    ],
)
def test_the_place_the_cause_and_the_way_out_are_said(code, said):
    number = getattr(errno, code)
    text = explain(OSError(number, os.strerror(number), "some/place"))
    assert text.startswith(f"some/place: {os.strerror(number)}")
    assert said in text
    assert "\n" not in text


def test_the_file_that_is_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file") as ended:
        (tmp_path / "file" / "runs" / "packs").mkdir(parents=True)
    assert f"{tmp_path / 'file'} is a file" in explain(ended.value)


@pytest.mark.parametrize("debug", [False, True])
def test_what_the_system_refuses_ends_a_command_with_74(monkeypatch, capsys, debug):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def work(debug: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "out/q")

    monkeypatch.setattr(sys, "argv", ["fcn-bench", *(["--debug"] if debug else [])])
    with pytest.raises(PermissionError if debug else SystemExit) as ended:
        run_app(app)
    if not debug:
        assert ended.value.code == command.DISK_ERROR == 74
        assert capsys.readouterr().err.startswith("error: out/q: Permission denied")


def test_a_datasets_json_of_somebodys_is_not_written_over(tmp_path):
    (tmp_path / "datasets.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match=r"no store\.json.*--runs DIR"):
        open_store(tmp_path)
    data = DataSpec(options={"size": 16, "num_train": 1, "num_val": 1, "num_test": 1})
    Catalog(open_store(tmp_path / "runs"), None).pack(data)
    assert (tmp_path / "runs/datasets.json").exists()
    assert open_store(tmp_path / "runs").root == tmp_path / "runs"


FILE_WAYS = {
    "data prepare": ("data", "prepare", "shapes", "--option", "size=32", "--runs", "file/runs"),
    "check": ("check", "quickstart", "--runs", "file/runs"),
    "run": ("run", "quickstart", "--runs", "file/runs"),
    "report": ("report", "quickstart", "--runs", "file/runs"),
    "run --out": ("run", "quickstart", "--out", "file/out"),
    "report --out": ("report", "quickstart", "--out", "file"),
    "compare --out": ("compare", "quickstart", "quickstart", "--out", "file/out"),
    "report --tensorboard": ("report", "quickstart", "--tensorboard", "file"),
    "runs list": ("runs", "list", "--runs", "file"),
    "runs prune": ("runs", "prune", "--runs", "file/runs"),
    "speed --out": ("speed", "startup", "--out", "file/speed.md"),
}


@pytest.mark.parametrize("words", FILE_WAYS.values(), ids=FILE_WAYS)
def test_a_file_in_the_way_is_a_paragraph_and_nothing_is_begun(
    words, tmp_path, monkeypatch, capsys
):
    from ablations.cli import main

    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fcn-bench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 74, said
    assert said.err.count("\n") == 1
    assert "file is a file" in said.err
    assert (tmp_path / "file").read_text() == "mine"
    assert not list(tmp_path.glob("runs/[0-9a-f]*"))


@pytest.mark.slow
def test_a_full_disk_while_packing_is_a_paragraph_and_leaves_nothing_half_written(tmp_path):
    command = [sys.executable, "-m", "ablations.cli", "data", "prepare", "shapes"]
    command += ["--option", "size=64", "--runs", "runs"]
    limit = (20_000, 20_000)  # bytes; a longer file is refused as on a full disk
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert ended.returncode == 74, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "runs/packs/" in ended.stderr
    assert "make room" in ended.stderr
    assert list((tmp_path / "runs" / "packs").iterdir()) == []
