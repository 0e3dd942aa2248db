"""No number without its meaning: what is said of runs, and what is not ranked or subtracted."""

import csv
import dataclasses
import html
import io
import json
import math

import numpy as np
import pytest
from judged import (
    CLASSES,
    COLLAPSED,
    FAIR,
    GOOD,
    STRAY,
    VOID,
    judge,
    lose_counts,
    without_baseline,
)  # fmt: skip
from PIL import Image
from streets import finish

from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.plan import Plan, PlannedRun, Run
from bench.spec import DataSpec
from bench.store.atomic import write_json
from reports.answer import find_answer
from reports.figures.listing import draw_figures
from reports.page import write_report
from reports.statements import state_changes
from reports.study import read_study
from reports.tables.classes import class_grid, class_table
from reports.tables.comparisons import comparison_table
from reports.tables.exports import write_exports
from reports.tables.runs import runs_table
from reports.tables.summary import summary_table

ABSENT = (
    "cow has no pixel in the labels of test of streets: left out of the means, but 0 where it is "
    "predicted."
)
COLLAPSE = "collapsed: every labelled pixel is called ground"
ELSEWHERE = {"other": ("e" * 64, "shapes")}


def answer_of(study):
    return find_answer(study.runs, study.summary, study.plan.baseline, study.intervals)


def comparisons_of(study):
    return comparison_table(study.summary, study.plan.baseline, study.comparability)


def rows_of(text):
    return {row["variant"]: row for row in csv.DictReader(io.StringIO(text))}


def test_a_network_that_says_one_class_is_named_with_seed_and_class(small_store):
    plan = judge(small_store, {"base": [[GOOD] * 4] * 2, "flat": [[GOOD] * 4, [COLLAPSED] * 4]})
    study = read_study(plan, small_store)
    assert study.remarks.variants == {"flat": f"{COLLAPSE} (seed 1)"}
    outlier, *rest = study.remarks.list_printed()
    assert outlier.startswith("An outlier: flat, seed 1 (collapsed to one class). All numbers keep")
    assert rest == [f"flat ‡: {COLLAPSE} (seed 1).", ABSENT]
    assert runs_table(study.runs).cells["reason"].tolist() == ["–", "–", "–", COLLAPSE]


def test_classes_that_occur_and_are_never_predicted_are_named(small_store):
    blind = [[100, 0, 0], [0, 100, 0], [60, 40, 0]]
    plan = judge(
        small_store, {"a": [[blind] * 3] * 2, "b": [[blind] * 3, [np.full((3, 3), 9)] * 3]}
    )
    as_a_store_lists_them = dataclasses.replace(plan, runs=plan.runs[::-1])
    said = read_study(as_a_store_lists_them, small_store).remarks.variants
    assert said == {
        "a": "never predicted though it occurs: cow (seeds 0 and 1)",
        "b": "never predicted though it occurs: cow (seed 0)",
    }


def test_a_marked_run_is_no_finding_without_its_mark(small_store):
    """Best, bold, differences and changes all bear it; a baseline's is on what rests on it."""
    arms = {"base": [[FAIR] * 6] * 2, "flat": [[COLLAPSED] * 6] * 2, "good": [[GOOD] * 6] * 2}
    study = read_study(judge(small_store, arms), small_store)
    table = summary_table(study.summary, study.comparability, study.plan.baseline)
    assert list(table.cells["variant"]) == ["base", "flat ‡", "good"]
    assert list(comparisons_of(study).cells["variant"]) == ["flat ‡", "good"]
    said = state_changes(study.changes, study.main_effects, study.interactions)
    assert [("‡" in lead) for lead, _ in said] == ["flat" in lead for lead, _ in said]
    assert {"‡" in lead for lead, _ in said} == {True, False}
    outputs = write_exports(study)
    for name in ("summary", "paper", "comparisons", "changes"):
        assert f"{COLLAPSE} (seeds 0 and 1)" in outputs[f"tables/{name}.csv"], name
        assert "‡" in outputs[f"tables/{name}.md"].split("Scores in percent")[0], name
        assert f"flat ‡: {COLLAPSE} (seeds 0 and 1)." in outputs[f"tables/{name}.md"], name
        assert r"flat \ddag{}: collapsed" in outputs[f"tables/{name}.tex"], name
    assert "‡" not in outputs["tables/costs.md"]

    flat_first = dataclasses.replace(study.plan, baseline="flat")
    marked = read_study(flat_first, small_store)
    cells = comparisons_of(marked).cells
    assert list(cells["variant"]) == ["base", "good"]
    assert cells["Δ mIoU [95 %]"].str.endswith("] ‡").all()
    caption = summary_table(marked.summary, marked.comparability, "flat").caption
    assert "against the baseline ‡, its interval" in caption
    assert "Against flat ‡, in" in comparisons_of(marked).caption


