import numpy as np
import pytest

from reports.figures.canvas import adapt, save_figure
from reports.figures.confusions import plot_confusions, sum_confusions
from reports.figures.costs import list_costs, plot_costs
from reports.figures.curves import plot_curves
from reports.figures.effects import MAX_ROWS, Effects, plot_differences, plot_effects
from reports.results.frame import curves_frame, eval_frame, read_records, runs_frame
from reports.stats.changes import is_of, list_groups
from reports.stats.costs import measure_costs
from reports.stats.summary import summarize_variants
from reports.study import read_study
from reports.style import INK, ON_DARK, PAPER, points


@pytest.fixture(scope="module")
def runs(plan, store):
    return runs_frame(plan, store)


@pytest.fixture(scope="module")
def summary(plan, runs):
    return summarize_variants(runs, plan.baseline)


def test_each_change_is_a_bar_with_its_contexts_and_how_far_these_are_from_it(plan, store):
    study = read_study(plan, store)
    effects = [
        Effects(
            rows,
            *(frame[is_of(frame, change)] for frame in (study.main_effects, study.interactions)),
        )
        for rows in list_groups(study.changes[study.changes["factor"] == "skip"])
        for change in [rows.iloc[0].to_dict()]
    ]
    figure = plot_effects(effects)
    figure.draw_without_rendering()
    marks = [text for *_, text in figure.marks()]
    assert len(marks) == 3 * (1 + 4 + 4)  # three changes: the mean, contexts, and these less it
    assert marks[0].startswith("none → fcn8s: +")
    by_hand = study.runs.pivot_table(index=["backbone", "seed"], columns="skip", values="miou")
    gain = (by_hand["fcn8s"] - by_hand["none"])["vgg16"].mean()
    assert any(text.startswith(f"vgg16, none → fcn8s: {points(gain)} [") for text in marks)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[:5] == ["none → fcn8s", "alexnet", "vgg16", "googlenet", "resnet50"]


def test_of_very_many_contexts_a_figure_shows_the_means_alone(plan, store):
    study = read_study(plan, store)
    rows = study.changes[study.changes["factor"] == "skip"].iloc[:1]
    many = [
        Effects(rows.loc[rows.index.repeat(30)], study.main_effects[:1], study.interactions)
    ] * 2
    figure = plot_effects(many)
    assert len(figure.axes[0].get_yticklabels()) == 2


def test_of_contexts_without_a_mean_as_many_are_drawn_as_can_be_read(plan, store):
    changes = read_study(plan, store).changes
    rows = changes[changes["factor"] == "skip"].iloc[:1]
    many = Effects(rows.loc[rows.index.repeat(MAX_ROWS + 1)], rows[:0], rows[:0])
    assert len(plot_effects([many]).axes[0].get_yticklabels()) == MAX_ROWS


def test_differences_take_intervals_where_there_are_any(summary):
    rows = len(summary) - 1
    plain = plot_differences(summary, "alexnet-none")
    assert sum(" [" in text for *_, text in plain.marks()) == rows - 2  # two have one pair
    given = summary.assign(miou_diff_low=-0.001, miou_diff_high=0.5)
    ends = [line.get_xdata() for line in plot_differences(given, "alexnet-none").axes[0].lines]
    assert sum(list(x) == [-0.001, 0.5] for x in ends if np.size(x) == 2) == rows


def draw_costs(runs, summary, fronts):
    costs, names = measure_costs(runs), {name: name for name in summary["variant"]}
    figure = plot_costs(summary, costs, fronts, names, grouped=True)
    figure.draw_without_rendering()
    return figure


def test_costs_are_drawn_where_recorded_and_differ(runs, summary):
    assert list_costs(measure_costs(runs)) == ["num_parameters", "train_seconds"]
    more = runs.assign(latency_ms=np.arange(len(runs)) + 1.0, gmacs=3.0)
    assert list_costs(measure_costs(more)) == ["num_parameters", "latency_ms", "train_seconds"]
    figure = draw_costs(runs, summary, {})
    done = int(summary["miou_mean"].notna().sum())
    assert len(figure.marks()) == 2 * done


