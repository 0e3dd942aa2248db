"""Everything of a store as tables, and a leaderboard that any store can merge."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streets import finish
from typer.testing import CliRunner

from ablations import results_cli
from ablations.results_cli import app
from bench.metrics import SCORES, summarize
from bench.store.run_names import RunName
from bench.store.runs import Failure
from fcn.errors import InputError
from reports.leaderboard import COLUMNS, merge, read_board, rows_of, write_board
from reports.results.everything import TABLES, read_table


@pytest.fixture
def filled(make_plan, small_store):
    """A store with a run that is done, under a name that a spreadsheet would run, and a failure."""
    plan = make_plan(["=a", "b"])
    finish(small_store, plan.runs[0])
    small_store.prepare(plan.runs[1].run)
    small_store.record_failure(plan.runs[1].run.id, Failure("error", "it stumbled"))
    small_store.names.add([(plan.runs[0].run.id, RunName("q", "=a", 0))])
    return small_store, plan.runs[0].run


def test_a_run_has_a_row_with_its_settings_scores_and_ends(filled):
    store, run = filled
    frame = read_table(store).set_index("run_id")
    assert set(frame.index) == set(store.run_ids())
    row = frame.loc[run.id]
    scores = summarize(store.result(run.id).confusion)
    assert all(row[name] == getattr(scores, name) for name in SCORES)
    assert (row["variant"], row["status"], row["ablation"]) == ("=a", "done", "q")
    assert row["train.batch_size"] == run.spec.train.batch_size
    assert row["model.backbone"] == run.spec.model.backbone
    other = frame.drop(run.id).iloc[0]
    assert (other["status"], other["message"]) == ("failed", "it stumbled")
    assert pd.isna(other["miou"])


def test_steps_are_those_of_the_log(filled):
    store, run = filled
    frame = read_table(store, "steps")
    rows = store.logs(run.id)
    assert list(frame["step"]) == [row["step"] for row in rows]
    trained = frame[frame["loss"].notna()]
    assert list(trained["loss"]) == [row["loss"] for row in rows if "loss" in row]
    scored = frame[frame["split"].notna()]
    assert list(scored["miou"]) == [
        summarize(row["confusion"]).miou for row in rows if "confusion" in row
    ]


def test_pixels_of_classes_and_of_images_add_up_to_the_same(filled):
    store, run = filled
    counts = np.array(store.result(run.id).confusion)
    classes = read_table(store, "classes")
    assert list(classes["target_pixels"]) == list(counts.sum(1))
    assert list(classes["predicted_pixels"]) == list(counts.sum(0))
    with np.errstate(invalid="ignore"):  # of a class in neither, it is none
        iou = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    assert np.allclose(classes["iou"].to_numpy(float), iou, equal_nan=True)
    images = read_table(store, "images")
    assert images["pixels"].sum() == counts.sum()
    weighted = (images["pixel_acc"] * images["pixels"]).sum() / images["pixels"].sum()
    assert weighted == pytest.approx(np.diag(counts).sum() / counts.sum())


@pytest.mark.parametrize("table", TABLES)
def test_what_is_saved_is_read_back(filled, tmp_path, table):
    pytest.importorskip("pyarrow")
    store, _ = filled
    file = tmp_path / "all.parquet"
    words = ["save", str(file), "--runs", str(store.root), "--table", table]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    pd.testing.assert_frame_equal(pd.read_parquet(file), read_table(store, table))


def test_a_csv_runs_nothing_in_a_spreadsheet(filled, tmp_path):
    store, _ = filled
    file = tmp_path / "all.csv"
    CliRunner().invoke(app, ["save", str(file), "--runs", str(store.root)], catch_exceptions=False)
    cells = [cell for row in csv.reader(file.read_text().splitlines()) for cell in row]
    assert "'=a" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_a_table_replaces_none_but_its_own(filled, tmp_path, monkeypatch):
    """Others, and what was changed since, are refused before the store is read."""
    store, _ = filled
    file, beside = tmp_path / "all.csv", tmp_path / "steps.csv"

    def save(path, *words):
        words = ["save", str(path), "--runs", str(store.root), *words]
        return CliRunner().invoke(app, words).exception

    assert save(file) is None
    assert save(beside, "--table", "steps") is None
    assert save(file, "--table", "classes") is None
    assert "target_pixels" in file.read_text()
    assert beside.exists()
    (tmp_path / "mine.csv").write_text(file.read_text())
    file.write_text(file.read_text() + "one more\n")
    monkeypatch.setattr(results_cli, "open_store", pytest.fail)
    for path, said in (
        (file, "all.csv was changed since it was written. Choose another folder with `results"),
        (tmp_path / "mine.csv", "mine.csv is not a file that fcn-bench wrote"),
        (tmp_path / "a:b.csv", "give one without"),
    ):
        before = path.read_text() if path.exists() else None
        assert said in str(save(path))
        assert (path.read_text() if path.exists() else None) == before


def test_what_cannot_be_saved_is_said(filled, tmp_path, monkeypatch):
    store, _ = filled
    for words, said in (
        (["save", "all.xlsx"], "give .parquet or .csv"),
        (["save", "all.csv", "--table", "step"], "did you mean 'steps'"),
        (["save", "all.parquet"], r"pip install 'fcn-bench[parquet]'"),
    ):
        if "parquet" in said and "give" not in said:
            monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        ran = CliRunner().invoke(app, [*words, "--runs", str(store.root)])
        assert said in str(ran.exception)
        assert ".tmp-" not in str(ran.exception)  # nobody asked for that file
    with pytest.raises(InputError, match="is no store"):
        read_table(tmp_path)


def test_values_of_several_kinds_are_json(filled):
    store, _ = filled
    frame = read_table(store)
    assert {str(kind) for kind in frame.dtypes} <= {"Int64", "Float64", "boolean", "string"}
    lists = frame["train.crop"].dropna()
    assert all(isinstance(json.loads(text), list) for text in lists)


class TestLeaderboard:
    def test_a_finished_run_is_a_row_and_a_file_gives_it_back(self, filled, tmp_path):
        store, run = filled
        (row,) = rows_of(store)
        assert row["run_id"] == run.id
        assert float(row["miou"]) == summarize(store.result(run.id).confusion).miou
        assert row["variant"] == "'=a"
        (tmp_path / "board.csv").write_text(write_board([row]))
        assert read_board(tmp_path / "board.csv") == [row]

    def test_another_store_merges_it_and_again_changes_nothing(self, filled, tmp_path, make_plan):
        store, _ = filled
        words = ["leaderboard", str(tmp_path / "a.csv"), "--runs", str(store.root)]
        assert "1 row, 1 of them new" in CliRunner().invoke(app, words).output
        other = (tmp_path / "a.csv").read_text().replace(rows_of(store)[0]["run_id"], "f" * 16)
        (tmp_path / "theirs.csv").write_text(other)
        words += ["--merge", str(tmp_path / "theirs.csv")]
        assert "2 rows, 1 of them new" in CliRunner().invoke(app, words).output
        before = (tmp_path / "a.csv").read_bytes()
        assert "2 rows, 0 of them new" in CliRunner().invoke(app, words).output
        assert (tmp_path / "a.csv").read_bytes() == before

    @pytest.mark.parametrize(
        ("column", "text", "said"),
        [
            ("run_id", "../../x", "not 16 hex digits"),
            ("miou", "1.5", "no fraction"),
            ("miou", "nan", "no fraction"),
            ("seed", "-1", "no whole number"),
            ("gmacs", "inf", "no number"),
            ("finished", "yesterday", "no time"),
        ],
    )
    def test_a_row_that_is_none_of_ours_is_named(self, filled, tmp_path, column, text, said):
        (row,) = rows_of(filled[0])
        (tmp_path / "b.csv").write_text(write_board([row, {**row, column: text}]))
        with pytest.raises(InputError, match=f"line 3: {column} is .*{said}; nothing was merged"):
            read_board(tmp_path / "b.csv")

    @pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\0", ",".join(COLUMNS) + "\nx\n"])
    def test_another_file_is_refused(self, tmp_path, text):
        (tmp_path / "b.csv").write_text(text)
        with pytest.raises(InputError, match=r"no leaderboard|no CSV|line 2: it has 1 cells"):
            read_board(tmp_path / "b.csv")

    def test_formulas_of_a_stranger_are_defused(self, filled, tmp_path):
        (row,) = rows_of(filled[0])
        (tmp_path / "b.csv").write_text(write_board([{**row, "variant": '=HYPERLINK("x")'}]))
        assert read_board(tmp_path / "b.csv")[0]["variant"] == '\'=HYPERLINK("x")'


def board():
    row = st.fixed_dictionaries(
        {
            **{name: st.just("1") for name in COLUMNS},
            "run_id": st.sampled_from(["a", "b", "c"]),
            "split": st.sampled_from(["val", "test"]),
            "miou": st.sampled_from(["0.5", "0.25", "0.75"]),
            "finished": st.sampled_from(["2024", "2025"]),
        }
    )
    return st.lists(row, max_size=6)


@given(board(), board(), board())
def test_merging_is_a_union(a, b, c):
    """In any order, in any grouping, any number of times."""
    merged = merge([a, b, c])
    assert merge([c, b, a]) == merged
    assert merge([merge([a, b]), c]) == merged
    assert merge([a, merge([b, c])]) == merged
    assert merge([merged, merged, a]) == merged
    keys = [(row["run_id"], row["split"]) for row in merged]
    assert sorted(keys) == sorted({(row["run_id"], row["split"]) for row in [*a, *b, *c]})
