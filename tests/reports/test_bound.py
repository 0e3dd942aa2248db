import dataclasses

import numpy as np
import pandas as pd
import pytest
from streets import DrawnPack, draw_target

from bench.data.stride_bound import STRIDES, bound_strides, count_majority
from bench.scoring import Scoring
from reports.figures.bound import bound_split, find_strides, plot_bound


def test_images_without_a_label_are_no_part_of_the_bound():
    class HalfVoid(DrawnPack):
        def target(self, index):
            return np.full((9, 9), 255, np.uint8) if index % 2 else super().target(index)

    bound, count = bound_split(HalfVoid(), "test")
    assert count == 4
    assert bound == bound_strides([draw_target(i) for i in (0, 2, 4, 6)], 8)


def test_the_bound_is_a_mean_over_the_classes_that_the_question_counts():
    """What variants reached stands beside it, without the classes that are left out."""
    pack = DrawnPack()
    out = pack.class_names[0]
    bound, count = bound_split(pack, "test", Scoring(exclude_classes=(out,)))
    confusions = sum(count_majority(draw_target(i), len(pack.class_names)) for i in range(count))
    for (stride, found), one in zip(bound.items(), confusions, strict=True):
        union = one.sum(0) + one.sum(1) - np.diag(one)
        ious = [one[c, c] / union[c] for c in range(1, len(union)) if union[c]]
        assert found == pytest.approx(np.mean(ious)), stride
    usual, _ = bound_split(pack, "test")
    assert usual[32] != pytest.approx(bound[32])


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
