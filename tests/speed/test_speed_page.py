"""The page, the grid's arithmetic, and the command as a person gives it."""

import json
import os
import re
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from ablations.planning import plan_spec
from ablations.speed_cli import PARTS, REACH, _without_folder, app
from ablations.speed_store import write_spec
from bench.speed.compare import add_means, describe, keep_better_limit
from bench.speed.grid import beside_one, describe_grid
from bench.speed.page import ORDER, to_markdown, write_page
from bench.speed.reading import reading_section
from bench.speed.request import Request
from bench.speed.section import Section
from bench.speed.synthetic import Sizes, fill
from bench.speed.timing import Spread
from bench.store.runs import Store
from fcn.errors import InputError

TINY = ["--backbone", "test_resnet", "--size", "32x32", "--batch", "2", "--device", "cpu"]
TINY += ["--rounds", "1", "--block", "0", "--workers", "0"]
WHERE = {"device": "a CPU", "commit": "abc", "command": "fcn-bench speed train"}


def run(*words):
    return CliRunner().invoke(app, [*words], catch_exceptions=False)


def test_a_table_has_a_row_for_each_record_and_numbers_to_the_right():
    rows = [{"name": "a|b", "ms": "1.5 (1–2)", "none": "–"}, {"name": "c", "ms": "2", "none": "3"}]
    assert to_markdown(rows).splitlines() == [
        "| name | ms | none |",
        "| --- | ---: | ---: |",
        "| a\\|b | 1.5 (1–2) | – |",
        "| c | 2 | 3 |",
    ]


def test_a_section_takes_the_place_of_its_earlier_one_alone(tmp_path):
    page = tmp_path / "docs" / "performance.md"
    train = Section("train", "Training", "How.", [{"ms": Spread(1.0, 0.5, 2.0)}])
    store = Section("store", "Store", "How.", [{"runs": 10}])
    write_page(page, [store], {**WHERE, "commit": "old"})
    write_page(page, [train], WHERE)
    first = page.read_text()
    assert first.index("## Training") < first.index("## Store")  # the page's order, not time's
    assert "commit old" in first
    assert "commit abc" in first
    again = Section("train", "Training", "How.", [{"ms": Spread(7.0, 6.0, 8.0)}])
    write_page(page, [again], WHERE)
    second = page.read_text()
    assert "7.00 (6.00–8.00)" in second
    assert "1.00 (" not in second
    assert second.count("## Store") == 1
    write_page(page, [again], WHERE)
    assert page.read_text() == second
    assert set(ORDER) == {*PARTS, REACH}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "# My notes\n\nNot to be lost.\n",
        lambda text: f"{text}\nA note of mine.\n",
        lambda text: text.replace("<!-- train -->", "Mine.\n\n<!-- train -->"),
        lambda text: text.replace("| 10 |", "| 11 |"),
        lambda text: text.replace("<!-- train -->", "<!-- mine -->"),
        lambda text: "\udcff\udcfe",
    ],
)
def test_a_page_that_holds_more_than_was_measured_is_not_replaced(tmp_path, change):
    page = tmp_path / "page.md"
    train = Section("train", "Training", "How.", [{"runs": 10}])
    write_page(page, [train], WHERE)
    page.write_text(change(page.read_text()), errors="surrogateescape")
    before = page.read_bytes()
    with pytest.raises(InputError, match="give another file with --out, or move"):
        run("train", *TINY, "--out", str(page))
    assert page.read_bytes() == before


def test_a_page_of_an_earlier_version_goes_on(tmp_path):
    """Its sections had no digest; that of another section is kept as it is."""
    page = tmp_path / "page.md"
    sections = [Section(name, "Title", "How.", [{"runs": 10}]) for name in ("train", "store")]
    write_page(page, sections, WHERE)
    page.write_text(re.sub(r"<!-- end \w+ -->", "<!-- end -->", page.read_text()))
    write_page(page, sections[:1], {**WHERE, "commit": "new"})
    text = page.read_text()
    assert text.count("commit new") == 1
    assert text.count("<!-- end -->") == 1
    page.write_text(text.replace("| 10 |", "| 11 |"))  # in both
    with pytest.raises(InputError, match="section train was changed by hand"):
        write_page(page, sections[:1], WHERE)


