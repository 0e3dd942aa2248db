import dataclasses
import json

import numpy as np
import pytest
from drawn import draw
from judged import COLLAPSED, GOOD, STRAY, judge, lose_counts
from streets import finish
from typer.testing import CliRunner

from ablations.cli import app
from bench.plan import PlannedRun
from bench.store.runs import Store
from fcn.errors import InputError
from reports.compare import FILES, say_answer, say_outcome, to_rows, write_comparison
from reports.gate import Gate, parse_gate, try_gate
from reports.results.frame import runs_frame
from reports.results.matching import plan_stores
from reports.sides import SAME_RUNS, SAME_SCORES, Side, compare_sides
from reports.stats.finding import EQUIVALENT, NOT_SHOWN, SHOWN
from reports.tables.sides import sides_table


@pytest.fixture
def sides(make_plan, tmp_path):
    """Two stores: the second was trained longer, lacks one variant and has one more."""
    before, after = make_plan(["a", "b", "gone"], (0, 1)), make_plan(["a", "b"], (0, 1))
    longer = []
    for planned in after.runs:
        train = planned.run.spec.train.model_copy(update={"steps": 800})
        spec = planned.run.spec.model_copy(update={"train": train})
        longer.append(PlannedRun(planned.variant, dataclasses.replace(planned.run, spec=spec)))
    after = dataclasses.replace(after, runs=tuple(longer))
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    for plan, store, most in zip((before, after), stores, (30, 20), strict=True):
        for planned in plan.runs:
            wrong = np.random.default_rng(most).integers(0, most, (8, 8, 8))
            right = np.eye(8, dtype=int) * (400 - wrong.sum(2, keepdims=True))  # of 400 labels
            finish(store, planned, confusions=(wrong + right).astype(np.int32), log=False)
    return [Side(n, p, s) for n, p, s in zip(("A", "B"), (before, after), stores, strict=True)]


def test_differences_are_paired_by_seed_and_changes_named(sides):
    rows = {row["variant"]: row for row in to_rows(compare_sides(*sides))}
    assert list(rows) == ["a", "b", "gone"]
    frames = [runs_frame(side.plan, side.store).set_index(["variant", "seed"]) for side in sides]
    for seed_mean, row in ((("a", slice(None)), rows["a"]), (("b", slice(None)), rows["b"])):
        one, other = (frame.loc[seed_mean, "miou"].mean() for frame in frames)
        assert row["miou_diff"] == pytest.approx(other - one)
        assert row["num_pairs"] == 2
        assert row["changed"] == "train.steps 400 → 800"
    assert rows["gone"]["note"] == "only before"
    assert rows["gone"]["miou_diff"] is None
    json.dumps(list(rows.values()), allow_nan=False)


def test_labels_that_differ_give_no_difference(sides):
    planned = sides[1].plan.runs[0]
    counts = sides[1].store.confusions(planned.run.id, "test")[1]
    counts[3] += 1  # the same images by name, with other labels
    finish(sides[1].store, planned, confusions=counts, log=False)
    alone = dataclasses.replace(sides[1], plan=dataclasses.replace(sides[1].plan, runs=(planned,)))
    row = to_rows(compare_sides(sides[0], alone))[0]
    assert [row[f"miou_{name}"] for name in ("diff", "low", "high")] == [None] * 3
    assert row["pixel_acc_diff"] is None
    assert row["miou_before"] < row["miou_after"]
    assert row["note"] == (
        "no difference: they were not evaluated on the same images with the same labels"
    )


def test_without_counts_other_data_gives_no_difference_either(tmp_path):
    sides = []
    for name, data in (("A", {}), ("B", {"a": ("e" * 64, "shapes")})):
        store = Store(tmp_path / name)
        plan = lose_counts(store, judge(store, {"a": [[GOOD] * 4]}, **data))
        sides.append(Side(name, plan, store))
    row = to_rows(compare_sides(*sides))[0]
    assert row["miou_diff"] is None
    assert row["note"] == (
        "no difference: test of streets (3 classes, 4 images) and test of shapes (3 classes, "
        "4 images)"
    )


