"""Targets beside the first: their rows, their intervals, their place on the page."""

import dataclasses

import numpy as np
import pytest
from streets import FINGERPRINT, NUM_IMAGES, fill, make_spec

from bench.metrics import summarize
from bench.plan import Plan, PlannedRun, Published, Run
from bench.store.atomic import write_json
from bench.store.runs import Store
from reports.page import write_report
from reports.stats.other_targets import other_targets_frame
from reports.study import read_study
from reports.tables.other_targets import other_targets_table
from reports.tables.published import published_frame

GEOMETRY = ("sky", "horizontal", "vertical")


def _counts(variant, seed):
    """Pixels right and wrong of each image, (N, 3, 3); the second variant is better."""
    rng = np.random.default_rng([seed, variant])
    wrong = rng.integers(5, 50 - 20 * variant, (NUM_IMAGES, 3, 3))
    wrong *= 1 - np.eye(3, dtype=int)
    right = 400 - wrong.sum(2)  # 400 pixels of each class: every run saw the same labels
    return (wrong + right[..., None] * np.eye(3, dtype=int)).astype(np.int32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two variants of two seeds that learnt geometry too, and one that did not."""
    store = Store(tmp_path_factory.mktemp("store"))
    runs = []
    for variant in ("shared", "better", "alone"):
        for seed in (0, 1):
            spec = make_spec("vgg16", "fcn8s", seed)
            model = spec.model.model_copy(update={"head": variant})
            runs.append(
                PlannedRun(variant, Run(spec.model_copy(update={"model": model}), FINGERPRINT))
            )
    published = (
        Published(
            variant="better", source="a paper", differs="much", pixel_acc=0.943, target="geometric"
        ),
        Published(variant="better", source="a paper", differs="much", pixel_acc=0.852),
    )
    plan = Plan("joint", "Does sharing hurt?", "no", tuple(runs), published=published)
    fill(store, plan)
    for planned in plan.runs[:4]:
        run = planned.run
        confusions = _counts(int(planned.variant == "better"), run.spec.seed)
        result = store.result(run.id)
        other = {"class_names": GEOMETRY, "palette": [(0, 0, 0)] * 3}
        other["confusion"] = confusions.sum(0, dtype=int).tolist()
        folder = store.run_dir(run.id)
        write_json(
            folder / "result.json",
            dataclasses.asdict(dataclasses.replace(result, others={"geometric": other})),
        )
        path = folder / "eval" / f"{result.split}.npz"
        with np.load(path) as arrays:
            kept = dict(arrays)
        np.savez(path, **kept, **{"confusions.geometric": confusions})
    return plan, store


def test_rows_are_scores_over_seeds_with_their_intervals(made):
    plan, store = made
    study = read_study(plan, store)
    frame = study.labels
    assert frame[["variant", "target", "num_done"]].values.tolist() == [
        ["shared", "geometric", 2],
        ["better", "geometric", 2],
    ]
    for row, variant in zip(frame.to_dict("records"), (0, 1), strict=True):
        scores = [summarize(_counts(variant, seed).sum(0)) for seed in (0, 1)]
        for name in ("pixel_acc", "miou"):
            values = [getattr(score, name) for score in scores]
            assert row[f"{name}_mean"] == pytest.approx(np.mean(values))
            assert row[f"{name}_std"] == pytest.approx(np.std(values, ddof=1))
            assert row[f"{name}_low"] < row[f"{name}_mean"] < row[f"{name}_high"]
    shown = other_targets_table(frame).cells
    assert list(shown.columns[:3]) == ["variant", "target", "seeds"]
    assert shown["pixel acc"].str.contains("±").all()


def test_counts_that_do_not_add_up_leave_means_without_intervals(made):
    plan, store = made
    records = read_study(plan, store).records
    result = records[0].result
    other = {**result.others["geometric"], "confusion": np.eye(3, dtype=int).tolist()}
    spoiled = dataclasses.replace(result, others={"geometric": other})
    changed = [dataclasses.replace(records[0], result=spoiled), *records[1:]]
    frame = other_targets_frame(changed, store, 200)
    assert np.isnan(frame["miou_low"][0])
    assert frame["miou_mean"].notna().all()
    assert frame["miou_low"].notna()[1]


def test_published_numbers_of_a_target_are_beside_it(made):
    plan, store = made
    study = read_study(plan, store)
    frame = published_frame(plan.published, study.summary, study.labels)
    geometric, first = frame.to_dict("records")
    ours = study.labels.set_index("variant")["pixel_acc_mean"]["better"]
    assert geometric["ours"] == ours
    assert geometric["difference"] == pytest.approx(ours - 0.943)
    assert first["ours"] == study.summary.set_index("variant")["pixel_acc_mean"]["better"]


def test_page_and_tables_show_them(made, tmp_path):
    plan, store = made
    page = write_report(plan, store, tmp_path)
    html = page.read_text()
    assert "Further targets" in html
    assert "pixel acc, geometric" in html
    assert (tmp_path / "tables" / "labels.csv").read_text().count("geometric") == 2
    assert "target" in (tmp_path / "summary.md").read_text()


def test_a_page_of_one_target_says_nothing_of_others(made, tmp_path):
    plan, store = made
    alone = dataclasses.replace(plan, runs=plan.runs[4:], published=())
    html = write_report(alone, store, tmp_path).read_text()
    assert "Further targets" not in html
    assert not (tmp_path / "tables" / "labels.csv").exists()
