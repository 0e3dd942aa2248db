import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import _pylab_helpers
from streets import CLASS_NAMES, IGNORE, NUM_IMAGES, DrawnPack, finish

from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.plan import Plan, PlannedRun, Run
from bench.spec import DataSpec
from fcn.errors import InputError
from reports.figures.canvas import save_figure, shorten
from reports.figures.curves import plot_curves
from reports.figures.plots import plot_classes, plot_scores, plot_skip_grid
from reports.images.drawing import draw_panel
from reports.images.kept import open_kept
from reports.images.panels import Cell, Panel, colour_classes, load_panels
from reports.results.frame import class_frame, curves_frame, eval_frame, runs_frame
from reports.stats.summary import summarize_variants
from reports.tables.classes import class_grid

HOSTILE = ['"><script>alert(1)</script>', r"$\bad{x}$", '=HYPERLINK("x")', "a|b", "_x", "\x1b[2J"]


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_the_grid_says_each_cells_mean_in_percent(plan, store):
    runs = runs_frame(plan, store)
    ax = plot_skip_grid(summarize_variants(runs)).axes[0]
    texts = iter(texts_of(ax))
    for backbone in ("alexnet", "vgg16", "googlenet", "resnet50"):
        for skip in ("none", "fcn16s", "fcn8s"):
            mine = runs[(runs["backbone"] == backbone) & (runs["skip"] == skip)]
            assert next(texts).split(" ± ")[0] == f"{100 * np.nanmean(mine['miou']):.1f}"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["none", "fcn16s", "fcn8s"]


def test_a_shorter_svg_is_the_same_image_to_a_hundredth_of_a_point(plan, store):
    """By an XML parser: the same elements with the same attributes, numbers along paths rounded."""
    number = re.compile(r"-?[\d.]+(?:e-?\d+)?")
    long = io.BytesIO()
    plot_scores(runs_frame(plan, store), grouped=True).savefig(long, format="svg")
    short = shorten(long.getvalue().decode())
    assert len(short) < 0.95 * len(long.getvalue())
    for one, other in zip(parse(long.getvalue()), parse(short.encode()), strict=True):
        assert one.tag == other.tag
        assert (one.text or "").strip() == (other.text or "").strip()
        path, kept = one.attrib.pop("d", ""), other.attrib.pop("d", "")
        assert one.attrib == other.attrib
        assert number.sub("", path).split() == number.sub("", kept).split()
        numbers = ([float(found) for found in number.findall(text)] for text in (path, kept))
        assert all(abs(a - b) <= 0.00501 for a, b in zip(*numbers, strict=True))


def parse(svg):
    """List an image's elements, but for what says who made it."""
    root = ElementTree.fromstring(svg)
    for about in root.findall("{*}metadata"):
        root.remove(about)
    return root.iter()


def test_a_cell_without_a_run_is_hatched(plan, store):
    runs = runs_frame(plan, store)
    runs.loc[runs["variant"] == "vgg16-fcn8s", ["miou"]] = np.nan
    ax = plot_skip_grid(summarize_variants(runs)).axes[0]
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert [patch.get_xy() for patch in hatched] == [(2, 1)]
    assert texts_of(ax)[-1] == "–"


def test_seeds_are_dots_and_means_are_marks(plan, store):
    runs = runs_frame(plan, store)
    left, right = plot_scores(runs, grouped=True).axes
    for ax, score in ((left, "pixel_acc"), (right, "miou")):
        dots = np.concatenate([c.get_offsets()[:, 0].compressed() for c in ax.collections])
        assert sorted(dots) == pytest.approx(sorted(runs[score].dropna()))
        marks = [x for line in ax.lines if line.get_marker() == "|" for x in line.get_xdata()]
        means = runs.groupby("variant")[score].mean()
        assert sorted(m for m in marks if not np.isnan(m)) == pytest.approx(sorted(means))


def test_a_mean_stands_where_its_seeds_do(plan, store):
    ax = plot_scores(runs_frame(plan, store), grouped=True).axes[0]
    dots = {round(y, 3) for c in ax.collections for y in c.get_offsets()[:, 1]}
    marks = {round(y, 3) for line in ax.lines if line.get_marker() == "|" for y in line.get_ydata()}
    assert marks == dots


def test_a_variant_without_a_finished_run_is_marked(plan, store):
    runs = runs_frame(plan, store)
    gone = runs["variant"] == "vgg16-fcn8s"
    runs.loc[gone, ["miou", "pixel_acc"]] = np.nan
    runs.loc[gone, "status"] = "failed"
    for grouped in (True, False):
        for ax in plot_scores(runs, grouped=grouped).axes:
            assert texts_of(ax) == ["× no finished run"]


def test_curves_keep_the_mean_of_the_loss(plan, store):
    curves = curves_frame(plan, store)
    watched = eval_frame(plan, store)
    variants = summarize_variants(runs_frame(plan, store))
    figure = plot_curves(curves, watched, variants, grouped=True)
    assert len(figure.axes) == 8  # four backbones, loss and mIoU
    line = figure.axes[1].lines[0]
    mine = curves[curves["variant"] == "vgg16-none"]
    assert np.mean(line.get_ydata()) == pytest.approx(mine["loss"].mean())
    watched_line = figure.axes[5].lines[0]
    mine = watched[watched["variant"] == "vgg16-none"].groupby("step")["miou"].mean()
    assert list(watched_line.get_ydata()) == pytest.approx(list(mine))