def test_the_overhead_of_a_grid_by_hand(tmp_path):
    spec, store = write_spec(tmp_path / "spec.yaml", 2), Store(tmp_path / "runs")
    plan, _ = plan_spec(str(spec), store, None, None)
    fill(store, plan, Sizes(num_images=0, num_steps=1))
    for planned, began, ended in zip(plan.runs, (103, 110), (150, 180), strict=True):
        folder = store.run_dir(planned.run.id)
        (folder / "env.json").write_text("{}")
        values = json.loads((folder / "result.json").read_text())
        values |= {"train_seconds": 60.0, "evaluate_seconds": 4.0}
        (folder / "result.json").write_text(json.dumps(values))
        os.utime(folder / "env.json", (began, began))
        os.utime(folder / "result.json", (ended, ended))
    record = describe_grid(store, num_slots=2, wall=96.0, before=100.0, after=196.0)
    assert record["overhead"] == 96 * 2 / 128
    assert record["until the first run, s"] == 3
    assert record["after the last, s"] == 16


def test_training_and_evaluation_are_measured_from_the_command_line(tmp_path):
    page = tmp_path / "page.md"
    ended = run("train", "evaluate", *TINY, "--json", "--out", str(page))
    train, evaluate = json.loads(ended.stdout)
    (record,) = train["records"]
    assert record["backbone"] == "test_resnet"
    assert record["pixels"] == "32x32"
    assert record["batch"] == 2
    sides = ("limit", "ours", "script", "usual")
    paces = {side: record[f"{side} ms"]["median"] for side in sides}
    for ratio in ("ours ÷ limit", "ours ÷ script", "ours ÷ usual", "limit ÷ usual"):
        fast, slow = ratio.split(" ÷ ")
        assert record[ratio]["median"] == pytest.approx(paces[slow] / paces[fast])
    assert {"ours ÷ script", "ours ÷ usual"} <= evaluate["records"][0].keys()
    assert "Training steps: backbone test_resnet, " in ended.stderr  # as soon as it is known
    assert evaluate["records"][0]["images"] == 64
    assert "## Training steps" in page.read_text()
    assert "commit " in page.read_text()


def test_ratios_are_averaged_over_backbones_that_share_their_settings():
    def row(backbone, pixels, ratio):
        spread = Spread(ratio, 0.9 * ratio, 1.1 * ratio)
        return {"backbone": backbone, "pixels": pixels, "ours ms": spread, "ours ÷ limit": spread}

    rows = [row("a", "8x8", 2.0), row("b", "8x8", 8.0), row("a", "9x9", 3.0)]
    *same, mean = add_means(rows)
    assert same == rows
    four = pytest.approx(4.0)
    assert mean == {
        "backbone": "geometric mean of 2", "pixels": "8x8", "ours ms": None, "ours ÷ limit": four
    }  # fmt: skip


def test_the_limit_is_the_better_of_its_two_forms():
    seconds = {"limit": [3.0, 2.0, 9.0], "limit, one graph": [2.0, 2.5, 2.0], "ours": [4.0] * 3}
    assert keep_better_limit(seconds) == {"limit": [2.0, 2.5, 2.0], "ours": [4.0] * 3}
    seconds["limit"] = [1.0, 2.0, 1.0]
    assert keep_better_limit(seconds)["limit"] == [1.0, 2.0, 1.0]


def test_a_section_grows_row_by_row_so_that_none_is_lost():
    def records():
        yield {"backbone": "a", "pixels": "8x8", "ratio": 1.0}
        yield {"backbone": "b", "pixels": "8x8", "ratio": 2.0}
        raise RuntimeError("killed")

    grown = Section("train", "t", "n", ()).growing(records(), lambda rows: [*rows, {"sum": 1}])
    assert [len(next(grown).records) for _ in range(2)] == [2, 3]
    with pytest.raises(RuntimeError, match="killed"):
        next(grown)


def test_packing_is_set_beside_one_at_a_time_with_and_without_start_up():
    one = {"at a time": 1, "wall, s": 100.0, "training, s": 40.0}
    four = {"at a time": 4, "wall, s": 50.0, "training, s": 80.0}
    first, packed = beside_one([one, four])
    assert (first["÷ one at a time"], first["training ÷ one at a time"]) == (1, 1)
    assert (packed["÷ one at a time"], packed["training ÷ one at a time"]) == (0.5, 0.5)
    assert beside_one([four]) == [four]


def test_both_sides_of_the_compiled_section_are_compiled_and_eager_is_not(monkeypatch):
    seen = []

    @contextmanager
    def watched(model, train):
        seen.append(train.compile)
        yield

    monkeypatch.setattr("bench.speed.loops.compiled", watched)
    (section,) = json.loads(run("compiled", *TINY, "--json").stdout)
    assert seen == [False, True, True]
    (record,) = section["records"]
    assert record["limit ÷ eager"]["median"] == pytest.approx(
        record["eager ms"]["median"] / record["limit ms"]["median"]
    )


