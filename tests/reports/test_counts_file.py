"""What lies beside a report is enough to compute its scores without anything of this package."""

import io

import numpy as np
import pytest
from judged import judge

from reports.page import write_report
from reports.results.counts import Counts
from reports.results.counts_file import Counted, pack_counts

GOOD = [[90, 10, 0], [20, 60, 20], [0, 30, 70]]
WORSE = [[80, 20, 0], [30, 50, 20], [10, 30, 60]]


def load(content):
    return np.load(io.BytesIO(content), allow_pickle=False)


def test_scores_of_a_report_follow_from_its_counts(small_store, tmp_path):
    plan = judge(small_store, {"base": [[GOOD] * 3, [WORSE] * 3], "flat": [[WORSE] * 3] * 2})
    write_report(plan, small_store, tmp_path)
    found = load((tmp_path / "counts.npz").read_bytes())
    assert found["counts"].dtype == np.int32
    assert found["counts"].shape == (4, 3, 9)
    hit, target, pred = found["counts"].sum(1).reshape(4, 3, 3).transpose(1, 0, 2).astype(float)
    with np.errstate(invalid="ignore"):
        miou = np.nanmean(hit / (target + pred - hit), axis=1)
    rows = (tmp_path / "runs.csv").read_text().splitlines()
    header = rows[0].split(",")
    for row, variant, seed, run, score in zip(
        rows[1:], found["variants"], found["seeds"], found["runs"], miou, strict=True
    ):
        cells = dict(zip(header, row.split(","), strict=True))
        assert (cells["variant"], cells["seed"], cells["run_id"]) == (variant, str(seed), run)
        assert float(cells["miou"]) == pytest.approx(score, abs=1e-12)
    assert found["names"].shape == found["groups"].shape == (3,)
    assert found["class_names"].tolist() == list(plan_classes(small_store, plan))


def plan_classes(store, plan):
    return store.result(plan.runs[0].run.id).class_names


def make(images, width=9, groups=()):
    values = np.arange(2 * width, dtype=np.int32).reshape(2, width)
    return Counts(values, ("a", "b", "c"), images, groups, ("p", "q"))


def test_the_same_counts_are_the_same_bytes_and_none_are_none():
    runs = [Counted("v", 0, "0" * 16, make("one")), Counted("v", 1, "1" * 16, make("one"))]
    assert pack_counts(runs) == pack_counts(list(runs))
    assert pack_counts([]) == b""


def test_further_sets_of_images_and_boundaries_have_keys_of_their_own():
    runs = [
        Counted("v", 0, "0" * 16, make("one", groups=("g", "h"))),
        Counted("w", 0, "1" * 16, make("other", width=15)),
    ]
    found = load(pack_counts(runs))
    assert found["groups"].tolist() == ["g", "h"]
    assert "boundary" not in found
    assert found["counts_1"].shape == (1, 2, 9)
    assert found["boundary_1"].shape == (1, 2, 6)
    assert found["groups_1"].tolist() == ["", ""]
    assert found["variants_1"].tolist() == ["w"]