def test_class_cells_are_percentages_and_absent_ones_dashes(plan, store):
    classes = class_frame(plan, store)
    ax = plot_classes(class_grid(classes, plan.variants)).axes[0]
    mine = classes[(classes["variant"] == "alexnet-none") & (classes["class_name"] == "sky")]
    assert texts_of(ax)[0] == f"{100 * mine['iou'].mean():.1f}"
    assert texts_of(ax).count("–") == 12


def test_hostile_names_are_drawn_as_they_are(make_plan, small_store):
    plan = make_plan(HOSTILE)
    for planned in plan.runs:
        finish(small_store, planned, class_names=[*HOSTILE, *CLASS_NAMES[6:]])
    runs = runs_frame(plan, small_store)
    summary = summarize_variants(runs)
    grid = class_grid(class_frame(plan, small_store), plan.variants)
    curves, watched = curves_frame(plan, small_store), eval_frame(plan, small_store)
    for figure in (
        plot_scores(runs, grouped=False),
        plot_classes(grid),
        plot_curves(curves, watched, summary, grouped=False),
    ):
        svg = save_figure(figure)[".svg"].decode()
        assert "<script" not in svg
        assert "\x1b" not in svg


def test_figures_leave_nothing_behind(plan, store):
    before = dict(mpl.rcParams)
    plot_scores(runs_frame(plan, store), grouped=True)
    assert dict(mpl.rcParams) == before
    assert not _pylab_helpers.Gcf.figs


def test_a_figure_renders_to_the_same_bytes(plan, store):
    summary = summarize_variants(runs_frame(plan, store))
    assert save_figure(plot_skip_grid(summary)) == save_figure(plot_skip_grid(summary))


@pytest.mark.usefixtures("drawn_pack")
def test_images_are_spaced_evenly_and_a_missing_run_says_so(plan, store):
    images, rule = load_panels(open_kept(plan, store), store)
    assert rule == "evenly spaced over the images whose prediction was kept"
    assert [image.name for image in images] == ["street_001", "street_004", "street_006"]
    cells = {cell.variant: cell for cell in images[0].cells}
    assert cells["resnet50-none"].pred is None
    assert cells["resnet50-none"].note == "run missing"
    cell, target = cells["vgg16-fcn8s"], images[0].target
    known = target != IGNORE
    assert cell.note == f"{100 * (cell.pred == target)[known].mean():.1f} %"


def test_images_take_the_palette_and_grey_for_unlabelled():
    target = np.array([[0, 1], [IGNORE, IGNORE]], np.uint8)
    pack = DrawnPack()
    names, palette = pack.class_names, pack.palette
    image = Panel("x", np.zeros((2, 2, 3), np.uint8), target, (), names, palette, IGNORE)
    colours = colour_classes(target, image)
    assert [tuple(c) for c in colours[0]] == [palette[0], palette[1]]
    assert all(len(set(c)) == 1 for c in colours[1].tolist())


@pytest.mark.parametrize("grouped", [True, False])
def test_a_image_has_a_cell_for_image_target_and_each_variant(grouped):
    pack = DrawnPack()
    target = pack.target(0)
    arms = [(b, s) for b in ("r18", r"$\bad{x}$") for s in ("none", "fcn8s", "_x")][:-1]
    cells = tuple(
        Cell(f"{b}-{s}", b, s, None if s == "none" else target, "run failed") for b, s in arms
    )
    names = (HOSTILE[1], *pack.class_names[1:])
    image = Panel("x", pack.image(0), target, cells, names, pack.palette, IGNORE)
    figure = draw_panel(image, grouped=grouped)
    assert len(figure.axes) == 2 + (6 if grouped else 5)
    said = [text for ax in figure.axes for text in texts_of(ax)]
    rows = ["r18", r"$\bad{x}$"] * grouped
    assert sorted(said) == sorted([*rows, *["run failed"] * 2, *["not planned"] * grouped])
    save_figure(figure, svg=False)


def test_without_a_pack_a_sentence_says_so(plan, store):
    with pytest.raises(InputError, match="not in this store"):
        open_kept(plan, store)


def test_a_real_pack_gives_its_images(small_store, make_plan):
    options = {"size": 32, "num_train": 1, "num_val": 1, "num_test": 3}
    dataset = open_dataset(DataSpec(dataset="shapes", options=options), None)
    made = pack(dataset, small_store.packs_dir)
    spec = make_plan(["a"]).runs[0].run.spec
    planned = PlannedRun("a", Run(spec, dataset.fingerprint()))
    finish(small_store, planned)
    index = made.indices("test")[1]
    np.savez(
        small_store.run_dir(planned.run.id) / "eval" / "test.npz",
        names=np.array([f"image {i}" for i in range(NUM_IMAGES)]),
        predicted_names=np.array([made.name(index)]),
        pred_0=made.target(index) % 6,
    )
    images, _ = load_panels(open_kept(Plan("x", "x?", "", (planned,)), small_store), small_store)
    assert [image.name for image in images] == [made.name(index)]
    assert (images[0].image == made.image(index)).all()
    assert images[0].cells[0].note == "100.0 %"


def test_skips_keep_their_order_and_colours_where_not_all_variants_are_drawn(plan, store):
    """The first variant drawn may not have the first skip."""
    runs = runs_frame(plan, store)
    skips = list(dict.fromkeys(runs["skip"]))
    cut = runs[runs["variant"] != "alexnet-none"]
    whole, part = (
        [text.get_text() for text in plot_scores(own, grouped=True, skips=skips).legends[0].texts]
        for own in (runs, cut)
    )
    assert whole == part == skips
    cells = summarize_variants(cut)
    labels = plot_skip_grid(cells, skips).axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == skips
