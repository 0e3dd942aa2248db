"""What lies beside a report is enough to compute its scores without anything of this package."""

import io

import numpy as np
import pytest
from judged import judge

from fcn.errors import InputError
from reports.page import write_report
from reports.results.counts import Counts
from reports.results.counts_file import Counted, list_sets, pack_counts, unpack_counts

GOOD = [[90, 10, 0], [20, 60, 20], [0, 30, 70]]
WORSE = [[80, 20, 0], [30, 50, 20], [10, 30, 60]]


KINDS = ("confusion", "boundary")
"""Of 9 and 6 columns."""


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
    return Counts(values, ("a", "b", "c"), images, groups, ("p", "q"), KINDS[: width // 6])


def test_the_same_counts_are_the_same_bytes_and_none_are_none():
    runs = [Counted("v", 0, "0" * 16, make("one")), Counted("v", 1, "1" * 16, make("one"))]
    assert pack_counts(list_sets(runs)) == pack_counts(list_sets(list(runs)))
    assert pack_counts([]) == b""


def test_further_sets_of_images_and_boundaries_have_keys_of_their_own():
    runs = [
        Counted("v", 0, "0" * 16, make("one", groups=("g", "h"))),
        Counted("w", 0, "1" * 16, make("other", width=15)),
    ]
    found = load(pack_counts(list_sets(runs)))
    assert found["groups"].tolist() == ["g", "h"]
    assert "boundary" not in found
    assert found["counts_1"].shape == (1, 2, 9)
    assert found["boundary_1"].shape == (1, 2, 6)
    assert found["groups_1"].tolist() == ["", ""]
    assert found["variants_1"].tolist() == ["w"]


def test_what_was_packed_is_read_back(tmp_path):
    def make_own(names, groups=(), width=9):
        values = np.arange(width * len(names), dtype=np.int32).reshape(len(names), width)
        kinds = KINDS[: width // 6]
        return Counts.of(
            values, class_names=("a", "b", "c"), groups=groups, names=names, kinds=kinds
        )

    runs = [
        Counted("v", 0, "0" * 16, make_own(("p", "q"), ("g", "h"))),
        Counted("v", 1, "1" * 16, make_own(("p", "q"), ("g", "h"))),
        Counted("w", 0, "2" * 16, make_own(("p", "r"), width=15)),
        Counted("w", 0, "2" * 16, make_own(("p", "r")), "depth"),
    ]
    path = tmp_path / "counts.npz"
    path.write_bytes(pack_counts(list_sets(runs)))
    found = unpack_counts(path)
    for one, other in zip(found, runs, strict=True):
        assert one._replace(counts=None) == other._replace(counts=None)
        assert np.array_equal(one.counts.values, other.counts.values)
        for name in ("class_names", "images", "groups", "names", "kinds"):
            assert getattr(one.counts, name) == getattr(other.counts, name)


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing"])
def test_what_is_no_such_file_is_refused(tmp_path, content):
    (tmp_path / "counts.npz").write_bytes(content)
    with pytest.raises(InputError, match="is not what this version writes"):
        unpack_counts(tmp_path / "counts.npz")


def test_an_archive_that_lacks_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "counts.npz", counts=np.zeros((1, 1, 9), np.int32))
    with pytest.raises(InputError, match="KeyError: 'variants"):
        unpack_counts(tmp_path / "counts.npz")
