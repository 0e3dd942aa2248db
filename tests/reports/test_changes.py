"""What changing one thing brings: differences, intervals, and what is called significant."""

import numpy as np
import pytest
import scipy.stats

from reports.results.frame import read_records, runs_frame
from reports.stats.changes import find_changes
from reports.stats.intervals import find_intervals
from reports.tables.changes import changes_table, describe_changes, list_table


@pytest.fixture(scope="module")
def runs(plan, store):
    return runs_frame(plan, store)


@pytest.fixture(scope="module")
def intervals(plan, store):
    return find_intervals(read_records(plan, store), store, plan.baseline)


@pytest.fixture(scope="module")
def changes(plan, runs, intervals):
    return find_changes(runs, [], plan.baseline, intervals)


def test_changes_of_a_skip_go_across_and_of_a_backbone_down(plan, runs):
    changes = find_changes(runs, [], plan.baseline)
    skips, backbones = (changes[changes["factor"] == name] for name in ("skip", "backbone"))
    cells = changes_table(skips, down="context").cells
    assert list(cells.columns) == ["with", "none → fcn16s", "fcn16s → fcn8s", "none → fcn8s"]
    assert list(cells["with"]) == ["alexnet", "vgg16", "googlenet", "resnet50", "mean of these"]
    scores = runs.set_index(["variant", "seed"])["miou"]
    one = scores["googlenet-fcn16s", 0] - scores["googlenet-none", 0]  # seed 1 failed
    assert cells.loc[2, "none → fcn16s"] == f"{100 * one:+.1f}"
    cells = changes_table(backbones, down="change").cells
    assert list(cells.columns) == ["change", "none", "fcn16s", "fcn8s", "mean of these"]


def test_intervals_and_p_are_those_of_the_two_arms(changes, intervals, runs):
    scores = runs.set_index(["variant", "seed"])["miou"]
    rows = {(row.variant_before, row.variant_after): row for row in changes.itertuples()}
    row = rows["vgg16-fcn16s", "vgg16-fcn8s"]
    by_hand = [scores[row.variant_after, s] - scores[row.variant_before, s] for s in (0, 1)]
    assert row.miou_diff_mean == pytest.approx(np.mean(by_hand))
    assert row.miou_diff_low < row.miou_diff_mean < row.miou_diff_high
    found = intervals.compare(row.variant_before, row.variant_after).set_index("score")
    own = found.loc["miou"]
    p = 2 * scipy.stats.t.sf(abs(own["diff"]) / own["error"], own["freedom"])
    assert own["p"] == pytest.approx(p, rel=1e-3)
    assert row.miou_diff_p >= p  # Holm multiplies


def test_p_is_adjusted_over_the_changes_of_one_factor(changes, intervals):
    """Holm by hand: sorted, times what is left, never falling."""
    mine = changes[changes["factor"] == "skip"]
    raw = [
        intervals.compare(row.variant_before, row.variant_after).set_index("score").at["miou", "p"]
        for row in mine.itertuples()
    ]
    order, highest, adjusted = np.argsort(raw, kind="stable"), 0.0, {}
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(raw) - rank) * raw[i]))
        adjusted[i] = highest
    assert list(mine["miou_diff_p"]) == pytest.approx([adjusted[i] for i in range(len(raw))])


def test_only_what_several_seeds_show_bears_the_mark(changes):
    assert (changes["is_significant"] <= (changes["miou_diff_p"] < 0.05)).all()
    assert not changes.loc[changes["num_pairs"] < 2, "is_significant"].any()
    certain = changes.assign(miou_diff_p=1e-6, is_significant=changes["num_pairs"] > 1)
    cells = changes_table(certain[certain["factor"] == "skip"], down="context").cells
    assert cells.set_index("with").loc["vgg16", "fcn16s → fcn8s"].endswith("]*")
    assert cells.set_index("with").loc["googlenet", "none → fcn16s"].endswith("]")  # one seed
    assert "Holm" in describe_changes(changes)
    alone = describe_changes(changes[changes["num_pairs"] < 2])
    assert "one seed" in alone
    assert "significant" not in alone


def test_every_change_is_a_row_of_the_list(changes):
    table = list_table(changes)
    assert len(table.cells) == len(changes)
    assert table.caption == describe_changes(changes)
    assert set(table.cells["changed"]) == {"backbone", "skip"}


def test_there_is_no_mean_over_contexts_that_were_judged_apart(changes):
    skips = changes[changes["factor"] == "skip"]
    apart = skips.assign(judged_on=skips["context"])
    cells = changes_table(apart, down="context").cells
    assert list(cells["with"]) == ["alexnet", "vgg16", "googlenet", "resnet50"]
    alike = skips.assign(judged_on="test of streets")
    assert "mean of these" in list(changes_table(alike, down="context").cells["with"])


def test_a_change_that_rests_on_a_marked_run_bears_its_mark(changes):
    skips = changes[changes["factor"] == "skip"]
    marked = skips.assign(
        remark=["has collapsed" if c == "vgg16" else "" for c in skips["context"]]
    )
    cells = changes_table(marked, down="context").cells.set_index("with")
    signs = cells.apply(lambda column: column.str.endswith(" ‡"))
    assert signs.all(axis=1)[lambda found: found].index.tolist() == ["vgg16", "mean of these"]
    assert signs.any(axis=1).sum() == 2
    shown = list_table(marked).cells
    assert list(shown["with"][shown["Δ mIoU"].str.endswith(" ‡")].unique()) == ["vgg16"]
