"""What a report says is so of grids of any shape: one variant, one image, seeds never shared."""

import dataclasses
import re
import shutil
import zlib

import numpy as np
import pytest
from drawn import CLASSES, draw, draw_counts
from judged import COLLAPSED, FAIR, GOOD, STRAY, judge, lose_counts, without_baseline
from pydantic import TypeAdapter
from streets import FINGERPRINT, finish, make_spec

from bench.claims import Sentence
from bench.plan import Plan, PlannedRun, Run
from bench.scoring import Scoring
from bench.store.runs import Store
from fcn.errors import InputError
from reports.answer import find_answer
from reports.compare import say_answer, write_comparison
from reports.figures.listing import draw_figures
from reports.images.gallery import Gallery
from reports.methods.citing import to_text
from reports.methods.paragraphs import list_paragraphs
from reports.page import _render, write_report
from reports.results.report_folder import ReportFolder
from reports.sides import Side, compare_sides
from reports.statements import state_changes
from reports.stats.asked import resolve_claims
from reports.stats.finding import NOT_SHOWN, SHOWN, find_range
from reports.study import read_study
from reports.style import points
from reports.tables.changes import describe_changes
from reports.tables.comparisons import comparison_table
from reports.tables.sides import sides_table
from reports.tables.summary import summary_table

ALL_AT_ONCE = "contrasts of this page at once"
ADJUSTED = "not the difference of the means shown"


def lose(plan, store, *places):
    """Take runs out of a store, as if they had not been made."""
    for planned in plan.runs:
        if (planned.variant, planned.run.spec.seed) in places:
            shutil.rmtree(store.run_dir(planned.run.id))
    return plan


def answer(study):
    return find_answer(study.runs, study.summary, study.plan.baseline, study.intervals)


def state(study):
    return state_changes(study.changes, study.main_effects, study.interactions)


