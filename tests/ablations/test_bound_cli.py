"""`fcn-bench bound`: a table of what the masks themselves allow, shown and kept."""

import csv
import json
import sys

import pytest

from ablations.cli import main
from bench.data.registry import open_dataset
from bench.data.stride_bound import bound_strides
from bench.spec import DataSpec

WORDS = ("bound", "shapes", "--option", "size=32", "--option", "num_test=4", "--stride", "16")
WORDS += ("--stride", "4")


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fcn-bench", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def test_a_row_for_each_stride_from_the_coarsest(cli, tmp_path):
    code, shown, _ = cli(*WORDS, "--out", "kept")
    assert code == 0
    assert [line.split()[0] for line in shown.splitlines()[1:3]] == ["16", "4"]
    assert "4 masks of split test" in shown
    dataset = open_dataset(DataSpec(options={"size": 32, "num_test": 4}), None)
    masks = [dataset.read("test", name)[1] for name in dataset.splits["test"]]
    wanted = bound_strides(masks, 6, (4, 16))
    with (tmp_path / "kept" / "bound.csv").open() as file:
        rows = {(int(row["stride"]), row["way"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4
    for stride, miou in wanted.items():
        assert float(rows[stride, "majority"]["miou"]) == pytest.approx(miou)
        assert f"{100 * miou:.1f}" in (tmp_path / "kept" / "bound.md").read_text()
        assert rows[stride, "nearest"]["IoU[disc]"]
    assert json.loads(cli(*WORDS, "--json")[1])[0]["stride"] == 16


def test_what_is_somebodys_stays_and_what_is_ours_is_written_again(cli, tmp_path):
    assert cli(*WORDS, "--out", "kept")[0] == cli(*WORDS, "--out", "kept")[0] == 0
    (tmp_path / "kept" / "bound.csv").write_text("mine")
    code, _, said = cli(*WORDS, "--out", "kept")
    assert code == 65
    assert "bound.csv" in said
    assert (tmp_path / "kept" / "bound.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bound", "shape"), "did you mean 'shapes'"),
        (("bound", "camvid"), "--data DIR"),
        (("bound", "shapes", "--split", "tst"), "did you mean 'test'"),
        (("bound", "shapes", "--stride", "0"), "must lie in 1..4096"),
        (("bound", "shapes", "--target", "geometric"), "unknown target of dataset shapes"),
    ],
)
def test_what_cannot_be_is_one_paragraph(cli, words, said):
    code, _, told = cli(*words)
    assert code == 65
    assert said in told
    assert "Traceback" not in told