def test_means_over_different_classes_and_collapsed_runs_are_noted(tmp_path):
    sides = []
    for name, image in (("A", COLLAPSED), ("B", STRAY)):
        store = Store(tmp_path / name)
        sides.append(Side(name, judge(store, {"a": [[image] * 4]}), store))
    row = to_rows(compare_sides(*sides))[0]
    assert row["miou_diff"] is None
    assert row["pixel_acc_diff"] == pytest.approx(0.88 - 0.6)
    assert row["pixel_acc_low"] is not None
    assert row["note"] == (
        "no difference of mIoU: over 2 classes before, 3 classes with cow after; "
        "before: collapsed: every labelled pixel is called ground (seed 0); "
        "after: 4 pixels are called cow, which no label says: 0 in a mean over 3 classes (seed 0)"
    )


def test_the_same_images_give_an_interval_around_the_difference(plan, store):
    runs = tuple(r for r in plan.runs if r.variant in ("vgg16-none", "vgg16-fcn8s"))
    arms = [
        tuple(PlannedRun("x", r.run) for r in runs if r.variant == name)
        for name in ("vgg16-none", "vgg16-fcn8s")
    ]
    sides = [Side(str(i), dataclasses.replace(plan, runs=arm), store) for i, arm in enumerate(arms)]
    row = to_rows(compare_sides(*sides))[0]
    assert row["miou_low"] < row["miou_diff"] < row["miou_high"]
    assert row["changed"] == "model.skip none → fcn8s"
    same = to_rows(compare_sides(sides[0], sides[0]))[0]
    assert (same["miou_diff"], same["note"]) == (0, "the same runs")


def test_a_comparison_is_a_page_and_its_tables_in_every_form(sides, tmp_path):
    sides = [dataclasses.replace(side, name=name) for side, name in zip(sides, "A<", strict=True)]
    page = write_comparison(compare_sides(*sides), tmp_path / "out", ["left out: `|`"])
    out = tmp_path / "out"
    written = {str(f.relative_to(out)) for f in out.rglob("*") if f.is_file()}
    assert written == {*FILES, "fcn-bench.json"}
    text = (out / "compare.md").read_text()
    assert text.startswith("# `A` → `<`")
    assert "train.steps" in text
    assert (out / "compare.csv").read_text().startswith("variant,num_before")
    assert "setting,train.steps,400,800,a; b,2" in (out / "changes.csv").read_text()
    html = page.read_text()
    assert "<h1>What changed from A to &lt;?</h1>" in html
    assert html.count("train.steps") == 1  # once on top, in no row
    assert "left out: `|`" in html


def test_stores_without_a_question_are_matched_by_what_varies_within_them(sides):
    plans = plan_stores([side.store for side in sides])
    names = [plan.variants for plan in plans]
    assert sorted(names[0]) == [f"vgg16-fcn8s model.head=head-{i}" for i in range(3)]
    assert sorted(names[1]) == sorted(names[0])[:2]  # steps differ between the stores: no name
    with pytest.raises(InputError, match="holds no runs"):
        plan_stores([Store(sides[0].store.root.parent / "empty")])


def test_changes_of_all_variants_are_one_family_with_one_decision(sides):
    """What changes without reason is shown hardly ever, what is far off is, by one model."""
    rows = [row for row in to_rows(compare_sides(*sides)) if row["miou_diff"] is not None]
    assert [row["variant"] for row in rows] == ["a", "b"]
    for row in rows:
        is_out = row["miou_low"] > 0 or row["miou_high"] < 0
        assert (row["verdict"] == SHOWN) == is_out
        assert row["miou_low"] < row["miou_diff"] < row["miou_high"]
    turned = to_rows(compare_sides(*reversed(sides)))
    for row, other in zip(rows, turned[:2], strict=True):
        assert other["miou_low"] == -row["miou_high"]
        assert other["verdict"] == row["verdict"]


def test_one_seed_on_each_side_gives_no_verdict(sides):
    alone = [
        dataclasses.replace(side, plan=dataclasses.replace(side.plan, runs=side.plan.runs[:1]))
        for side in sides
    ]
    (row,) = to_rows(compare_sides(*alone))
    assert row["verdict"] == ""
    assert row["miou_low"] < row["miou_diff"] < row["miou_high"]