def test_what_another_beats_is_hollow_and_bars_span_the_runs(runs, summary):
    front = ["vgg16-fcn8s"]
    figure = draw_costs(runs, summary, {"train_seconds": front})
    lines = figure.axes[1].lines
    dots = [line for line in lines if len(line.get_xdata()) == 1]
    filled = [line for line in dots if line.get_markerfacecolor() != PAPER]
    assert len(filled) == 1
    cost = measure_costs(runs)["train_seconds"]
    assert filled[0].get_xdata()[0] == pytest.approx(cost.typical["vgg16-fcn8s"])
    spans = [tuple(line.get_xdata()) for line in lines if len(line.get_xdata()) == 2]
    assert (cost.low["vgg16-fcn8s"], cost.high["vgg16-fcn8s"]) in spans
    assert all(line.get_markerfacecolor() != PAPER for line in figure.axes[0].lines)


@pytest.mark.parametrize("most", [1e-3, 0.13, 7.0, 3e3, 8e5, 4e8])
@pytest.mark.parametrize("least", [0.0, 0.2, 0.34])
def test_every_range_of_durations_has_ticks_within_it(runs, summary, least, most):
    """Trials last milliseconds, the longest grids months; without a step it is no time at all."""
    lasted = runs.assign(train_seconds=np.linspace(least * most, most, len(runs)))
    figure = draw_costs(lasted, summary, {})
    ax = figure.axes[list_costs(measure_costs(lasted)).index("train_seconds")]
    low, high = ax.get_xlim()
    said = [t.label1.get_text() for t in ax.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    assert said
    assert len(set(said)) == len(said)


def test_confusion_rows_add_up_to_one(plan, store):
    records = read_records(plan, store)
    counts = sum_confusions(records, ["vgg16-fcn8s", "absent"])
    assert list(counts) == ["vgg16-fcn8s"]
    results = [r.result for r in records if r.planned.variant == "vgg16-fcn8s"]
    assert (counts["vgg16-fcn8s"] == sum(np.array(r.confusion) for r in results)).all()
    figure = plot_confusions(counts, results[0].class_names)
    said = [text for *_, text in figure.marks()]
    shares = [float(text.split(": ")[-1].split()[0]) for text in said if "road called" in text]
    assert sum(shares) == pytest.approx(100, abs=4)  # cells below half a percent are empty


def test_curves_run_over_images_and_seconds_too(plan, store):
    curves, watched = curves_frame(plan, store), eval_frame(plan, store)
    assert (curves["images"] == 8 * curves["step"]).all()
    assert (watched["seconds"] == 1.5 * watched["step"]).all()


def test_what_was_watched_without_a_score_is_no_curve(plan, store, summary):
    """Labels of a split may be void everywhere: no score of one variant, or of all."""
    curves, watched = curves_frame(plan, store), eval_frame(plan, store)
    scored = watched["miou"].where(watched["variant"] != "vgg16-fcn8s")
    lines = [
        sum(len(ax.lines) for ax in plot_curves(curves, frame, summary, grouped=True).axes)
        for frame in (watched, watched.assign(miou=scored), watched.assign(miou=np.nan))
    ]
    assert lines == [2 * lines[2], 2 * lines[2] - 1, lines[2]]


def test_a_figure_is_dark_for_slides_and_turns_dark_with_the_page(summary):
    files = save_figure(plot_differences(summary, "alexnet-none"))
    assert set(files) == {".svg", "-dark.svg", ".png"}
    assert INK in files[".svg"].decode()
    assert not [c for c in ON_DARK if c in files["-dark.svg"].decode()]
    adaptive = adapt(files[".svg"])
    assert adaptive.startswith("<svg")
    assert f"fill:{ON_DARK[INK]}!important" in adaptive
