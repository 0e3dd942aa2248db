"""What changing one thing brings: differences, intervals, and what is said to be shown."""

import numpy as np
import pytest

from reports.results.frame import read_records, runs_frame
from reports.stats.changes import (
    find_changes,
    find_interactions,
    find_main_effects,
    list_causes,
    list_effects,
)
from reports.stats.finding import SHOWN
from reports.stats.intervals import find_intervals
from reports.stats.summary import list_changes
from reports.tables.changes import changes_table, describe_changes, list_table


@pytest.fixture(scope="module")
def runs(plan, store):
    return runs_frame(plan, store)


@pytest.fixture(scope="module")
def intervals(plan, store, runs):
    return find_intervals(
        read_records(plan, store),
        store,
        effects=lambda known: list_effects(
            list_changes(runs, list_causes([]), plan.baseline, known)
        ),
    )


@pytest.fixture(scope="module")
def changes(plan, runs, intervals):
    return find_changes(runs, [], plan.baseline, intervals)


@pytest.fixture(scope="module")
def means(changes, intervals):
    return find_main_effects(changes, intervals)


def of_skips(frame):
    return frame[frame["factor"] == "skip"]


def test_changes_of_a_skip_go_across_and_of_a_backbone_down(changes, means):
    cells = changes_table(of_skips(changes), down="context", means=of_skips(means)).cells
    assert list(cells.columns) == ["with", "none → fcn16s", "fcn16s → fcn8s", "none → fcn8s"]
    assert list(cells["with"]) == ["alexnet", "vgg16", "googlenet", "resnet50", "mean of these"]
    backbones = changes[changes["factor"] == "backbone"]
    own = means[means["factor"] == "backbone"]
    cells = changes_table(backbones, down="change", means=own).cells
    assert list(cells.columns) == ["change", "none", "fcn16s", "fcn8s", "mean of these"]


def test_a_change_is_the_finding_of_its_two_variants(changes, intervals, runs):
    scores = runs.groupby("variant")["miou"].mean()
    for row in of_skips(changes).itertuples():
        found = intervals.findings.compare(row.variant_before, row.variant_after)
        ends = row.miou_diff_low, row.miou_diff_high, row.miou_diff_word
        assert ends == (found.low, found.high, found.word)
        if "vgg16" in row.variant_after:  # no run of it is missing
            by_hand = scores[row.variant_after] - scores[row.variant_before]
            assert row.miou_diff_mean == pytest.approx(by_hand)


def test_a_main_effect_is_the_mean_of_the_changes_and_surer_than_each(changes, means):
    """googlenet and resnet50 lack a run each; what has all is the plain mean over contexts."""
    whole = changes[changes["context"].isin(["alexnet", "vgg16"]) & (changes["factor"] == "skip")]
    every = of_skips(changes)
    assert len(every) == 12
    for row in of_skips(means).itertuples():
        own = every[(every["before"] == row.before) & (every["after"] == row.after)]
        known = own[own["miou_diff_word"] != ""]
        if len(known) == row.num_contexts:
            assert row.miou_diff_mean == pytest.approx(own["miou_diff_mean"].mean())
            assert (
                row.miou_diff_high - row.miou_diff_low
                < (own["miou_diff_high"] - own["miou_diff_low"]).min()
            )
        else:  # a context with one seed is in no model: the mean has no interval
            assert np.isnan(row.miou_diff_low)
    assert (whole["miou_diff_word"] != "").all()


def test_how_contexts_differ_adds_up_to_nothing(changes, intervals):
    apart = of_skips(find_interactions(changes, intervals))
    assert len(apart) == 12
    sums = apart.groupby(["before", "after"])["miou_diff_mean"].sum()
    assert sums.to_numpy() == pytest.approx(0, abs=1e-12)


def test_only_what_several_seeds_show_bears_the_mark(changes, means):
    assert not changes.loc[changes["num_pairs"] < 2, "miou_diff_word"].any()
    certain = changes.assign(miou_diff_word=[SHOWN * (n > 1) for n in changes["num_pairs"]])
    cells = changes_table(of_skips(certain), down="context").cells.set_index("with")
    assert cells.loc["vgg16", "fcn16s → fcn8s"].endswith("]*")
    assert cells.loc["googlenet", "none → fcn16s"].endswith("]")  # one seed
    assert "at once" in describe_changes(changes)
    alone = describe_changes(changes[changes["num_pairs"] < 2])
    assert "one seed cannot say" in alone
    assert "*" not in alone


def test_every_change_mean_and_difference_of_contexts_is_a_row_of_the_list(
    changes, means, intervals
):
    apart = find_interactions(changes, intervals)
    table = list_table(changes, means, apart)
    assert len(table.cells) == len(changes) + len(means) + len(apart)
    assert table.caption == describe_changes(changes)
    assert set(table.cells["changed"]) == {"backbone", "skip"}
    assert "mean of 4 contexts" in set(table.cells["with"])
    assert "vgg16, less the mean" in set(table.cells["with"])


def test_there_is_no_mean_over_contexts_that_were_judged_apart(changes, intervals):
    skips = of_skips(changes)
    assert not len(find_main_effects(skips.assign(judged_on=skips["context"]), intervals))
    alike = find_main_effects(skips.assign(judged_on="test of streets"), intervals)
    assert len(alike) == 3
    cells = changes_table(skips, down="context", means=alike.iloc[:0]).cells
    assert list(cells["with"]) == ["alexnet", "vgg16", "googlenet", "resnet50"]


def test_a_change_that_rests_on_a_marked_run_bears_its_mark(changes, means, intervals):
    skips = of_skips(changes)
    marked = skips.assign(
        remark=["has collapsed" if c == "vgg16" else "" for c in skips["context"]]
    )
    table = changes_table(marked, down="context", means=of_skips(means))
    cells = table.cells.set_index("with")
    signs = cells.apply(lambda column: column.str.endswith(" ‡"))
    assert signs.all(axis=1)[lambda found: found].index.tolist() == ["vgg16", "mean of these"]
    assert signs.any(axis=1).sum() == 2
    shown = list_table(marked, means.iloc[:0], find_interactions(marked.iloc[:0])).cells
    assert list(shown["with"][shown["Δ mIoU"].str.endswith(" ‡")].unique()) == ["vgg16"]
