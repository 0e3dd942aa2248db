"""After training, by the command line: other splits, other tools' masks, compared and reported."""

import json

import numpy as np
import pytest
from everyday import command_line, make_work
from PIL import Image

from bench.store.runs import Store
from bench.store.scored import list_scored

TRAIN = ("q.yaml", "--data", "mine", "--only", "coarse", "--set", "seeds=[0, 1]")
ON_MINE = ("--dataset", "folder", "--data", "mine", "--split", "test")


@pytest.fixture
def cli(monkeypatch, capsys):
    return command_line(monkeypatch, capsys)


@pytest.fixture
def work(tmp_path):
    return make_work(tmp_path)


def write_theirs(work, name, save):
    """Write the labels of the test split as a tool would that is right nearly everywhere."""
    (work / name).mkdir()
    for stem in (work / "mine/test.txt").read_text().split():
        with Image.open(work / f"mine/masks/{stem}.png") as mask:
            pred = np.array(mask)
        pred[pred == 255] = 0
        pred[-4:] = 0
        save(pred, work / name / f"{stem}.png")


def save_palette(pred, path):
    image = Image.fromarray(pred, mode="P")
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.save(path)


def save_grey(pred, path):
    Image.fromarray(pred).save(path)


def save_colours(palette):
    colours = np.array(palette, np.uint8)
    return lambda pred, path: Image.fromarray(colours[pred]).save(path)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_runs_and_other_tools_are_scored_compared_and_reported(work, cli):
    assert cli("run", *TRAIN, cwd=work).returncode == 0
    runs = ("q/coarse/0", "q/coarse/1")
    assert cli("evaluate", *runs, "--split", "val", cwd=work).returncode == 0
    done = cli("evaluate", *runs, "--json", cwd=work)  # their own split
    assert done.returncode == 0, done.stderr
    listed = {row["id"]: row for row in json.loads(cli("runs", "list", "--json", cwd=work).stdout)}
    ours = json.loads(done.stdout)
    assert [row["miou"] for row in ours] == [listed[row["source"]]["miou"] for row in ours]

    store = Store(work / "runs")
    palette = store.result(ours[0]["source"]).palette
    write_theirs(work, "palette", save_palette)
    write_theirs(work, "grey", save_grey)
    write_theirs(work, "colours", save_colours(palette))
    done = cli("evaluate", "palette", "grey", "colours", *ON_MINE, "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert len({row["miou"] for row in theirs}) == 1
    assert theirs[0]["miou"] > 0.9
    assert {row["kind"] for row in theirs} == {"masks"}

    alike = cli("evaluate", "grey", "--like", runs[0], "--json", cwd=work)
    assert json.loads(alike.stdout) == theirs[1:2]  # the same images: it is not scored again

    ids = [row["evaluation"] for row in (*ours, theirs[0])]
    compared = cli("evaluations", "compare", *ids, "--out", "side", "--json", cwd=work)
    assert compared.returncode == 0, compared.stderr
    first, second = json.loads(compared.stdout)
    assert (first["name"], first["num_seeds"], second["num_seeds"]) == ("q/coarse", 2, 1)
    assert second["miou_diff"] == pytest.approx(theirs[0]["miou"] - first["miou_mean"])
    assert second["word"] == ""  # one seed of masks: an interval over images, and no verdict
    assert second["miou_diff_low"] < second["miou_diff_high"]
    assert "| palette" in (work / "side/evaluations.md").read_text()

    whole = cli(
        "evaluations", "compare", cwd=work
    ).stdout  # on two splits: said once, with a way out
    assert whole.count("no difference to the first: ") == 1
    assert "`fcn-bench evaluations compare ID ID...`" in whole

    told = cli("report", *TRAIN, cwd=work)
    assert told.returncode == 0, told.stderr
    page = (work / "out/q-part/index.html").read_text()
    assert "Scored after training" in page
    table = (work / "out/q-part/tables/evaluations.csv").read_text().splitlines()
    assert len(table) == 1 + 2 + 3  # the variant on two splits, three folders
    assert sum(line.startswith("coarse,run,") for line in table) == 2

    gone = cli("evaluations", "remove", *(row["evaluation"] for row in theirs[1:]), cwd=work)
    assert gone.returncode == 0, gone.stderr
    assert len(list(list_scored(store.root))) == 5
    assert cli("runs", "verify", cwd=work).returncode == 0

    # A colleague gets what was scored of a run with it.
    assert cli("runs", "export", runs[0], "--to", "it.tar", cwd=work).returncode == 0
    taken = cli("runs", "import", "it.tar", "--runs", "theirs", cwd=work)
    assert taken.returncode == 0, taken.stderr
    assert taken.stdout.count("evaluation ") == 2
    rows = json.loads(cli("evaluations", "list", "--runs", "theirs", "--json", cwd=work).stdout)
    assert {row["source"] for row in rows} == {ours[0]["source"]}
    assert cli("runs", "verify", "--runs", "theirs", cwd=work).returncode == 0
    again = cli("runs", "import", "it.tar", "--runs", "theirs", cwd=work)
    assert again.stdout.count("was here already") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("grey",), "give --dataset NAME"),
        (("grey", "--dataset", "folder", "--data", "mine"), "give --split"),
        (("grey", *ON_MINE, "--size", "64"), "--size and --input-scale are about networks"),
        (("grey", *ON_MINE, "--mean", "0.5,0.5,0.5"), "three numbers each"),
        (("grey", *ON_MINE, "--mean", "0,0,0", "--std", "1,1,1"), "no ONNX file"),
        (("q.yaml", *ON_MINE), "an ONNX file"),
        (("grey", *ON_MINE, "--like", "q/coarse/0"), "leave --dataset"),
        (("nothing", *ON_MINE), "and there is no folder or file nothing"),
        (("grey", *ON_MINE, "--input-scale", "90"), "0.05 and 8"),
        (("grey", "--dataset", "folder", "--data", "mine", "--split", "tset"), "tset"),
    ],
)
def test_what_cannot_be_scored_is_said_in_a_paragraph(work, cli, words, said):
    write_theirs(work, "grey", save_grey)
    ended = cli("evaluate", *words, cwd=work)
    assert ended.returncode == 65
    assert said in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr


def test_there_is_nothing_to_compare_or_remove_before_anything_was_scored(work, cli):
    assert "`fcn-bench evaluate` makes them" in cli("evaluations", "compare", cwd=work).stderr
    assert cli("evaluations", "remove", "abc", cwd=work).returncode == 65
    assert json.loads(cli("evaluations", "list", "--json", cwd=work).stdout) == []