@pytest.mark.long
def test_a_compiled_backbone_is_timed():
    (section,) = json.loads(run("compiled", *TINY, "--json").stdout)
    (record,) = section["records"]
    assert record["ours ms"]["median"] > 0


def test_a_spent_budget_ends_the_measurement_and_keeps_its_rows():
    ended = run("train", "evaluate", *TINY, "--backbone", "resnet10t", "--budget", "0", "--json")
    assert ended.stdout == "[]\n"
    assert "train: not begun, the budget is spent" in ended.stderr


def test_a_wrong_part_is_named_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'train'"):
        run("trian")


def test_one_setting_grows_at_a_time(tmp_path):
    request = Request(backbones=("test_resnet",), sizes=((32, 64),), batch=3, device="cpu")
    grown = [describe(workload) for workload in request.growing(tmp_path)]
    assert [r["pixels"] for r in grown[:4]] == ["16x32", "32x64", "48x96", "64x128"]
    assert [r["classes"] for r in grown[4:7]] == [12, 21, 150]
    assert [r["batch"] for r in grown[7:]] == [6, 12]
    base = describe(next(request.workloads(tmp_path)))
    for record in grown:
        assert sum(record[key] != base[key] for key in base) <= 1


def test_sizes_backbones_and_skips_are_combined(tmp_path):
    two = {"skips": ("fcn32s", "fcn8s"), "sizes": ((32, 32), (32, 64))}
    request = Request(backbones=("test_resnet",), device="cpu", **two)
    asked = [describe(workload) for workload in request.workloads(tmp_path)]
    assert [(r["pixels"], r["skip"]) for r in asked] == [
        ("32x32", "fcn32s"), ("32x32", "fcn8s"), ("32x64", "fcn32s"), ("32x64", "fcn8s")
    ]  # fmt: skip


@pytest.mark.long
def test_memory_and_start_up_are_measured():
    words = [*TINY, "--classes", "150", "--json"]
    memory, startup = json.loads(run("memory", "startup", *words).stdout)
    (record,) = memory["records"]
    assert record["classes"] == 150
    assert 10 < record["ours, MiB"] < 1.2 * record["usual, MiB"]
    ratios = {r["what"]: r["× import torch"]["median"] for r in startup["records"]}
    assert ratios["python -c 'import torch'"] == 1
    assert ratios["fcn-bench --help"] < 1


@pytest.mark.long
def test_a_grid_is_run_from_nothing_and_its_parts_add_up(tmp_path):
    spec = tmp_path / "two.yaml"
    spec.write_text(
        "question: Which?\ncommon:\n  model: {backbone: test_resnet}\n"
        "  data: {options: {size: 32, num_train: 8, num_val: 2, num_test: 2}}\n"
        "  train: {steps: 3, batch_size: 2}\nvariants: {a: {}, b: {model.skip: fcn32s}}\n"
    )
    words = ["--spec", str(spec), "--slots", "2", "--slots", "1", "--json"]
    (section,) = json.loads(run("grid", *words).stdout)
    assert [record["at a time"] for record in section["records"]] == [1, 2]
    for record in section["records"]:
        assert record["runs"] == 2
        inside = record["until the first run, s"] + record["after the last, s"]
        assert 0 < inside < record["wall, s"]
        assert record["overhead"] > 1
        alone = section["records"][0]["wall, s"]
        assert record["÷ one at a time"] == pytest.approx(record["wall, s"] / alone)


def test_the_command_on_the_page_names_no_folder_of_this_machine():
    words = ["speed", "train", "--data", "/home/me/camvid", "--out", "page.md"]
    assert _without_folder(words) == "fcn-bench speed train --data DIR --out page.md"
    assert _without_folder(["speed", "--data=/home/me"]) == "fcn-bench speed --data=DIR"


def test_reading_is_told_beside_decoding_alone(tmp_path):
    section = reading_section(tmp_path, rounds=1, num_images=6)
    names = [record["what"] for record in section.records]
    assert names == ["decoding alone", "data check", "packing", "init"]
    limit, *rest = section.records
    assert limit["decoding's share"] is None
    for record in rest:
        share = record["decoding's share"].median
        ms = record["core ms an image"].median
        assert share == pytest.approx(limit["core ms an image"].median / ms)
    assert {path.name for path in tmp_path.iterdir()} == {"images-and-masks", "mine"}
