"""A report made again from its own folder: the same numbers, words and bytes, without a store."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from judged import COLLAPSED, FAIR, GOOD, VOID, judge
from test_labels import made as _made
from typer.testing import CliRunner

from ablations.cli import app
from bench.claims import Claim
from bench.plan import PlannedRun, Run
from fcn.errors import InputError
from reports.figures.taken import TAKEN, take_over
from reports.page import write_report
from reports.results.frame import read_records
from reports.results.records_file import Contents, Kept, pack_records, read_records_file
from reports.results.report_folder import ReportFolder
from reports.sources import list_sources
from reports.study import read_study
from reports.tables.exports import write_exports

made = _made
"""Variants with a further target."""


def read_tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def again(report, tmp_path_factory):
    """The report of `report`, made again by the command in another folder."""
    folder = tmp_path_factory.mktemp("again")
    moved = folder / "published"
    shutil.copytree(report, moved)
    done = CliRunner().invoke(app, ["report", "--from", str(moved), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    return folder / "out"


def test_all_but_the_page_are_the_same_bytes(report, again):
    before, after = read_tree(report), read_tree(again)
    pixels = {name for name in before if "image-" in name or "closeups" in name or "errors" in name}
    assert len(pixels) == 5
    assert set(after) == set(before) - pixels
    differ = {name for name in after if after[name] != before[name]}
    assert differ == {"index.html", "fcn-bench.json", "records.json"}  # captions, digests
    assert {"summary.csv", "tables/claims.tex", "figures/curves.svg", "runs.csv"} <= set(after)


def test_the_page_says_the_same_and_what_it_took_over(report, again):
    before, after = ((folder / "index.html").read_text() for folder in (report, again))
    assert "neither images nor predictions" in after
    assert after.count(TAKEN) == 2  # curves and bound
    start, end = (f'<section id="{name}"' for name in ("answer", "costs"))
    assert (
        after[after.index(start) : after.index(end)].replace(TAKEN, "")
        == (before[before.index(start) : before.index(end)])
    )
    rest = '<section id="classes"'
    assert after[after.index(rest) :].replace(TAKEN, "") == before[before.index(rest) :]


def test_a_lean_report_has_each_figure_once_and_can_be_made_again(plan, store, report, tmp_path):
    page = write_report(plan, store, tmp_path / "lean", lean=True).read_text()
    kept = {path.name for path in (tmp_path / "lean" / "figures").iterdir()}
    assert kept == {"curves.svg"}  # there are no images here, so no bound
    figures = set(re.findall(r'id="figure-[a-z]+', (report / "index.html").read_text()))
    gone = {f'id="figure-{name}' for name in ("bound", "closeups", "errors", "image")}
    assert set(re.findall(r'id="figure-[a-z]+', page)) == figures - gone
    assert "figures/scores" not in page
    again = ReportFolder(tmp_path / "lean")
    assert 'id="figure-curves"' in write_report(again.plan, again, tmp_path / "again").read_text()


@pytest.mark.slow
def test_made_again_in_its_own_folder_nothing_changes_any_more(again, tmp_path):
    shutil.copytree(again, tmp_path / "out")
    out = str(tmp_path / "out")
    assert CliRunner().invoke(app, ["report", "--from", out, "--out", out]).exit_code == 0
    assert read_tree(tmp_path / "out") == read_tree(again)


def make_again(plan, store, folder):
    """Return a study, and the one of the folder with its sources."""
    study = read_study(plan, store)
    folder.mkdir()
    for name, content in list_sources(study).items():
        (folder / name).write_bytes(content)
    opened = ReportFolder(folder)
    return study, read_study(opened.plan, opened)


def require_same(study, again):
    assert dataclasses.replace(again.plan, spec_file="") == dataclasses.replace(
        study.plan, spec_file="", spread_of=None
    )
    assert write_exports(again) == write_exports(study)
    assert again.intervals.notes == study.intervals.notes
    assert again.remarks.lines == study.remarks.lines
    assert [(one.word, one.noted) for one in again.verdicts] == [
        (one.word, one.noted) for one in study.verdicts
    ]
    sources, others = list_sources(study), list_sources(again)
    assert sources == others


def test_targets_beside_the_first_are_there_too(made, tmp_path):
    plan, store = made
    study, again = make_again(plan, store, tmp_path / "out")
    assert len(again.labels) == 2
    require_same(study, again)


def test_odd_runs_stay_odd(small_store, tmp_path):
    """Lost counts, a collapsed run, images without labels, a margin, claims added later."""
    arms = {"base": [[GOOD] * 6, [FAIR] * 6], "bad": [[FAIR] * 6, [COLLAPSED] * 6, [GOOD] * 6]}
    arms |= {"part": [[GOOD] * 5 + [VOID], [FAIR] * 5 + [VOID]], "lost": [[GOOD] * 6, [FAIR] * 6]}
    plan = judge(small_store, arms)
    claims = (Claim(left="bad", right="base", by=0.01), Claim(left="lost", right="base"))
    plan = dataclasses.replace(plan, margin=0.01, claims=claims, remarks=("made by hand",))
    small_store.evaluation(read_records(plan, small_store)[-1].result).path.unlink()
    study, again = make_again(plan, small_store, tmp_path / "out")
    assert any("cannot be read" in note for note in again.intervals.notes)
    require_same(study, again)


def test_what_another_question_told_of_the_spread_is_kept(small_store, tmp_path):
    wide = judge(small_store, {"a": [[GOOD] * 6, [FAIR] * 6], "b": [[FAIR] * 6, [GOOD] * 6]})
    once = tuple(one for one in wide.runs if one.run.spec.seed == 0)
    plan = dataclasses.replace(wide, runs=once, spread_of=dataclasses.replace(wide, name="wide"))
    study, again = make_again(plan, small_store, tmp_path / "out")
    assert any("seeds spread here as in wide" in note for note in again.intervals.notes)
    require_same(study, again)


def test_a_plan_without_runs_is_a_report_too(small_store, tmp_path, make_plan):
    study, again = make_again(make_plan(["a", "b"], (0, 1)), small_store, tmp_path / "out")
    assert set(again.runs["status"]) == {"missing"}
    require_same(study, again)


def test_all_that_a_run_is_made_of_is_kept(small_store, tmp_path, make_plan):
    """Also what few runs have, such as the groups that a share of the images keeps whole."""
    (planned,) = make_plan(["a"], (0,)).runs
    own = {"parent": "ab" * 8, "streams": ("cd" * 8,), "sources": {"model.backbone": "1"}}
    run = dataclasses.replace(planned.run, groups="ef" * 16, **own)
    empty = Run(planned.run.spec, "")
    fields = [
        field.name for field in dataclasses.fields(run) if field.name not in ("spec", "named")
    ]
    assert all(getattr(run, name) != getattr(empty, name) for name in fields)
    plan = dataclasses.replace(make_plan(["a"], (0,)), runs=(PlannedRun("a", run),))
    path = tmp_path / "records.json"
    path.write_bytes(pack_records(Contents(plan, read_records(plan, small_store), Kept(), ())))
    assert read_records_file(path).plan.runs == plan.runs


def test_ids_that_earlier_versions_gave_stay(small_store, tmp_path, make_plan):
    plan = make_plan(["a"], (0,))
    (planned,) = plan.runs
    named = dataclasses.replace(planned.run, named=planned.run._hash((), 1))
    plan = dataclasses.replace(plan, runs=(PlannedRun("a", named),))
    path = tmp_path / "records.json"
    path.write_bytes(pack_records(Contents(plan, read_records(plan, small_store), Kept(), ())))
    assert read_records_file(path).plan.runs[0].run.id == named.id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda values: values["runs"][0].update(id="0" * 16),
            "calls 0000000000000000 what is run",
        ),
        (lambda values: values["plan"].pop("question"), "plan.question"),
        (lambda values: values["runs"][0]["result"].update(confusion=[[1, 2]]), "confusion"),
    ],
)
def test_records_that_were_edited_are_refused(small_store, tmp_path, change, words):
    plan = judge(small_store, {"a": [[GOOD] * 3]})
    make_again(plan, small_store, tmp_path / "out")
    path = tmp_path / "out" / "records.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=words):
        ReportFolder(tmp_path / "out")


def test_counts_of_another_report_are_refused_or_left_out(small_store, tmp_path):
    make_again(judge(small_store, {"a": [[GOOD] * 3] * 2}), small_store, tmp_path / "out")
    path = tmp_path / "out" / "counts.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["counts"] = arrays["counts"] * 2
    np.savez(path, **arrays)
    opened = ReportFolder(tmp_path / "out")
    notes = read_study(opened.plan, opened).intervals.notes
    assert sum("do not add up to the record" in note for note in notes) == 2
    path.unlink()
    with pytest.raises(InputError, match=r"holds no counts\.npz"):
        ReportFolder(tmp_path / "out")


def test_a_figure_cannot_lead_out_of_the_folder(report, tmp_path):
    shutil.copytree(report, tmp_path / "out")
    path = tmp_path / "out" / "records.json"
    path.write_text(path.read_text().replace('"name":"curves"', '"name":"../../curves"'))
    taken = {one.name for one in take_over(ReportFolder(tmp_path / "out"), [])}
    assert "curves" not in taken
    assert {"bound", "scores"} <= taken


def test_a_store_and_other_folders_are_no_report(store, tmp_path):
    with pytest.raises(InputError, match="is a store, not a report"):
        ReportFolder(store.root)
    with pytest.raises(InputError, match=r"holds no records\.json"):
        ReportFolder(tmp_path)


@pytest.mark.parametrize("words", [["quickstart"], ["--set", "train.steps=1"], ["--watch"]])
def test_what_says_another_report_is_refused_beside_it(tmp_path, words):
    done = CliRunner().invoke(app, ["report", *words, "--from", str(tmp_path)])
    assert isinstance(done.exception, InputError)
    assert "makes the report of" in str(done.exception)


def test_neither_a_spec_nor_a_folder_is_wrong_usage():
    assert CliRunner().invoke(app, ["report"]).exit_code == 2