def test_a_collapsed_best_bears_its_mark(small_store):
    poor = [[10, 50, 0], [40, 0, 0], [0, 0, 0]]
    study = read_study(
        judge(small_store, {"base": [[poor] * 4], "flat": [[COLLAPSED] * 4]}), small_store
    )
    assert answer_of(study).best == "flat ‡"


def test_without_anything_to_remark_nothing_is_added(small_store):
    full = [[50, 5, 5], [5, 30, 5], [5, 5, 20]]
    study = read_study(judge(small_store, {"a": [[full] * 3], "b": [[full] * 3]}), small_store)
    assert study.remarks.lines == []
    for frame in (study.summary, study.runs, study.changes):
        assert not {"remark", "judged_on", "mean_over"} & set(frame)
    assert "‡" not in "".join(write_exports(study).values())


def test_means_over_different_classes_are_neither_ranked_nor_subtracted(small_store):
    """One pixel called cow, which no label says, costs a third of the mean of three classes."""
    stray = [[STRAY] + [GOOD] * 5] * 2
    study = read_study(judge(small_store, {"two": [[GOOD] * 6] * 2, "three": stray}), small_store)
    summary = study.summary.set_index("variant")
    two, three = summary.loc["two"], summary.loc["three"]
    assert three["miou_mean"] == pytest.approx(2 / 3 * two["miou_mean"], abs=0.002)
    assert (two["mean_over"], three["mean_over"]) == ("2 classes", "3 classes with cow")
    assert [math.isnan(three[f"miou_diff_{kind}"]) for kind in ("mean", "low", "p")] == [True] * 3
    assert three["pixel_acc_diff_mean"] == pytest.approx(-1 / 600)
    assert study.remarks.variants == {
        "three": "1 pixel is called cow, which no label says: 0 in a mean over 3 classes "
        "(seeds 0 and 1)"
    }
    assert study.remarks.list_printed()[0].startswith(
        "mIoU is a mean over 2 classes for two; over 3 classes with cow for three. By means over "
        "different classes nothing is ranked or subtracted"
    )
    answer = answer_of(study)
    assert answer.best == ""
    assert answer.no_best == "No best by mIoU: the means are over different classes"
    cells = comparisons_of(study).cells.iloc[0]
    assert (cells["Δ mIoU"], cells["verdict"]) == ("–", "–")
    assert cells["Δ pixel acc [95 %]"].startswith("−0.2 [")
    table = summary_table(study.summary, study.comparability)
    assert list(table.cells["mean over"]) == ["2 classes", "3 classes with cow"]
    assert not table.best
    assert study.changes["miou_diff_mean"].isna().all()
    assert study.changes["pixel_acc_diff_mean"].notna().all()
    assert not study.summary["miou_tied"].any()


def test_seeds_over_different_classes_make_a_mean_that_nothing_is_compared_with(small_store):
    arms = {"base": [[GOOD] * 4] * 2, "mixed": [[GOOD] * 4, [STRAY] * 4]}
    study = read_study(judge(small_store, arms), small_store)
    assert list(study.summary["mean_over"]) == ["2 classes", "2 classes or 3 classes with cow"]
    assert math.isnan(study.summary.loc[1, "miou_diff_mean"])
    assert answer_of(study).best == ""


