"""Whose the files in a report's folder are, of this version and of earlier ones."""

import dataclasses
import json
import shutil

import pytest

from bench.outputs.folder import MANIFEST
from fcn.errors import InputError
from reports import page
from reports.figures.curves import AXES
from reports.files import DRAWINGS, EXPORTS, IMAGES, list_possible
from reports.images.panels import NUM_IMAGES
from reports.page import write_report
from reports.results.beside import SOURCES

HAND_MADE = (
    "figures/image-of-us.png",
    "figures/image-4.png",  # no report has had so many
    "figures/curves-by-hand.svg",
    "figures/interaction-of-mine.svg",
    "tables/labels.csv",
    "tables/mine.csv",
    "notes.txt",
)


def add_hand_made(folder):
    for name in HAND_MADE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(report, tmp_path):
    """A report as earlier versions left it: without a list of its files, and without counts."""
    shutil.copytree(report, tmp_path / "out")
    methods = ("methods.md", "methods.tex", "references.bib")
    for name in (MANIFEST, *SOURCES, *methods):
        (tmp_path / "out" / name).unlink()
    for path in (tmp_path / "out" / "figures").iterdir():
        if path.name.startswith(("effects-", "class-gains")):  # which they did not have
            path.unlink()
    return tmp_path / "out"


@pytest.fixture
def never_read(monkeypatch):
    """Refusals come before anything is computed."""
    monkeypatch.setattr(page, "read_study", pytest.fail)


def test_every_file_of_a_report_is_among_those_that_it_may_have(report, plan):
    written = names_in(report)
    assert written - {MANIFEST} <= set(list_possible(plan))
    assert set(json.loads((report / MANIFEST).read_text())["files"]) == written - {MANIFEST}
    curves = {"curves" if by == "step" else f"curves-{by}" for by in AXES}
    assert {name for name in DRAWINGS if name.startswith("curves")} == curves
    assert IMAGES[2:] == tuple(f"image-{i + 1}" for i in range(NUM_IMAGES))


