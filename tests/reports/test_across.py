"""The same variants on several data sets: matched, ranked on each, and never averaged."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from drawn import draw
from typer.testing import CliRunner

from ablations.cli import app
from bench.plan import Plan, PlannedRun
from bench.store.runs import Store
from fcn.errors import InputError
from reports.across import read_across
from reports.across_page import FILES, say_answer, write_across
from reports.page import write_report
from reports.results.data_sets import list_parts, say_several, split_plan
from reports.stats.contrasts import find_contrasts
from reports.stats.effects import pair
from reports.stats.finding import SHOWN
from reports.study import read_study
from reports.tables.across import NEVER_AVERAGED, ranks_table, scores_table

NAMES = ("plain", "deep", "wide", "both")
SETS = ("roads", "fields", "rooms")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def plans(store):
    """A question on each of three data sets; the first has one variant more."""
    found = []
    for k, data_set in enumerate(SETS):
        qualities = {name: 0.55 + 0.05 * v + 0.03 * k for v, name in enumerate(NAMES)}
        qualities |= {"only here": 0.6} if k == 0 else {}
        found.append(
            draw(store, qualities, dataset=data_set, name=f"{data_set}/nets", num_images=20 + k)
        )
    return found


@pytest.fixture(scope="module")
def found(plans, store):
    return read_across(list_parts([(plan, store) for plan in plans]))


@pytest.fixture(scope="module")
def grid(plans):
    """The same runs as one question, whose grid has the data set too."""
    runs = tuple(
        PlannedRun(f"{name}-{one.variant}", one.run)
        for plan, name in zip(plans, SETS, strict=True)
        for one in plan.runs
        if one.variant in NAMES
    )
    return Plan("all/nets", "Which net, whatever the data?", "both", runs, baseline="roads-plain")


def test_variants_of_all_data_sets_are_ranked_and_others_named(found):
    assert list(found.variants) == list(NAMES)
    assert found.baseline == "plain"
    assert found.ranks.ranks.tolist() == [[4, 3, 2, 1]] * 3
    assert found.notes[0] == (
        "Left out, since no variant of fields and rooms is called so: only here."
    )
    best, test, better = say_answer(found)
    assert best.startswith("Best mean rank of 4 on 3 data sets: both, 1.0 [1.0, 1.0]")
    assert "χ² = 9.0, p ≤ 0.001" in test or "χ² = 9.0, p = 0.00" in test
    assert "Mean ranks that differ by 2.71 or more are told apart" in test
    assert test.endswith("not told apart from the best: deep and wide.")
    assert better == "Shown to be better than plain: on all data sets deep, wide and both."


def test_differences_are_within_data_sets_and_one_family(found):
    frame = found.frame.set_index(["data_set", "variant"])
    ratios = []
    for one in found.parts:
        alone = find_contrasts(
            one.intervals.arms, [pair("plain", name) for name in NAMES[1:]], all_pairs=False
        )
        for name in NAMES[1:]:
            row, own = frame.loc[(one.part.name, name)], alone.compare("plain", name)
            assert row["miou_diff"] == pytest.approx(own.diff)
            means = frame.loc[one.part.name]["miou_mean"]
            assert row["miou_diff"] == pytest.approx(means[name] - means["plain"])
            assert row["miou_diff_high"] > own.high  # nine contrasts share 5 %, not three
            assert row["miou_diff_word"] == SHOWN
            ratios.append((row["miou_diff_high"] - own.diff) / (own.own_high - own.diff))
    assert found.findings.num_contrasts == 9
    assert ratios == pytest.approx([found.findings.critical] * 9)


def test_raw_scores_are_never_averaged_over_data_sets(found, plans, tmp_path):
    for table in (scores_table(found), ranks_table(found)):
        assert set(table.cells) - {"variant", "mean rank"} == set(SETS)
        assert NEVER_AVERAGED in table.caption
    page = write_across(found, plans, tmp_path).read_text()
    assert NEVER_AVERAGED in page
    means = found.frame.groupby("variant")["miou_mean"].mean()
    assert not any(f">{100 * mean:.1f}" in page for mean in means)


def test_a_grid_over_data_sets_is_the_same_as_a_question_for_each(found, grid, store):
    parts = list_parts([(grid, store)])
    assert [part.name for part in parts] == list(SETS)
    assert [part.plan.variants for part in parts] == [list(NAMES)] * 3
    again = read_across(parts)
    assert again.baseline == "plain"
    shown = [one.frame.drop(columns=["miou_diff_p"]) for one in (found, again)]
    # The pooled spread on the first data set rests on the variant that is only there, too.
    near = {"rtol": 0.2, "atol": 0.01}
    pd.testing.assert_frame_equal(*shown, check_exact=False, **near)
    assert np.array_equal(found.ranks.ranks, again.ranks.ranks)


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (lambda data_set, name: f"{name}-{data_set}", NAMES),
        (lambda data_set, name: f"x/{data_set}/{name}", [f"x/{name}" for name in NAMES]),
        (lambda data_set, name: f"{name} {len(data_set)}", NAMES),  # by head, which alone differs
    ],
)
def test_variants_are_matched_by_name_and_by_settings_where_names_say_nothing(plans, names, shared):
    runs = tuple(
        PlannedRun(names(data_set, one.variant), one.run)
        for plan, data_set in zip(plans[:2], SETS[:2], strict=True)
        for one in plan.runs
        if one.variant in NAMES
    )
    plan = Plan("q", "?", "", runs, baseline=names(SETS[0], "plain"))
    found = split_plan(plan)
    assert [name for name, _ in found] == list(SETS[:2])
    assert [part.variants for _, part in found] == [list(shared)] * 2
    assert {part.baseline for _, part in found} == {shared[0]}


def test_one_data_set_and_no_common_name_are_refused(plans, store):
    with pytest.raises(InputError, match="roads/nets: all runs are on one data set, roads"):
        list_parts([(plans[0], store)])
    other = tuple(PlannedRun(f"my {one.variant}", one.run) for one in plans[1].runs)
    other = dataclasses.replace(plans[1], runs=other)
    with pytest.raises(InputError, match="no two variants are of all 2 data sets") as refused:
        list_parts([(plans[0], store), (other, store)])
    assert "fields has my plain, my deep, my wide and my both" in str(refused.value)


def test_two_data_sets_say_what_they_cannot_say(plans, store, tmp_path):
    found = read_across(list_parts([(plan, store) for plan in plans[:2]]))
    cannot = say_answer(found)[1]
    assert cannot.startswith(
        "What 2 data sets cannot say: whether the order would be so on another"
    )
    assert "critical difference" not in write_across(found, plans[:2], tmp_path).read_text().split(
        "How to read this</h2>"
    )[0].replace("Nemenyi’s critical", "")


def test_one_seed_gives_ranks_and_no_word(tmp_path):
    store = Store(tmp_path / "store")
    plans = [
        draw(store, {"a": 0.6, "b": 0.7, "c": 0.65}, dataset=name, seeds=(0,), name=name)
        for name in SETS
    ]
    found = read_across(list_parts([(plan, store) for plan in plans]))
    assert set(found.frame["miou_diff_word"]) == {""}
    assert found.frame["miou_diff_low"].notna().sum() == 6
    assert found.ranks.ranks[:, 0].tolist() == [3, 3, 3]


def test_what_is_missing_is_named_and_the_rest_is_ranked(tmp_path):
    store, plans = Store(tmp_path / "store"), []
    for k, name in enumerate(SETS):
        plan = draw(
            store, {v: 0.6 + 0.05 * i for i, v in enumerate("abc")}, dataset=name, name=name
        )
        if k == 1:  # all of a variant, and a seed of another, go
            for one in plan.runs:
                if one.variant == "b" or (one.variant == "c" and one.run.spec.seed == 0):
                    (store.run_dir(one.run.id) / "result.json").unlink()
        plans.append(dataclasses.replace(plan, baseline="b" if k else "a", margin=0.01 * (1 + k)))
    found = read_across(list_parts([(plan, store) for plan in plans]))
    assert list(found.ranks.variants) == ["a", "c"]
    assert "b is not ranked: unfinished on fields." in found.notes
    assert "The questions name different baselines (b elsewhere): a is that of all here." in (
        found.notes
    )
    assert any(note.startswith("The questions name different margins") for note in found.notes)
    frame = found.frame.set_index(["data_set", "variant"])
    assert frame.loc[("fields", "b"), ["miou_diff", "rank"]].isna().all()
    assert frame.loc[("roads", "b"), "miou_diff_word"] == SHOWN
    assert write_across(found, plans, tmp_path / "out").is_file()


def test_one_data_set_asked_twice_is_no_two(plans, store):
    again = dataclasses.replace(plans[1], name="again")
    found = read_across(list_parts([(plan, store) for plan in (plans[0], plans[1], again)]))
    assert [one.part.name for one in found.parts] == [
        "roads", "fields (fields/nets)", "fields (again)",
    ]  # fmt: skip
    assert any("were judged on the same images" in note for note in found.notes)


def test_the_page_and_its_files(found, plans, tmp_path):
    page = write_across(found, plans, tmp_path / "out")
    written = {str(f.relative_to(page.parent)) for f in page.parent.rglob("*") if f.is_file()}
    assert written == {*FILES, "fcn-bench.json"}
    html = page.read_text()
    assert "<h1>Which of 4 variants is best on 3 data sets?</h1>" in html
    assert "Left out, since no variant of fields and rooms is called so: only here." in html
    rows = pd.read_csv(page.parent / "across.csv")
    assert len(rows) == 12
    assert rows["rank"].tolist() == [4, 3, 2, 1] * 3
    before = {name: (page.parent / name).read_bytes() for name in FILES}
    write_across(found, plans, tmp_path / "out")
    assert before == {name: (page.parent / name).read_bytes() for name in FILES}
    with pytest.raises(InputError, match="of another report over data sets"):
        write_across(found, plans[:2], tmp_path / "out")
    with pytest.raises(InputError, match="of another report over data sets"):
        write_report(plans[0], Store(tmp_path / "store"), tmp_path / "out", chosen=True)


def test_names_that_are_markup_stay_text(tmp_path):
    store, bad = Store(tmp_path / "store"), "<b>&`|$x$"
    plans = [draw(store, {"a": 0.6, bad: 0.7, "c": 0.8}, dataset=n, name=n) for n in ("x", "<i>")]
    found = read_across(list_parts([(plan, store) for plan in plans]))
    html = write_across(found, plans, tmp_path / "out").read_text()
    assert "<b>&`" not in html
    assert "<i>" not in html.replace("<i></i>", "")
    assert "&lt;b&gt;&amp;`|$x$" in html


@pytest.fixture
def cli(monkeypatch, plans, grid, store, tmp_path):
    """The command line over the drawn questions, by their data sets; the grid is `all`."""
    known = dict(zip((*SETS, "all"), (*plans, grid), strict=True))
    monkeypatch.setattr(
        "ablations.report_cli.plan_spec", lambda spec, *_, **__: (known[spec], None)
    )
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return CliRunner().invoke(app, ["report", *words, "--runs", str(store.root)])

    return run


def test_several_questions_are_told_together_on_the_command_line(cli, tmp_path):
    ended = cli(*SETS, "--across")
    assert ended.exit_code == 0
    lines = ended.output.splitlines()
    assert lines[0].startswith("note: Left out")
    assert lines[1].startswith("Best mean rank of 4 on 3 data sets: both")
    assert lines[-1] == "report: out/across/index.html"
    manifest = json.loads((tmp_path / "out" / "across" / "fcn-bench.json").read_text())
    assert {one["of"]["questions"] for one in manifest["files"].values()} == {
        "roads/nets, fields/nets and rooms/nets"
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("roads", "fields"), "2 questions are given, and a report is of one; --across"),
        (("roads", "--across"), "all runs are on one data set, roads"),
        (
            ("roads", "fields", "--across", "--watch"),
            "--watch goes with the report of one question",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(cli, words, said):
    ended = cli(*words)
    assert isinstance(ended.exception, InputError)
    assert said in str(ended.exception)


def test_the_report_of_a_grid_over_data_sets_points_to_the_one_across(grid, plans, store):
    pointer = (
        "The same is asked of 3 data sets, roads, fields and rooms: fcn-bench report with --across "
        "tells what differs on each, and ranks variants over all."
    )
    assert ([], pointer) in read_study(grid, store).remarks.lines
    assert say_several(grid) == [pointer]
    assert say_several(plans[1]) == []
    apart = [one for one in grid.runs if one.variant in ("roads-plain", "fields-deep")]
    assert say_several(dataclasses.replace(grid, runs=tuple(apart))) == []