def write(study):
    """The page's text, without figures and images."""
    html = _render(study, [], Gallery([], [], "none"), None, False)
    return re.sub(r"\s+", " ", re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", html, flags=re.S))


def compared(study):
    return comparison_table(study.summary, study.plan.baseline, study.comparability)


def summarized(study):
    return summary_table(study.summary, study.comparability, study.plan.baseline)


def test_what_cannot_be_judged_against_the_best_is_not_shown_to_be_below(small_store):
    plan = draw(small_store, {"a": 0.7, "b": 0.88, "c": 0.7}, seeds=(0, 1, 2, 3))
    study = read_study(lose(plan, small_store, ("a", 0), ("a", 1), ("b", 2), ("b", 3)), small_store)
    assert study.intervals.findings.compare("a", "b") is None  # no seed in common
    first, second, *_ = answer(study).remarks
    assert first == "It is shown to be better than every variant that can be judged against it."
    assert second == "Not judged, for lack of seeds, counts or common images: a."
    rows = study.summary.set_index("variant")
    assert rows["miou_best"].to_dict() == {"a": False, "b": True, "c": False}
    assert rows["miou_tied"].to_dict() == {"a": True, "b": False, "c": False}
    lone = read_study(lose(plan, small_store, ("c", 1), ("c", 2), ("c", 3), ("b", 1)), small_store)
    assert not any("every other" in text for text in answer(lone).remarks)


def test_a_seed_of_one_variant_is_named_as_not_judged(small_store):
    plan = draw(small_store, {"a": 0.7, "b": 0.78, "c": 0.74})
    study = read_study(lose(plan, small_store, ("c", 1), ("c", 2)), small_store)
    assert answer(study).remarks[1] == "Not judged, for lack of seeds, counts or common images: c."
    assert not study.summary.set_index("variant")["miou_tied"]["c"]  # one seed has no mark
    whole = draw(small_store, {"a": 0.7, "b": 0.78}, name="two")
    said = answer(read_study(whole, small_store)).remarks
    assert said[0] == "It is shown to be better than every other variant."
    assert len(said) == 2  # the next best is the baseline: once
    assert "against the baseline, which is the next best, a" in said[1]


def test_intervals_of_one_seed_are_not_said_to_hold_at_once(small_store):
    one = read_study(draw(small_store, {"a": 0.7, "b": 0.78}, seeds=(0,)), small_store)
    figures = {figure.name: figure.caption for figure in draw_figures(one)}
    said = [figures["differences"], summarized(one).caption, compared(one).caption]
    assert all(ALL_AT_ONCE not in text and "these trained networks" in text for text in said)
    assert "contrasts that share this page’s 5 %" not in write(one)
    three = read_study(draw(small_store, {"a": 0.7, "b": 0.78}), small_store)
    figures = {figure.name: figure.caption for figure in draw_figures(three)}
    said = [figures["differences"], summarized(three).caption, compared(three).caption]
    assert all(ALL_AT_ONCE in text and "these trained networks" not in text for text in said)
    assert "contrasts that share this page’s 5 %" in write(three)


def test_one_image_is_no_one_seed(small_store):
    study = read_study(judge(small_store, {"a": [[FAIR]] * 3, "b": [[GOOD]] * 3}), small_store)
    assert "one image tells nothing of others" in study.intervals.design
    table = compared(study)
    assert list(table.cells)[1] == "Δ mIoU"
    for text in (table.caption, write(study).split("How to read this")[1]):
        assert "these trained networks" not in text
        assert "Without counts of several images there are no intervals" in text


def test_without_counts_nothing_is_said_of_one_seed(small_store):
    plan = lose_counts(small_store, draw(small_store, {"a": 0.7, "b": 0.78}))
    table = compared(read_study(plan, small_store))
    assert "one seed" not in table.caption
    assert "Without counts of several images there are no intervals" in table.caption


@pytest.mark.parametrize("has_counts", [True, False])
def test_a_difference_that_is_not_that_of_the_means_shown_says_so(small_store, has_counts):
    plan = draw(small_store, {"a": 0.7, "b": 0.74, "c": 0.72}, spread=0.03)
    plan = lose(plan, small_store, ("b", 0))
    if not has_counts:
        for planned in plan.runs:
            (small_store.run_dir(planned.run.id) / "eval" / "test.npz").unlink(missing_ok=True)
    study = read_study(plan, small_store)
    means = study.runs.groupby("variant")["miou"].mean()
    shown, beside = summarized(study), compared(study)
    cells = dict(zip(shown.cells["variant"], shown.cells["Δ mIoU"], strict=True))
    assert cells["b"].startswith("≈ ")
    assert cells["b"] != f"≈ {points(means['b'] - means['a'])}"
    assert cells["c"] == points(means["c"] - means["a"])
    assert ADJUSTED in shown.caption
    assert ADJUSTED in beside.caption
    marked = [[text.startswith("≈") for text in beside.cells.iloc[:, k]] for k in (1, -3)]
    assert marked == [[True, False]] * 2  # of mIoU and of pixel accuracy


def test_so_does_one_of_a_comparison(tmp_path):
    sides = []
    for name, steps in (("A", 400), ("B", 800)):
        store = Store(tmp_path / name)
        plan = draw(store, {"a": 0.7, "b": 0.72}, steps=steps, spread=0.03)
        sides.append(Side(name, plan, store))
    lose(sides[1].plan, sides[1].store, ("a", 0))
    table = sides_table(compare_sides(*sides).frame)
    assert [text.startswith("≈") for text in table.cells["Δ mIoU"]] == [True, False]
    assert ADJUSTED in table.caption


def test_one_variant_is_best_of_none(small_store):
    study = read_study(draw(small_store, {"a": 0.7}), small_store)
    assert answer(study).remarks == ()
    page = write(study)
    assert "The one variant a" in page
    assert "Best of" not in page
    assert "1 variant (a) of fully convolutional networks" in page
    assert "was trained. It has" in page
    assert "No two variants can be judged together, so nothing is tested" in page


def test_the_one_contrast_and_the_one_run_are_in_the_singular(small_store):
    two = to_text(list_paragraphs(read_study(draw(small_store, {"a": 0.7, "b": 0.8}), small_store)))
    assert "The one contrast of mIoU, between two variants, has an error of 5 %" in two
    one = draw(small_store, {"a": 0.7}, seeds=(0,), name="one")
    said = to_text(list_paragraphs(read_study(one, small_store)))
    assert "1 of 1 run finished" in said
    assert "The finished run took" in said


def test_what_is_too_much_to_draw_is_not_said_to_be_drawn(small_store, monkeypatch):
    for module in ("reports.stats.contrasts", "reports.methods.paragraphs", "reports.page"):
        monkeypatch.setattr(f"{module}.MAX_LISTED", 2)
    study = read_study(draw(small_store, {"a": 0.7, "b": 0.78, "c": 0.72}), small_store)
    said = to_text(list_paragraphs(study))
    assert "by sharing it out evenly (Bonferroni)" in said
    assert "nan" not in said
    assert "critical value" not in write(study)


def test_a_page_says_what_was_resampled_and_marks_no_class(small_store, monkeypatch):
    plan = draw(small_store, {"a": 0.7, "b": 0.78}, num_images=32)
    monkeypatch.setattr("reports.stats.units.find_length", lambda *_: 1)
    page = write(read_study(plan, small_store))
    assert "Intervals take images as drawn one by one" in page
    assert "in bold" not in page
    monkeypatch.setattr("reports.stats.units.find_length", lambda *_: 4)
    page = write(read_study(plan, small_store))
    assert "blocks of 4 neighbours" in page
    assert "Intervals take images as drawn one by one" not in page


def test_figures_show_no_baseline_that_there_is_not(small_store, monkeypatch):
    monkeypatch.setattr("reports.study.MAX_DRAWN", 2)
    plan = draw(small_store, {"a": 0.7, "b": 0.78, "c": 0.72})
    study = read_study(plan, small_store)
    assert "and the baseline" in study.omission
    assert "As in figures, 1 variant is left out." in write(study)
    assert "baseline" not in read_study(without_baseline(plan), small_store).omission


def plan_grid(store, counts):
    """Two backbones with two skips, whose runs have the counts that are given by backbone."""
    runs = []
    for backbone in counts:
        for skip in ("none", "fcn8s"):
            for seed in (0, 1):
                run = Run(make_spec(backbone, skip, seed), FINGERPRINT)
                runs.append(PlannedRun(f"{backbone}-{skip}", run))
    plan = Plan("grid", "How much does a skip add?", "", tuple(runs), runs[0].variant)
    for planned in plan.runs:
        spec = planned.run.spec
        images = counts[spec.model.backbone][spec.model.skip == "fcn8s"]
        wrong = np.array([[-1, 1, 0], [1, -1, 0], [0, 0, 0]])  # of labels that stay
        noise = np.random.default_rng(spec.seed).integers(0, 3, (6, 1, 1)) * wrong
        confusions = (np.array([images] * 6) + noise).astype(np.int32)
        names = ("ground", "cat", "cow")
        finish(store, planned, class_names=names, confusions=confusions, log=False)
    return plan


def test_means_over_different_classes_are_not_said_to_be_of_one_seed(small_store):
    more = [[54, 5, 1], [4, 36, 0], [0, 0, 0]]  # a stray class too
    study = read_study(
        plan_grid(small_store, {"vgg16": (FAIR, GOOD), "alexnet": (STRAY, more)}), small_store
    )
    assert set(study.changes["miou_diff_word"]) <= {SHOWN, NOT_SHOWN, ""}
    (skip, *_) = state(study)
    assert "one seed" not in skip.lead + skip.rest
    assert "not judged by the same images and classes give no verdict" in skip.lead
    assert study.shares == {}  # of means that may not be subtracted


def test_a_design_is_told_by_the_images_that_it_is_of(small_store):
    plan = draw(small_store, {"a": 0.7, "b": 0.78})
    usual = read_study(plan, small_store).intervals.design
    far = draw(small_store, {"x": 0.4}, dataset="elsewhere", num_images=24)
    both = dataclasses.replace(plan, runs=(*far.runs, *plan.runs))
    assert read_study(both, small_store).intervals.design == usual


def test_no_difference_of_shares_is_more_than_all_and_kappa_has_twice_the_range(small_store):
    wild = {"a": [[COLLAPSED] * 2, [GOOD] * 2], "b": [[GOOD] * 2, [COLLAPSED] * 2]}
    study = read_study(judge(small_store, wild), small_store)
    found = study.intervals.findings.compare_here("a", "b")
    assert (found.low, found.high) == (-1, 1)
    assert found.critical * found.reach > 1
    assert (find_range("miou"), find_range("kappa")) == (1, 2)
    scoring = Scoring(primary="kappa")
    study = read_study(dataclasses.replace(study.plan, scoring=scoring), small_store)
    found = study.intervals.findings.compare_here("a", "b")
    assert found.low == max(found.diff - found.critical * found.reach, -2) < -1


def test_a_comparison_names_the_run_that_took_its_verdict(tmp_path):
    sides = []
    for name, quality in (("A", 0.7), ("B", 0.8)):
        store = Store(tmp_path / name)
        plan = draw(store, {"a": quality}, steps=400 if name == "A" else 800)
        sides.append(Side(name, plan, store))
    assert "outlier" not in " ".join(say_answer(compare_sides(*sides)))
    low = next(one for one in sides[1].plan.runs if one.run.spec.seed == 1)
    finish(
        sides[1].store, low, class_names=CLASSES, confusions=draw_counts(0.3, low, 24, 0), log=False
    )
    said = say_answer(compare_sides(*sides))
    assert said[0].startswith("No change is shown")
    assert said[-1].startswith("An outlier: a, after, seed 1 (mIoU ")
    page = write_comparison(compare_sides(*sides), tmp_path / "out").read_text()
    assert "An outlier: a, after, seed 1" in page
    assert "those of pixel acc are each by itself" in page


def test_of_pixel_accuracy_the_other_score_is_another(tmp_path):
    sides = []
    for name, quality in (("A", 0.7), ("B", 0.8)):
        store = Store(tmp_path / name)
        plan = draw(store, {"a": quality}, scoring=Scoring(primary="pixel_acc"))
        sides.append(Side(name, plan, store))
    page = write_comparison(compare_sides(*sides), tmp_path / "out").read_text()
    assert "those of mIoU are each by itself" in page


def test_the_best_is_not_said_to_beat_what_has_no_run(small_store):
    plan = draw(small_store, {"a": 0.6, "b": 0.75, "c": 0.9})
    lose(plan, small_store, *(("c", seed) for seed in (0, 1, 2)))
    told = "It is shown to be better than every other variant"
    assert f"{told} that has a score." in answer(read_study(plan, small_store)).remarks
    both = dataclasses.replace(plan, runs=tuple(r for r in plan.runs if r.variant != "c"))
    assert f"{told}." in answer(read_study(both, small_store)).remarks


def test_three_seeds_are_not_called_one_where_classes_differ(small_store):
    counts = {"vgg16": (FAIR, GOOD), "alexnet": (STRAY, GOOD), "resnet18": (FAIR, GOOD)}
    study = read_study(plan_grid(small_store, counts), small_store)
    skip = next(one for one in state(study) if "none to fcn8s" in one.lead)
    assert "one seed" not in skip.lead + skip.rest
    assert "to –" not in skip.rest
    assert "One seed" not in describe_changes(study.changes)


@pytest.mark.parametrize(
    ("scoring", "said"),
    [
        ({}, ": 0 in a mean over 3 classes"),
        ({"absent": "leave_out"}, ""),
        ({"exclude_classes": ("cow",)}, ""),
        ({"exclude_classes": ("cat",)}, ": 0 in a mean over 2 classes"),
        ({"absent": "zero"}, ": 0 in a mean over 3 classes"),
    ],
)
def test_a_zero_is_told_of_means_that_have_it(small_store, scoring, said):
    plan = judge(small_store, {"a": [[STRAY] * 4] * 2, "b": [[GOOD] * 4] * 2})
    plan = dataclasses.replace(plan, scoring=Scoring(**scoring))
    remark = read_study(plan, small_store).remarks.variants["a"]
    assert remark == f"4 pixels are called cow, which no label says{said} (seeds 0 and 1)"


def test_gains_by_class_have_no_mean_over_different_images(small_store):
    runs = []
    for dataset in ("streets", "fields"):
        for skip in ("none", "fcn8s"):
            for seed in (0, 1, 2):
                spec = make_spec("vgg16", skip, seed)
                data = spec.data.model_copy(update={"dataset": dataset})
                spec = spec.model_copy(update={"data": data})
                fingerprint = f"{zlib.crc32(dataset.encode()):064x}"
                runs.append(PlannedRun(f"{dataset}-{skip}", Run(spec, fingerprint)))
    plan = Plan("two", "Where?", "", tuple(runs), None)
    for planned in plan.runs:
        quality = 0.75 if planned.run.spec.model.skip == "fcn8s" else 0.6
        counts = draw_counts(quality, planned, 24, 0.01)
        finish(small_store, planned, class_names=CLASSES, confusions=counts, log=False)
    study = read_study(plan, small_store)
    assert set(study.class_gains["context"]) == {"streets", "fields"}
    one = [run for run in runs if run.variant.startswith("streets")]
    study = read_study(dataclasses.replace(plan, runs=tuple(one)), small_store)
    assert len(study.class_gains)


def plan_stages(store):
    """A question of skips, of which one is frozen and some go on from another's weights."""
    hits = {"fixed": 0.4, "s32": 0.5, "s16": 0.6, "s8": 0.65, "once8": 0.55, "once4": 0.57}
    skips = {"fixed": 32, "s32": 32, "s16": 16, "s8": 8, "once8": 8, "once4": 4}
    parents = {"s16": "s32", "s8": "s16"}
    runs = []
    for seed in (0, 1, 2):
        made = {}
        for name in ("fixed", "s32", "once8", "once4", "s16", "s8"):
            spec = make_spec("vgg16", f"fcn{skips[name]}s", seed)
            update = {"freeze": {"backbone": None} if name == "fixed" else {}}
            train = spec.train.model_copy(update=update | {"init_from": parents.get(name)})
            parent = made[parents[name]].id if name in parents else None
            spec = spec.model_copy(update={"train": train})
            made[name] = Run(spec, FINGERPRINT, parent)
            runs.append(PlannedRun(name, made[name]))
    plan = Plan("skips", "Which skip?", "", tuple(runs), "s32")
    for planned in plan.runs:
        counts = draw_counts(hits[planned.variant], planned, 24, 0.005)
        finish(store, planned, class_names=CLASSES, confusions=counts, log=False)
    return plan


def test_what_is_frozen_or_trained_in_stages_is_no_change_of_the_skip_alone(small_store):
    plan = plan_stages(small_store)
    study = read_study(plan, small_store)
    skip = study.changes[study.changes["factor"] == "skip"]
    columns = ["context", "variant_before", "variant_after"]
    assert skip[columns].to_numpy().tolist() == [
        ["never, at once", "s32", "once8"],
        ["never, at once", "once8", "once4"],
        ["never, at once", "s32", "once4"],
        ["never, in stages", "s32", "s16"],
        ["never, in stages", "s16", "s8"],
        ["never, in stages", "s32", "s8"],
    ]
    frozen = study.changes[study.changes["factor"] == "train.freeze.backbone"].iloc[0]
    assert (frozen["before"], frozen["after"]) == ("never", "for good")
    assert (frozen["variant_before"], frozen["variant_after"]) == ("s32", "fixed")
    lead = state(study)[0].lead
    assert lead.startswith("From fcn32s to fcn8s, mIoU gains")
    assert "on average over 2 contexts" in lead


def test_a_value_that_two_variants_have_is_no_name_of_one(small_store):
    plan = plan_stages(small_store)
    claim = TypeAdapter(Sentence).validate_python("fcn8s > fcn32s for every train.freeze.backbone")
    with pytest.raises(InputError, match="once8 and s8 agree in every factor"):
        resolve_claims(dataclasses.replace(plan, claims=(claim,)))


def test_a_folder_gives_back_what_was_frozen(small_store, tmp_path):
    """A null that some runs have and others have not was taken for what all share."""
    plan = plan_stages(small_store)
    write_report(plan, small_store, tmp_path / "out")
    again = ReportFolder(tmp_path / "out").plan
    assert [one.run for one in again.runs] == [one.run for one in plan.runs]