def test_an_absent_class_that_all_predict_leaves_them_comparable_and_is_said(small_store):
    worse = [[50, 9, 1], [10, 30, 0], [0, 0, 0]]
    study = read_study(judge(small_store, {"a": [[STRAY] * 4], "b": [[worse] * 4]}), small_store)
    answer = answer_of(study)
    assert answer.best == "a ‡"
    assert dict(answer.numbers)["mIoU is a mean over"] == "3 classes with cow"
    assert set(study.summary["mean_over"]) == {"3 classes with cow"}
    assert study.summary.loc[1, "miou_diff_mean"] < 0


def test_variants_judged_on_other_data_are_not_ranked_and_the_reason_is_said(small_store):
    wide = [[50, 5, 5], [5, 30, 5], [5, 5, 20]]  # a mean over three classes, not over two
    arms = {"base": [[GOOD] * 4] * 2, "good": [[FAIR] * 4] * 2, "other": [[wide] * 4] * 2}
    study = read_study(judge(small_store, arms, **ELSEWHERE), small_store)
    answer = answer_of(study)
    assert answer.best == ""
    assert answer.no_best == "No best: not all were judged on the same images, labels and classes"
    assert answer.remarks == answer.numbers == ()
    assert study.remarks.list_printed()[0] == (
        "The variants were not judged alike: base and good on test of streets (3 classes, "
        "4 images); other on test of shapes (3 classes, 4 images). Scores on different images, "
        "labels or classes are neither ranked nor subtracted."
    )
    table = summary_table(study.summary, study.comparability)
    assert not table.best | table.tied
    assert "Bold" not in table.caption
    assert table.cells.loc[2, "judged on"] == "test of shapes (3 classes, 4 images)"
    assert list(table.cells["mean over"]) == ["2 classes", "2 classes", "3 classes"]
    assert table.cells.loc[2, "Δ mIoU"] == "–"
    assert table.cells.loc[1, "Δ mIoU"].startswith("−")
    assert list(comparisons_of(study).cells["variant"]) == ["good"]
    assert set(study.changes["variant_after"]) == {"good"}
    grid = class_grid(study.classes, study.plan.variants)
    assert class_table(grid, study.summary).best == frozenset()
    names = {figure.name for figure in draw_figures(study)}
    assert not names & {"costs", "effects-skip"}
    assert "scores" in names


def test_other_classes_or_labels_are_other_tests_whatever_the_split_is_called(small_store):
    moved = [[54, 6, 0], [7, 33, 0], [0, 0, 0]]
    relabelled = [[55, 5, 0], [6, 33, 0], [0, 1, 0]]
    pairs = [(moved, True), (relabelled, False)]
    for images, is_alike in pairs:
        plan = judge(small_store, {"base": [[GOOD] * 4], "other": [[images] * 4]}, **ELSEWHERE)
        study = read_study(plan, small_store)
        assert (answer_of(study).best != "") == is_alike
    fewer = [row[:2] for row in GOOD[:2]]
    study = read_study(
        judge(small_store, {"base": [[GOOD] * 4], "other": [[fewer] * 4]}), small_store
    )
    assert answer_of(study).best == ""


def test_what_reads_the_same_is_told_apart_by_labels_and_classes(small_store):
    relabelled = [[55, 5, 0], [6, 33, 0], [0, 1, 0]]
    plan = judge(small_store, {"base": [[GOOD] * 4], "other": [[relabelled] * 4]})
    texts = read_study(plan, small_store).summary["judged_on"]
    assert texts.str.fullmatch(
        r"test of streets \(3 classes, 4 images\) \[labels [0-9a-f]{8}\]"
    ).all()
    assert texts.nunique() == 2
    plan = judge(small_store, {"base": [[GOOD] * 4], "other": [[GOOD] * 4]})
    result = small_store.result(plan.runs[1].run.id)
    small_store.publish(dataclasses.replace(result, class_names=("ground", "cat", "dog")))
    study = read_study(plan, small_store)
    assert list(study.summary["judged_on"]) == [
        "test of streets (3 classes, 4 images), ground, cat and cow",
        "test of streets (3 classes, 4 images), ground, cat and dog",
    ]
    assert answer_of(study).best == ""
    assert study.summary["miou_diff_mean"].isna().all()


