import dataclasses

import numpy as np
import pandas as pd
import pytest
from streets import DrawnPack, draw_target

from bench.metrics import summarize
from reports.figures.bound import STRIDES, bound_split, bound_strides, find_strides, plot_bound


def coarsen_plainly(target, stride, num_classes):
    """Give each cell its most frequent counted class, one cell at a time."""
    coarse = np.zeros_like(target)
    for y in range(0, target.shape[0], stride):
        for x in range(0, target.shape[1], stride):
            cell = target[y : y + stride, x : x + stride]
            votes = np.bincount(cell[cell < num_classes], minlength=num_classes)
            coarse[y : y + stride, x : x + stride] = votes.argmax()
    return coarse


@pytest.mark.parametrize("stride", [4, 16, 128])
def test_the_bound_is_that_of_cells_voted_one_by_one(stride):
    targets = [draw_target(i, 50 + 7 * i, 61) for i in range(3)]
    confusion = np.zeros((8, 8), int)
    for target in targets:
        known = target != 255
        np.add.at(confusion, (target[known], coarsen_plainly(target, stride, 8)[known]), 1)
    assert bound_strides(targets, 8)[stride] == pytest.approx(summarize(confusion).miou)


def test_images_without_a_label_are_no_part_of_the_bound():
    class HalfVoid(DrawnPack):
        def target(self, index):
            return np.full((9, 9), 255, np.uint8) if index % 2 else super().target(index)

    bound, count = bound_split(HalfVoid(), "test")
    assert count == 4
    assert bound == bound_strides([draw_target(i) for i in (0, 2, 4, 6)], 8)


def test_finer_strides_allow_more_and_whole_cells_everything():
    bound, _ = bound_split(DrawnPack(), "test")
    assert list(bound) == list(STRIDES)
    assert sorted(bound.values(), reverse=True) == list(bound.values())
    blocks = np.kron(np.arange(4).reshape(2, 2), np.ones((128, 128))).astype(np.uint8)
    assert set(bound_strides([blocks], 4).values()) == {1.0}


def test_a_network_at_half_size_predicts_at_twice_its_stride(plan):
    runs = []
    for planned in plan.runs:
        data = planned.run.spec.data.model_copy(update={"input_scale": 0.5})
        spec = planned.run.spec.model_copy(update={"data": data})
        runs.append(dataclasses.replace(planned, run=dataclasses.replace(planned.run, spec=spec)))
    strides = find_strides(dataclasses.replace(plan, runs=tuple(runs)))
    assert strides["vgg16-fcn8s"] == 16
    assert strides["vgg16-fcn16s"] == 32
    assert "vgg16-none" not in strides  # a name that tells no stride


def test_variants_stand_at_their_stride():
    summary = pd.DataFrame({"variant": ["a", "b"], "backbone": "r", "miou_mean": [0.5, 0.6]})
    figure = plot_bound({4: 0.9, 8: 0.8, 16: 0.7}, summary, {"a": 32.0, "b": 16.0})
    line = figure.axes[0].lines[-1]
    assert list(line.get_xdata()) == [16, 32]
    assert list(line.get_ydata()) == [0.6, 0.5]


def test_a_grid_without_finished_runs_shows_the_bound_alone():
    columns = ["variant", "backbone", "miou_mean", "num_done"]
    summary = pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    figure = plot_bound({4: 0.9, 8: 0.8, 16: 0.7}, summary, {})
    assert len(figure.axes) == 1