QUALITIES = {"same": 0.7, "worse": 0.8, "better": 0.6, "a little": 0.75}
AFTER = {"same": 0.7, "worse": 0.74, "better": 0.66, "a little": 0.75}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two stores of variants made worse, better and neither; the second trained longer."""
    folder = tmp_path_factory.mktemp("drawn")
    found = []
    for name, qualities, steps in (("A", QUALITIES, 400), ("B", AFTER, 800)):
        store = Store(folder / name)
        plan = draw(store, qualities, steps=steps, spread=0.004, margin=0.05)
        found.append(Side(name, plan, store))
    return found


def test_verdicts_are_those_of_a_report_with_a_direction_by_sign(drawn):
    comparison = compare_sides(*drawn)
    rows = comparison.frame.set_index("variant")
    assert rows["direction"].to_dict() == {
        "same": "", "worse": "worse", "better": "better", "a little": "",
    }  # fmt: skip
    assert rows["verdict"].to_dict() == {
        "same": EQUIVALENT, "worse": SHOWN, "better": SHOWN, "a little": EQUIVALENT,
    }  # fmt: skip
    first, second, third = say_answer(comparison)
    assert first.startswith("Shown to be worse: worse −")
    assert second.startswith("Shown to be better: better +")
    assert third == "Equivalent, within 5 points: same and a little."
    assert "5 points to either side" in _page(comparison, drawn[0].store.root.parent / "out")


def _page(comparison, out):
    return write_comparison(comparison, out).read_text()


def test_with_sides_swapped_every_difference_has_the_other_sign_to_the_last_bit(drawn):
    before, after = drawn
    # in another order, with another margin named on one side: the smaller holds either way
    turned = dataclasses.replace(after.plan, runs=after.plan.runs[::-1], margin=0.03)
    after = dataclasses.replace(after, plan=turned)
    there, back = compare_sides(before, after), compare_sides(after, before)
    assert there.margin == back.margin == 0.03
    one, other = (found.frame.set_index("variant").sort_index() for found in (there, back))
    for score in ("miou", "pixel_acc"):
        assert (one[f"{score}_diff"] == -other[f"{score}_diff"]).all()
        assert (one[f"{score}_low"] == -other[f"{score}_high"]).all()
        assert (one[f"{score}_high"] == -other[f"{score}_low"]).all()
    assert (one["verdict"] == other["verdict"]).all()
    swapped = {"worse": "better", "better": "worse", "": ""}
    assert other["direction"].to_list() == [swapped[word] for word in one["direction"]]
    for score in ("mean_acc", "miou"):
        ends = [
            found.judge(score).compare(*(f"worse, {side}" for side in ("before", "after")))
            for found in (there, back)
        ]
        assert ends[0].high == -ends[1].low


def test_the_same_runs_give_zeros_and_say_so(drawn, tmp_path):
    side = drawn[0]
    copy = Store(tmp_path / "copy")
    side_of_copy = Side("copy", draw(copy, QUALITIES, spread=0.004), copy)
    for other in (side, side_of_copy):
        comparison = compare_sides(side, other)
        assert comparison.is_same
        assert (comparison.frame[["miou_diff", "pixel_acc_diff"]] == 0).all(axis=None)
        assert set(comparison.frame["note"]) == {SAME_RUNS}
        assert say_answer(comparison) == ["The same runs on both sides: every difference is 0."]
        page = write_comparison(comparison, tmp_path / other.name).read_text()
        assert "Nothing that the runs of both sides record" in page
        assert "<figure" not in page
        assert try_gate(Gate(), comparison) == (Gate(0.0, "miou"), {}, [])


def test_the_same_ids_with_other_scores_are_no_same_runs(drawn, tmp_path):
    side, store = drawn[0], Store(tmp_path / "store")
    again = Side("again", draw(store, QUALITIES | {"worse": 0.7}, spread=0.004), store)
    comparison = compare_sides(side, again)
    notes = comparison.frame.set_index("variant")["note"]
    assert notes["worse"].startswith("runs of the same ids with other scores")
    assert notes["same"] == SAME_RUNS
    assert not comparison.is_same


def test_other_runs_with_equal_scores_are_named_as_such(tmp_path):
    sides = []
    for name in ("A", "B"):
        store = Store(tmp_path / name)
        plan = judge(store, {"a": [[GOOD] * 4], ("b" if name == "A" else "c"): [[GOOD] * 4]})
        sides.append(Side(name, plan, store))
    sides[1] = dataclasses.replace(
        sides[1], plan=dataclasses.replace(
            sides[1].plan,
            runs=tuple(PlannedRun("a", r.run) for r in sides[1].plan.runs if r.variant == "c"),
        ),
    )  # fmt: skip
    row = compare_sides(*sides).frame.iloc[0]
    assert (row["note"], row["miou_diff"]) == (SAME_SCORES, 0)


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("worse", Gate(0.0)),
        ("worse by 0.01", Gate(0.01)),
        ("worse by 0.01 image_Dice", Gate(0.01, "image_dice")),
        (" worse  by 1e-2 pixel_acc", Gate(0.01, "pixel_acc")),
        ("worse Mean_Acc", Gate(0.0, "mean_acc")),
        ("worse by 0 mIoU", Gate(0.0, "miou")),
    ],
)
def test_a_gate_is_read(text, gate):
    assert parse_gate(text) == gate


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write worse, worse by 0.01"),
        ("better by 0.01", "write worse, worse by 0.01"),
        ("worse by", "write worse, worse by 0.01"),
        ("worse by 0.01 miou pixel_acc", "write worse, worse by 0.01"),
        ("worse by 1%", "1% is no difference of scores, which is a number from 0 to 1"),
        ("worse by nan", "nan is no difference"),
        ("worse by 1.5", "a point is 0.01"),
        ("worse by -0.01", "-0.01 is no difference"),
        ("worse by 0.01 pixel_ac", "did you mean 'pixel_acc'?"),
        ("worse by 0.01 ece", "of ece less is better"),
    ],
)
def test_a_gate_that_says_something_else_is_refused(text, said):
    with pytest.raises(InputError, match=r"^--fail-if ") as refused:
        parse_gate(text)
    assert said in str(refused.value)


@pytest.mark.parametrize("score", ["miou", "pixel_acc", "mean_acc"])
def test_a_gate_is_the_upper_end_of_the_simultaneous_interval(drawn, score):
    comparison = compare_sides(*drawn)
    found = comparison.judge(score).compare("worse, before", "worse, after")
    assert found.own_high < found.high < 0  # longer than its own: it holds for all variants
    outcome = try_gate(Gate(-found.high - 1e-9, score), comparison)
    assert list(outcome.worse) == ["worse"]
    assert outcome.unjudged == []
    shut = try_gate(Gate(-found.high, score), comparison)
    assert shut.worse == {}
    assert say_outcome(shut)[0].startswith("no variant is shown to be worse by more than")


def test_a_gate_says_what_it_could_not_judge(drawn):
    first = [
        dataclasses.replace(
            side, plan=dataclasses.replace(
                side.plan, runs=tuple(r for r in side.plan.runs if r.run.spec.seed == 0)
            ),
        )
        for side in drawn
    ]  # fmt: skip
    comparison = compare_sides(*first)
    assert set(comparison.frame["verdict"]) == {""}
    worse, lack = say_outcome(try_gate(Gate(), comparison))
    assert worse == "no variant is shown to be worse in mIoU"
    assert lack.endswith(": same, worse, better and a little")
    assert NOT_SHOWN not in sides_table(comparison.frame).cells["verdict"].to_list()


def test_a_gate_ends_with_3_where_a_variant_is_worse(tmp_path):
    worse = draw_two(tmp_path, {"a": 0.8, "b": 0.7}, {"a": 0.7, "b": 0.7})
    for text, code in (("worse by 0.01", 3), ("worse by 0.5", 0), ("worse pixel_acc", 3)):
        ended = CliRunner().invoke(app, ["compare", *worse, "--fail-if", text, "--json"])
        assert ended.exit_code == code
        assert {row["variant"]: row["direction"] for row in json.loads(ended.stdout)} == {
            "vgg16-fcn8s model.head=a": "worse", "vgg16-fcn8s model.head=b": "",
        }  # fmt: skip
        said = "worse " if code else "no variant is shown to be worse by more than 50 points"
        assert ended.stderr.startswith(said)
    assert CliRunner().invoke(app, ["compare", *worse]).exit_code == 0
    ended = CliRunner().invoke(app, ["compare", *worse, "--fail-if", "slower"])
    assert isinstance(ended.exception, InputError)
    assert "Exit code 3" in CliRunner().invoke(app, ["compare", "--help"]).output


def draw_two(folder, *qualities):
    for number, own in enumerate(qualities):
        draw(Store(folder / str(number)), own, steps=400 * (1 + number), spread=0.004)
    return [str(folder / str(number)) for number in range(2)]