def test_without_counts_the_place_of_the_images_decides(small_store):
    arms = {"base": [[GOOD] * 4], "worse": [[FAIR] * 4], "other": [[GOOD] * 4]}
    plan = lose_counts(small_store, judge(small_store, arms, **ELSEWHERE))
    summary = read_study(plan, small_store).summary.set_index("variant")
    assert summary.loc["worse", "miou_diff_mean"] < 0
    assert math.isnan(summary.loc["other", "miou_diff_mean"])


def test_what_was_said_of_the_plan_is_sentences_of_their_own(small_store):
    """Captions of tables put one behind the other."""
    plan = judge(small_store, {"a": [[GOOD] * 4] * 2})
    plan = dataclasses.replace(plan, remarks=("of equal ones the first", "It ends well."))
    lines = read_study(plan, small_store).remarks.list_printed()
    assert lines[:2] == ["of equal ones the first.", "It ends well."]
    assert all(line.endswith((".", "!", "?")) for line in lines)


def test_images_without_a_label_are_not_counted_and_move_no_interval(small_store, tmp_path):
    images = [GOOD, FAIR, [[40, 20, 0], [1, 39, 0], [0, 0, 0]], GOOD]
    arms = {"a": [images] * 2, "b": [images[::-1]] * 2}
    whole = read_study(judge(small_store, arms), small_store)
    with_void = {name: [[*one, VOID, VOID] for one in seeds] for name, seeds in arms.items()}
    study = read_study(judge(small_store, with_void), small_store)
    assert study.summary.equals(whole.summary)
    assert study.intervals.findings.found == whole.intervals.findings.found
    assert study.remarks.list_printed()[-1] == (
        "2 of 6 images of test of streets have no labelled pixel: n = 4."
    )
    outputs = write_exports(study)
    assert rows_of(outputs["tables/summary.csv"])["a"]["num_images"] == "4"
    assert "2 × 4" in outputs["tables/paper.md"]
    write_report(study.plan, small_store, tmp_path)
    assert rows_of((tmp_path / "runs.csv").read_text())["b"]["num_images"] == "4"


def test_a_split_with_nothing_counted_gives_no_score_and_no_best(small_store, tmp_path):
    plan = judge(small_store, {"a": [[VOID] * 3] * 2, "b": [[VOID] * 3] * 2})
    page = write_report(plan, small_store, tmp_path).read_text()
    assert "No score: no labelled pixel was judged." in page
    assert (
        "Nothing was counted on test of streets: none of its 3 images has a labelled pixel, so "
        "there is no score." in page
    )
    assert "Best of" not in page
    row = rows_of((tmp_path / "summary.csv").read_text())["a"]
    assert (row["num_done"], row["miou_mean"], row["num_images"]) == ("2", "", "")
    assert "| a " in (tmp_path / "summary.md").read_text()


def test_only_one_class_that_occurs_makes_a_hundred_percent_mean_nothing(small_store):
    plan = judge(small_store, {"a": [[[[100, 0], [0, 0]]] * 2]}, ("ground", "zebra"))
    lines = read_study(plan, small_store).remarks.list_printed()
    assert lines[0] == (
        "zebra has no pixel in the labels of test of streets: left out of the means, but 0 where "
        "it is predicted. Only ground is left: to say it everywhere scores 100 %."
    )


@pytest.mark.parametrize(
    ("losses", "is_said"),
    [([0.0, 0.0, 0.0], True), ([0.0, 0.1, 0.0], False), ([0.7, 0.0], False), ([], False)],
)
def test_a_loss_of_zero_throughout_is_said(small_store, losses, is_said):
    plan = judge(small_store, {"a": [[GOOD] * 3]})
    log = small_store.run_dir(plan.runs[0].run.id) / "metrics.jsonl"
    rows = [
        {"step": i + 1, "loss": loss, "lr": 0.1, "seconds": 1.0} for i, loss in enumerate(losses)
    ]
    rows.append({"step": 9, "split": "val", "confusion": GOOD})
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = read_study(plan, small_store).remarks.variants
    text = "the loss is 0 from the first step to the last: no labelled pixel was seen (seed 0)"
    assert said == ({"a": text} if is_said else {})


