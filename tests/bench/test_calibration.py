"""Calibration against torchmetrics and torch's cross-entropy; counts add up however cut."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassCalibrationError

from bench.metrics import CALIBRATION_BINS, METRICS, score_rows, split_rows
from bench.plan import Plan, PlannedRun
from bench.run import outcome
from bench.run.calibration import count_calibration
from bench.run.execute import Options, execute
from reports.page import write_report
from reports.results.frame import runs_frame
from reports.results.report_folder import ReportFolder
from reports.study import read_study

IGNORE = 255


def draw(seed, shape=(3, 30, 40), num_classes=6, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)
    N, H, W = shape
    logits = sharpness * torch.randn(N, num_classes, H, W, generator=generator)
    target = torch.randint(0, num_classes, shape, generator=generator)
    target = logits.argmax(1).where(torch.rand(shape, generator=generator) < 0.6, target)
    target[:, :3] = IGNORE
    return logits, target


def score(name, counts):
    return float(score_rows(METRICS[name], split_rows(counts.sum(0).numpy())))


@pytest.mark.parametrize("sharpness", [0.3, 2.0, 9.0])
@pytest.mark.parametrize("seed", range(2))
def test_scores_are_those_of_torchmetrics_and_torch(seed, sharpness):
    logits, target = draw(seed, sharpness=sharpness)
    counts = count_calibration(logits, target, IGNORE)
    theirs = MulticlassCalibrationError(6, n_bins=CALIBRATION_BINS, norm="l1", ignore_index=IGNORE)
    assert score("ece", counts) == pytest.approx(float(theirs(logits, target)), abs=2e-5)
    loss = F.cross_entropy(logits, target, ignore_index=IGNORE)
    assert score("nll", counts) == pytest.approx(float(loss), abs=2e-5)


def test_bins_by_a_double_loop():
    logits, target = draw(3, shape=(1, 6, 7))
    found = np.zeros((3, CALIBRATION_BINS), np.int64)
    p = logits.softmax(1)[0]
    for y in range(6):
        for x in range(7):
            if target[0, y, x] != IGNORE:
                sure, pred = p[:, y, x].max(0)
                b = min(int(float(sure) * CALIBRATION_BINS), CALIBRATION_BINS - 1)
                found[:, b] += 1, int(pred == target[0, y, x]), round(float(sure) * 2**16)
    counts = count_calibration(logits, target, IGNORE)[0].numpy()
    assert np.array_equal(counts[:2], found[:2])
    np.testing.assert_allclose(counts[2], found[2], atol=3)


def test_who_is_sure_and_right_is_calibrated_and_who_is_sure_and_wrong_is_not():
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    logits = torch.full((1, 2, 4, 4), -40.0)
    logits[:, 0] = 40
    assert score("ece", count_calibration(logits, target, IGNORE)) == 0
    wrong = count_calibration(logits, target + 1, IGNORE)
    assert score("ece", wrong) == 1
    assert score("nll", wrong) == pytest.approx(80)


def test_images_counted_together_or_one_by_one_are_the_same():
    logits, target = draw(4)
    whole = count_calibration(logits, target, IGNORE)
    each = [count_calibration(logits[i : i + 1], target[i : i + 1], IGNORE) for i in range(3)]
    assert torch.equal(whole, torch.cat(each))


def test_a_run_that_asks_keeps_its_counts_and_its_report_carries_them(tiny_run, tmp_path):
    asked = {"evaluate.calibration": True, "evaluate.surface": True, "train.steps": 1}
    store, run = tiny_run(asked)
    assert execute(store.run_dir(run.id), Options(device="cpu", threads=1)) == outcome.DONE
    result = store.result(run.id)
    counts = store.evaluation(result).calibrations()
    assert counts.sum(0).tolist() == result.calibration
    assert (counts[:, 0].sum(1) == store.evaluation(result).confusions().sum((1, 2))).all()
    assert counts[:, 1].sum() == np.trace(np.array(result.confusion))
    plan = Plan("x", "x", "x", (PlannedRun("x", run),))
    frame = runs_frame(plan, store)
    rows = split_rows(np.array(result.calibration))
    assert frame.loc[0, "ece"] == float(score_rows(METRICS["ece"], rows))
    assert frame.loc[0, "nll"] > 0
    study = read_study(plan, store)
    page = write_report(plan, store, tmp_path / "out", study=study).read_text()
    assert "NLL, nats" in page
    assert "ECE" in page
    again = ReportFolder(tmp_path / "out")
    summary = read_study(again.plan, again).summary
    for column in ("ece_low", "nll_mean", "nll_high"):
        assert summary[column].tolist() == study.summary[column].tolist()
    _, other = tiny_run({"train.steps": 1})
    assert other.id != run.id
