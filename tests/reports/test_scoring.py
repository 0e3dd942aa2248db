"""A question's scoring reaches everything that a report is made of, and no run."""

import dataclasses
import json
import re
import subprocess
import sys
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from streets import CLASS_NAMES, fill, grid_plan

from bench.claims import Claim
from bench.metrics import METRICS, divide, per_class
from bench.scoring import Scoring
from bench.store.runs import Store
from fcn.errors import InputError
from reports.gate import parse_gate, try_gate
from reports.page import write_report
from reports.results.counts import read_counts
from reports.results.report_folder import ReportFolder
from reports.sides import Side, compare_sides
from reports.sources import list_sources
from reports.study import read_study
from reports.terminal import print_answer

CLAIMS = (
    Claim(left="resnet50-fcn8s", right="resnet50-none", by=0.02),
    Claim(left="resnet50-fcn8s", right="alexnet-none", score="image_dice"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    fill(store, small_plan())
    return store


def small_plan(**scoring):
    """Two backbones, two skips, two seeds."""
    whole = grid_plan()
    kept = [r for r in whole.runs if r.variant.split("-")[0] in ("resnet50", "alexnet")]
    kept = [planned for planned in kept if "16s" not in planned.variant]
    return dataclasses.replace(
        whole, runs=tuple(kept), baseline="alexnet-none", claims=CLAIMS, scoring=Scoring(**scoring)
    )


SCORED = {
    "primary": "kappa",
    "also": ("dice", "precision", "image_miou", "image_dice"),
    "exclude_classes": ("sky",),
    "absent": "zero",
}


@pytest.fixture(scope="module")
def study(store):
    return read_study(small_plan(**SCORED), store)


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    write_report(study.plan, study.store, out, study=study)
    return out


def counts_of(study, variant):
    """Condensed counts by seed, (N, 3, C), straight from the store."""
    found = [r.result for r in study.records if r.planned.variant == variant and r.result]
    return [read_counts(study.store, r).values.reshape(-1, 3, len(CLASS_NAMES)) for r in found]


def kappa_by_hand(counts):
    hit, target, pred = counts.sum(0).astype(float)
    n = target.sum()
    chance = (target * pred).sum() / n**2
    return (hit.sum() / n - chance) / (1 - chance)


def test_means_are_those_by_hand(study):
    row = study.summary.set_index("variant").loc["resnet50-fcn8s"]
    seeds = counts_of(study, "resnet50-fcn8s")
    assert row["kappa_mean"] == pytest.approx(np.mean([kappa_by_hand(own) for own in seeds]))
    expected, by_image = [], []
    for own in seeds:
        hit, target, pred = own.sum(0)[:, 1:]  # sky is left out of means; its pixels stay in `pred`
        shares = np.divide(2 * hit, target + pred, where=target > 0, out=np.zeros(len(hit)))
        expected.append(shares.mean())  # bicyclist has no label: 0, predicted or not
        each = []
        for hit, target, pred in own[..., 1:]:
            union = target + pred - hit
            iou = np.divide(hit, union, where=union > 0, out=np.full(len(hit), np.nan))
            iou[-1] = 0
            each.append(np.nanmean(iou))
        by_image.append(np.mean(each))
    assert row["dice_mean"] == pytest.approx(np.mean(expected))
    assert row["image_miou_mean"] == pytest.approx(np.mean(by_image))


def test_the_primary_score_decides_everything(study, folder):
    findings = study.intervals.findings
    assert findings.score == "kappa"
    assert findings.compare("alexnet-none", "resnet50-fcn8s").word
    assert {"kappa_best", "kappa_rank_low", "kappa_diff_low"} <= set(study.summary)
    assert "miou_best" not in study.summary
    assert {"kappa_diff_word", "kappa_diff_low"} <= set(study.changes)
    by_default, named = (one.question.asked[0].score for one in study.verdicts)
    assert (by_default, named) == ("kappa", "image_dice")
    page = (folder / "index.html").read_text()
    assert "by mean kappa" in page
    assert "points of mIoU" not in page
    assert "mean Dice by image" in page
    assert "Δ kappa" in (folder / "summary.md").read_text()
    assert "of kappa" in (folder / "tables" / "changes.md").read_text()
    methods = (folder / "methods.md").read_text()
    assert "score that decides is kappa" in methods
    assert "leave out sky" in methods
    assert "mean precision: Share of the pixels" in methods
    classes = pd.read_csv(folder / "classes.csv")
    assert {"iou_mean", "dice_mean", "precision_mean"} <= set(classes)


def test_a_terminal_says_it(study):
    console = Console(width=200, file=StringIO())
    print_answer(study, console)
    text = console.file.getvalue()
    assert "kappa" in text
    assert "points of mIoU" not in text


def test_without_a_score_a_terminal_says_what_makes_some(small_store):
    console = Console(file=StringIO(), width=160)
    print_answer(read_study(small_plan(), small_store), console)
    assert re.fullmatch(
        r"0 of \d+ planned runs finished; \d+ missing\. No scores yet; `fcn-bench run` trains what "
        r"is missing\s+",
        console.file.getvalue(),
    )


def test_another_route_finds_the_same_numbers(folder):
    ended = subprocess.run(
        [sys.executable, folder / "recompute.py", folder], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    copied = ended.stdout.split("copied, not computed:")[1]
    assert "kappa_low" not in copied
    assert "image_dice_diff_low" not in copied


def test_the_folder_carries_it(study, folder, tmp_path):
    again = ReportFolder(folder)
    assert again.plan.scoring == study.plan.scoring
    frame = read_study(again.plan, again).summary
    pd.testing.assert_frame_equal(frame, study.summary, check_exact=True)


def test_what_a_usual_report_holds_is_as_it_was(store):
    plan = small_plan()
    plan = dataclasses.replace(plan, claims=CLAIMS[:1])
    study = read_study(plan, store)
    records = json.loads(list_sources(study, [])["records.json"])
    assert "scoring" not in records["plan"]
    assert plan.digest(CLAIMS[0]) == CLAIMS[0].digest(plan.margin)
    assert list(study.classes)[-1] == "iou"


def test_a_class_that_no_run_has_is_refused(store):
    with pytest.raises(InputError, match="did you mean 'sky'"):
        read_study(small_plan(exclude_classes=("skyy",)), store)


def test_a_claim_is_another_under_another_scoring():
    one, other = CLAIMS
    usual, kappa = small_plan(), small_plan(primary="kappa")
    without = small_plan(exclude_classes=("sky",))
    assert len({plan.digest(one) for plan in (usual, kappa, without)}) == 3
    assert kappa.digest(other) == usual.digest(other)


def test_sides_are_compared_by_the_score_that_a_question_names(store):
    plans = [small_plan(primary="kappa"), small_plan()]
    comparison = compare_sides(*(Side(n, p, store) for n, p in zip("ab", plans, strict=True)))
    assert comparison.primary == "kappa"
    assert {"kappa_diff", "pixel_acc_diff"} <= set(comparison.frame)
    outcome = try_gate(parse_gate("worse"), comparison)
    assert str(outcome.gate) == "worse in kappa"
    sides = [Side(n, small_plan(primary=p), store) for n, p in (("a", "kappa"), ("b", "dice"))]
    with pytest.raises(InputError, match="scored differently"):
        compare_sides(*sides)


def test_a_score_of_a_plugin_reaches_what_ours_do(store, tmp_path, own_parts):
    @METRICS.register("f2")
    @per_class("mean F2", of_class="F2")
    def f2(hit, in_target, in_pred):
        """F2 of each class."""
        return divide(5 * hit, 4 * in_target + in_pred)

    claims = (Claim(left="resnet50-fcn8s", right="alexnet-none", score="image_f2"),)
    plan = dataclasses.replace(small_plan(primary="f2", also=("image_f2",)), claims=claims)
    study = read_study(plan, store)
    page = write_report(plan, store, tmp_path, study=study).read_text()
    assert "by mean F2" in page
    assert study.verdicts[0].worst is not None
    assert (study.summary["f2_diff_word"].iloc[1:] != "").any()
    assert list(study.classes)[-1] == "f2"
    again = ReportFolder(tmp_path)
    pd.testing.assert_frame_equal(read_study(again.plan, again).summary, study.summary)
    ended = subprocess.run([sys.executable, tmp_path / "recompute.py"], capture_output=True)
    assert ended.returncode == 0, ended.stderr
    assert b"f2_mean" in ended.stdout.split(b"copied")[1]  # numpy alone cannot know it


def test_a_folder_whose_score_is_not_loaded_says_so(folder, tmp_path):
    records = json.loads((folder / "records.json").read_text())
    records["plan"]["scoring"]["primary"] = "f2"
    (tmp_path / "records.json").write_text(json.dumps(records))
    with pytest.raises(InputError, match="unknown score 'f2'"):
        ReportFolder(tmp_path)