def test_a_damaged_log_is_no_remark(small_store):
    plan = judge(small_store, {"a": [[GOOD] * 3]})
    log = small_store.run_dir(plan.runs[0].run.id) / "metrics.jsonl"
    log.write_bytes(b'{"step": 1, "loss": 0.0}\n\xff\xfe{"loss"\n')
    assert read_study(plan, small_store).remarks.variants == {}


def test_further_targets_are_looked_at_too(small_store):
    plan = judge(small_store, {"a": [[GOOD] * 3]})
    other = {"class_names": ("low", "high"), "palette": [(0, 0, 0)] * 2}
    other["confusion"] = [[0, 7], [0, 9]]
    result = small_store.result(plan.runs[0].run.id)
    changed = dataclasses.replace(result, others={"geometry": other})
    folder = small_store.run_dir(result.run_id)
    write_json(folder / "result.json", dataclasses.asdict(changed))
    said = read_study(plan, small_store).remarks.variants["a"]
    assert said == "collapsed: every labelled pixel of geometry is called high (seed 0)"


def test_a_terminal_gets_a_handful_and_the_page_all(small_store, tmp_path):
    names = [f"class {i}" for i in range(12)]
    arms = {f"v{i}": [[10 * (np.arange(12) == i) * np.ones((12, 1))] * 3] for i in range(12)}
    plan = judge(small_store, arms | {"twin": arms["v0"]}, names)
    said = []
    page = write_report(without_baseline(plan), small_store, tmp_path, say=said.append).read_text()
    text = "collapsed: every labelled pixel is called"
    assert said[0] == f"note: v0 ‡ and twin ‡: {text} class 0 (seed 0)."
    assert said[1] == f"note: v1 ‡: {text} class 1 (seed 0)."
    assert said[5:] == ["note: ... and 7 more, see the page"]
    head = page[page.index('<div class="remarks">') : page.index('class="progress')]
    assert "<b>v0 ‡ and twin ‡</b>: collapsed" in head
    assert head.count(text) == 12
    assert "7 more remarks" in head
    markdown = (tmp_path / "summary.md").read_text()
    assert markdown.startswith(f"- v0 ‡ and twin ‡: {text} class 0 (seed 0).\n- v1 ‡: ")
    assert markdown.count(text) == 12


def test_what_learned_nothing_comes_first(small_store):
    blind = [[100, 0, 0], [0, 0, 0], [10, 90, 0]]
    flat = [[100, 0, 0], [0, 0, 0], [100, 0, 0]]
    plan = judge(small_store, {"a": [[blind] * 3], "b": [[flat] * 3]}, CLASSES)
    assert list(read_study(plan, small_store).remarks.variants) == ["b", "a"]


def test_what_its_training_images_lack_stands_on_the_page(small_store, make_plan, tmp_path):
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for split, stem, grey in (("train", "a", 0), ("val", "b", 1), ("test", "c", 1)):
        (root / f"{split}.txt").write_text(stem)
        Image.new("RGB", (32, 32), (ord(stem), 0, 0)).save(root / "images" / f"{stem}.png")
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[:9] = grey
        Image.fromarray(mask).save(root / "masks" / f"{stem}.png")
    (root / "classes.txt").write_text("ground\ncat\n")
    made = pack(open_dataset(DataSpec(dataset="folder"), root), small_store.packs_dir)
    run = Run(make_plan(["a"]).runs[0].run.spec, made.fingerprint)
    finish(small_store, PlannedRun("a", run))
    write_report(Plan("x", "x?", "", (PlannedRun("a", run),)), small_store, tmp_path / "out")
    lack = "split 'train' has no pixel of class 'cat', which cannot be learned from it."
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert lack in summary[: summary.index("| variant")]
    assert "train.batch_size 8 is more than the 1 image of split train" in summary
    assert "split 'test'" not in summary
    assert lack in html.unescape((tmp_path / "out" / "index.html").read_text())
