import dataclasses

import numpy as np
import pytest
from streets import IGNORE, NUM_IMAGES, DrawnPack, draw_target

from bench.metrics import summarize
from reports.images.choice import choose_images, choose_pair, find_difference, near_edges
from reports.images.closeups import draw_closeups, draw_errors
from reports.images.panels import Cell, Panel
from reports.results.frame import runs_frame
from reports.stats.summary import summarize_variants


@pytest.fixture(scope="module")
def summary(plan, store):
    return summarize_variants(runs_frame(plan, store), plan.baseline)


def test_the_pair_is_the_coarsest_and_finest_skip_of_the_best_backbone(plan, store, summary):
    pair = choose_pair(plan, store, summary)
    assert (pair.before.variant, pair.after.variant) == ("resnet50-fcn16s", "resnet50-fcn8s")


def test_without_a_ladder_of_skips_the_pair_is_baseline_and_best(plan, store, summary):
    runs = tuple(r for r in plan.runs if r.run.spec.model.skip == "fcn8s")
    cut = dataclasses.replace(plan, runs=runs, baseline="vgg16-fcn8s")
    pair = choose_pair(cut, store, summary[summary["skip"] == "fcn8s"])
    assert (pair.before.variant, pair.after.variant) == ("vgg16-fcn8s", "resnet50-fcn8s")
    alone = dataclasses.replace(plan, runs=runs[:1])
    assert choose_pair(alone, store, summary) is None


def test_images_are_those_of_most_median_and_least_gain(plan, store, summary):
    pair = choose_pair(plan, store, summary)
    names = [DrawnPack().name(i) for i in range(NUM_IMAGES)]
    chosen, rule = choose_images(pair, store, names, 3)
    gains = {}
    for i, name in enumerate(names):  # one image at a time
        before, after = (
            summarize(store.confusions(arm.run.id, "test")[1][i]).miou
            for arm in (pair.before, pair.after)
        )
        gains[name] = after - before
    order = sorted(gains, key=gains.get, reverse=True)
    assert [one.name for one in chosen] == [order[0], order[4], order[-1]]
    assert "resnet50-fcn8s gains most, median and least mIoU over resnet50-fcn16s" in rule
    assert f"{100 * gains[order[0]]:+.1f} points" in chosen[0].why


def test_edges_are_as_far_as_counted_one_by_one():
    target = np.zeros((9, 11), np.uint8)
    target[3:6, 4:8] = 1
    edges = near_edges(target, 1)
    first = np.zeros(target.shape, bool)
    first[:, 1:] |= target[:, 1:] != target[:, :-1]
    first[1:] |= target[1:] != target[:-1]
    for y, x in np.ndindex(target.shape):
        assert edges[y, x] == first[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].any()


def test_the_close_up_is_where_predictions_differ_near_an_edge():
    target = np.zeros((100, 100), np.uint8)
    target[:, 70:] = 1
    before, after = target.copy(), target.copy()
    before[:40, :40] = 1  # a large difference, but far from any edge
    before[80:, 66:74] = 2
    y, x = find_difference(before, after, target, IGNORE)
    assert (y.stop - y.start, x.stop - x.start) == (30, 30)
    assert y.stop == 100
    assert x.start <= 68
    assert x.stop >= 72


def test_errors_are_counted_over_labelled_pixels_alone():
    target = draw_target(0)
    worse = target.copy()
    worse[:10] = (target[:10] + 1) % 8
    cells = (Cell("a", "r", "none", worse, ""), Cell("b", "r", "fcn8s", target, ""))
    pack = DrawnPack()
    image = Panel("x", pack.image(0), target, cells, pack.class_names, pack.palette, IGNORE)
    figure = draw_errors([image], "a", "b")
    counted = target != IGNORE
    share = 100 * (worse != target)[counted].mean()
    notes = [ax.get_title(loc="right") for ax in figure.axes]
    assert notes == ["", "", f"{share:.1f} % wrong", "0.0 % wrong"]
    changed = draw_closeups([image], "a", "b").axes[4].get_title(loc="right")
    assert changed.endswith("−0 px")
