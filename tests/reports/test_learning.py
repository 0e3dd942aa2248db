"""Scores by training images: which lines there are, where their points stand, and what is said."""

import numpy as np
import pytest
from streets import FINGERPRINT, finish, make_spec

from bench.plan import Plan, PlannedRun, Run
from reports.figures.learning import MAX_LINES, has_curve, learning_frame, plot_learning
from reports.figures.listing import draw_figures
from reports.files import list_possible
from reports.study import read_study

IMAGES = {0.1: 27, 0.5: 133, 1.0: 266}


def plan_of(skips=("fcn32s", "fcn8s"), fractions=tuple(IMAGES), seeds=(0, 1), in_epochs=False):
    runs = []
    for fraction in fractions:
        for skip in skips:
            for seed in seeds:
                spec = make_spec("vgg16", skip, seed)
                data = spec.data.model_copy(update={"train_fraction": fraction})
                steps = int(spec.train.steps * fraction) if in_epochs else spec.train.steps
                train = spec.train.model_copy(update={"steps": steps})
                own = {"data": data, "train": train}
                run = Run(spec.model_copy(update=own), FINGERPRINT)
                runs.append(PlannedRun(f"{fraction}-{skip}", run))
    return Plan("images", "How many images?", "more is better", tuple(runs))


@pytest.fixture
def study(small_store):
    plan = plan_of()
    for planned in plan.runs:
        images = IMAGES[planned.run.spec.data.train_fraction]
        finish(small_store, planned, num_trained=images)
    return read_study(plan, small_store)


def test_each_skip_has_a_line_over_the_images_that_its_runs_recorded(study):
    frame = learning_frame(study.summary, study.records, study.levels, study.intervals.arms)
    assert dict(zip(frame["variant"], frame["num_trained"], strict=True)) == {
        planned.variant: IMAGES[planned.run.spec.data.train_fraction] for planned in study.plan.runs
    }
    assert list(dict.fromkeys(frame["line"])) == ["fcn32s", "fcn8s"]
    assert has_curve(frame)
    ax = plot_learning(frame, study.names).axes[0]
    assert ax.get_xscale() == "log"
    means = study.runs.groupby("variant")["miou"].mean()
    for line, skip in zip(ax.lines, ("fcn32s", "fcn8s"), strict=True):
        assert np.allclose(line.get_xdata(), list(IMAGES.values()), rtol=0.01)
        assert list(line.get_ydata()) == pytest.approx([means[f"{f}-{skip}"] for f in IMAGES])
    bars = [segment for bars in ax.collections for segment in bars.get_segments()]
    assert len(bars) == len(frame)
    for (_, low), (_, high) in bars:
        assert low < high


def test_the_report_has_the_figure_where_the_share_varies_and_says_what_it_shows(study):
    drawn = {one.name: one for one in draw_figures(study)}
    assert "figures/learning.svg" in list_possible(study.plan)
    assert "27" in drawn["learning"].finding
    assert "266" in drawn["learning"].finding
    assert "95 % interval" in drawn["learning"].caption


def test_steps_that_follow_from_the_share_part_no_line(small_store):
    plan = plan_of(in_epochs=True)
    for planned in plan.runs:
        images = IMAGES[planned.run.spec.data.train_fraction]
        finish(small_store, planned, num_trained=images)
    study = read_study(plan, small_store)
    frame = learning_frame(study.summary, study.records, study.levels, study.intervals.arms)
    assert set(frame["line"]) == {"fcn32s", "fcn8s"}
    assert has_curve(frame)


def test_one_share_older_records_and_very_many_lines_have_no_curve(study, small_store):
    frame = learning_frame(study.summary, study.records, study.levels, study.intervals.arms)
    assert not has_curve(frame[frame["num_trained"] == 27])
    assert not has_curve(frame.iloc[:0])
    many = frame.assign(line=[f"{k}" for k in range(len(frame))])
    assert not has_curve(many)
    rows = [frame.assign(line=f"{k}") for k in range(MAX_LINES + 1)]
    assert not has_curve(type(frame)(np.concatenate(rows), columns=frame.columns))
    old = plan_of(skips=("fcn16s",))
    for planned in old.runs:
        finish(small_store, planned)
    assert "learning" not in {one.name for one in draw_figures(read_study(old, small_store))}
