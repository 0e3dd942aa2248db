"""compare and report as a person calls them; what they compute is tested in tests/reports."""

import json

import pytest
from typer.testing import CliRunner

from ablations.cli import app
from ablations.report_cli import write
from bench.plan import Plan, PlannedRun, Run
from bench.spec import ModelSpec, RunSpec, TrainSpec
from bench.store.runs import Result, Store
from fcn.errors import InputError

CONFUSIONS = {100: [[6, 2], [2, 6]], 200: [[7, 1], [1, 7]], 300: [[8, 0], [8, 0]]}


def make_store(folder, steps):
    """A store with one finished run of so many steps, without counts of its images."""
    store = Store(folder)
    spec = RunSpec(model=ModelSpec(backbone="resnet18"), train=TrainSpec(steps=steps))
    run = Run(spec, "f" * 64)
    store.prepare(run)
    store.publish(
        Result(
            run_id=run.id, run=run.to_json(), split="test", num_images=2, class_names=("a", "b"),
            palette=((0, 0, 0), (9, 9, 9)), confusion=CONFUSIONS[steps], num_parameters=10,
            train_seconds=1.0, evaluate_seconds=1.0, environment={"commit": f"c{steps}"},
            digests={}, finished="2026-01-01T00:00:00+00:00",
        )
    )  # fmt: skip
    return folder


@pytest.fixture
def stores(tmp_path):
    return [str(make_store(tmp_path / f"s{steps}", steps)) for steps in (100, 200)]


def test_two_stores_are_compared_as_json(stores):
    ended = CliRunner().invoke(app, ["compare", *stores, "--json"])
    (row,) = json.loads(ended.output)
    assert row["variant"] == "resnet18-fcn8s"
    assert row["miou_diff"] == pytest.approx(7 / 9 - 6 / 10)
    assert row["miou_low"] is None
    assert "counts of" in row["note"]
    assert row["changed"] == "train.steps 100 → 200; commit c100 → c200"


def test_two_stores_are_compared_as_a_table_and_as_files(stores, tmp_path):
    shown = CliRunner().invoke(app, ["compare", *stores]).output
    assert "train.steps 100 → 200" in shown
    assert "+17.8" in shown
    ended = CliRunner().invoke(app, ["compare", *stores, "--out", str(tmp_path / "out")])
    assert "out/index.html" in ended.output
    assert "+17.8" in (tmp_path / "out" / "compare.md").read_text()


def test_a_comparison_replaces_its_own_alone(stores, tmp_path):
    out = tmp_path / "out"

    def compare(*sides):
        return CliRunner().invoke(app, ["compare", *sides, "--out", str(out)])

    assert compare(*stores).exit_code == 0
    before = (out / "compare.md").read_bytes()
    refused = compare(*reversed(stores))
    assert isinstance(refused.exception, InputError)
    assert "of another comparison, that of # `" in str(refused.exception)
    assert (out / "compare.md").read_bytes() == before
    (out / "compare.md").write_text("mine")
    assert "compare.md was changed since" in str(compare(*stores).exception)
    assert (out / "compare.md").read_text() == "mine"


def test_what_an_earlier_version_wrote_is_known_by_its_heading(stores, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    note = (
        "Means over finished seeds in percent; Δ in points over the seeds that both finished, with "
        "its 95 % interval over images and seeds where both were judged on the same images.\n"
    )
    for sides, is_refused in ((stores[::-1], True), (stores, False)):
        (out / "compare.csv").write_text("variant\n")
        (out / "compare.md").write_text(f"# `{sides[0]}` → `{sides[1]}`\n\n{note}")
        ended = CliRunner().invoke(app, ["compare", *stores, "--out", str(out)])
        assert isinstance(ended.exception, InputError) == is_refused
    assert (out / "index.html").is_file()


def test_a_folder_that_is_no_store_is_refused(stores, tmp_path):
    words = ["compare", stores[0], str(tmp_path), "--spec", "quickstart"]
    ended = CliRunner().invoke(app, words)
    assert isinstance(ended.exception, InputError)
    assert "store.json" in str(ended.exception)


@pytest.mark.parametrize(("steps", "num_remarks"), [(200, 0), (300, 1)])
def test_a_report_says_on_the_terminal_what_must_be_known_of_its_runs(
    tmp_path, capsys, steps, num_remarks
):
    store = Store(make_store(tmp_path / "store", steps))
    planned = PlannedRun("net", store.run(next(store.run_ids())))
    write(Plan("q", "Which?", "", (planned,)), store, tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    said = ["note: net ‡: collapsed: every labelled pixel is called a (seed 0)."]
    assert lines[:num_remarks] == said[:num_remarks]
    best, head, row, last = lines[num_remarks:]
    assert best.startswith("best: net")
    assert head.split()[:3] == ["variant", "seeds", "mIoU"]
    assert row.split()[0] == "net"
    assert last == f"report: {tmp_path / 'out' / 'index.html'}"