def test_what_is_made_by_hand_stays_and_what_is_ours_goes(plan, report, small_store, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(report, out)
    add_hand_made(out)
    write_report(plan, small_store, out)  # of a store without a run: there is nothing to draw
    assert {name for name in names_in(out) if name.startswith("figures/")} == {
        name for name in HAND_MADE if name.startswith("figures/")
    }
    assert all((out / name).read_text() == "mine" for name in HAND_MADE)


def test_a_report_of_an_earlier_version_is_known_by_its_page(plan, earlier, small_store):
    add_hand_made(earlier)
    write_report(plan, small_store, earlier)
    assert {name for name in names_in(earlier) if name.startswith("figures/")} == {
        name for name in HAND_MADE if name.startswith("figures/")
    }
    assert all((earlier / name).read_text() == "mine" for name in HAND_MADE)
    assert (earlier / MANIFEST).exists()


@pytest.mark.usefixtures("never_read")
def test_a_folder_without_our_page_holds_nothing_of_ours(plan, small_store, tmp_path):
    for name in ("summary.csv", "index.html"):
        (tmp_path / name).write_text("<html>mine</html>")
        with pytest.raises(InputError, match=rf"{name} is not a file that fcn-bench wrote"):
            write_report(plan, small_store, tmp_path)
        (tmp_path / name).unlink()
    assert names_in(tmp_path) == set()


@pytest.mark.usefixtures("never_read")
def test_an_earlier_report_of_another_plan_is_not_replaced(plan, earlier, small_store):
    other = dataclasses.replace(plan, name="other", runs=plan.runs[:0])
    before = names_in(earlier)
    for source in ("", str(earlier / "other.yaml")):
        changed = dataclasses.replace(other, spec_file=source, runs=renamed(plan).runs)
        with pytest.raises(InputError, match=r"index\.html.* of another report, that of fcn-bench"):
            write_report(changed, small_store, earlier)
    assert names_in(earlier) == before


def renamed(plan):
    """The same variants with other runs, as of another spec."""
    runs = (
        dataclasses.replace(p, run=dataclasses.replace(p.run, parent=p.run.id)) for p in plan.runs
    )
    return dataclasses.replace(plan, runs=tuple(runs))


def test_an_earlier_report_is_its_specs_by_command_or_by_its_runs(
    plan, earlier, small_store, tmp_path, monkeypatch
):
    """Of a spec whose runs changed, and of one that was moved."""
    monkeypatch.chdir(tmp_path)
    html = (earlier / "index.html").read_text()
    command = "fcn-bench run exp1/q.yaml --set 'a=b c'"
    assert plan.command in html
    (earlier / "index.html").write_text(html.replace(plan.command, command.replace("'", "&#39;")))
    moved = dataclasses.replace(plan, spec_file=str(tmp_path / "exp2" / "q.yaml"))
    changed = dataclasses.replace(renamed(plan), spec_file=str(tmp_path / "exp1" / "q.yaml"))
    other = dataclasses.replace(renamed(plan), spec_file=str(tmp_path / "exp2" / "q.yaml"))
    with pytest.raises(InputError, match=r"that of fcn-bench run exp1/q\.yaml"):
        write_report(other, small_store, earlier)
    for one in (changed, moved):
        copy = tmp_path / f"copy-{one is moved}"
        shutil.copytree(earlier, copy)
        write_report(one, small_store, copy)


def test_two_specs_of_one_name_do_not_share_a_folder(make_plan, small_store, tmp_path, monkeypatch):
    out = tmp_path / "out" / "config"
    first = make_plan(["a"], spec_file=str(tmp_path / "exp1" / "config.yaml"))
    second = make_plan(["b", "c"], spec_file=str(tmp_path / "exp2" / "config.yaml"))
    write_report(first, small_store, out)
    before = (out / "index.html").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(page, "read_study", pytest.fail)
        with pytest.raises(InputError, match=r"that of .*exp1/config\.yaml.*--out DIR, or move"):
            write_report(second, small_store, out)
    assert (out / "index.html").read_bytes() == before
    write_report(second, small_store, tmp_path / "out" / "config-2")  # the way out
    changed = make_plan(["a", "d"], spec_file=first.spec_file)
    write_report(changed, small_store, out)
    moved = dataclasses.replace(changed, spec_file=str(tmp_path / "exp3" / "config.yaml"))
    write_report(moved, small_store, out)
    assert str(tmp_path) not in (out / MANIFEST).read_text()  # a page that is published names it


@pytest.mark.usefixtures("never_read")
def test_a_file_that_was_changed_by_hand_is_not_replaced(plan, report, small_store, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(report, out)
    with (out / "summary.md").open("a") as file:
        file.write("My own words.\n")
    with pytest.raises(InputError, match=r"summary\.md was changed since it was written.*move"):
        write_report(plan, small_store, out)
    assert (out / "summary.md").read_text().endswith("My own words.\n")


def test_only_tables_that_a_plan_can_have_are_in_its_way(make_plan):
    plan = make_plan(["a", "b"])
    names = {path.split("/")[1].split(".")[0] for path in list_possible(plan) if path in EXPORTS}
    assert names == {"summary", "paper", "classes", "costs", "changes", "evaluations"}
    with_baseline = dataclasses.replace(plan, baseline="a")
    assert "tables/comparisons.csv" in list_possible(with_baseline)


def test_a_folder_that_was_named_may_hold_another_report(tmp_path, small_store, make_plan):
    """`--out DIR` is somebody's own word; what was changed by hand there is kept even then."""
    first = make_plan(["a"], spec_file=str(tmp_path / "exp1" / "q.yaml"))
    second = make_plan(["b"], spec_file=str(tmp_path / "exp2" / "q.yaml"))
    out = tmp_path / "out"
    write_report(first, small_store, out)
    with pytest.raises(InputError, match="of another report"):
        write_report(second, small_store, out)
    write_report(second, small_store, out, chosen=True)
    assert (out / "runs.csv").read_text().splitlines()[1].startswith("b,")
    (out / "summary.md").write_text("mine")
    with pytest.raises(InputError, match=r"summary\.md was changed since"):
        write_report(first, small_store, out, chosen=True)
    assert (out / "summary.md").read_text() == "mine"
