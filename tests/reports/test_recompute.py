"""`recompute.py`, which lies beside each report, finds all of its numbers by another route."""

import ast
import csv
import dataclasses
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from judged import COLLAPSED, FAIR, GOOD, STRAY, judge, without_baseline

import reports.recompute
from bench.plan import Published
from bench.scoring import Scoring
from reports.formats import to_csv
from reports.results.frame import read_records
from reports.results.report_folder import ReportFolder
from reports.sources import list_sources
from reports.study import read_study

SCRIPT = Path(reports.recompute.__file__)
PUBLISHED = sorted((Path(__file__).parent.parent.parent / "docs" / "results").glob("*/counts.npz"))


def draw_images(key, skill, num_images=12, num_classes=3, absent=()):
    """Confusions of images whose labels are the same for all keys and skills, (N, C, C)."""
    C = num_classes
    target = np.random.default_rng([num_images, C]).integers(20, 400, (num_images, C))
    target[:, list(absent)] = 0
    rate = np.random.default_rng(key).normal(skill, 0.05, target.shape).clip(0, 1)
    confusions = np.zeros((num_images, C, C), np.int32)
    c, hit = np.arange(C), (target * rate).astype(np.int32)
    confusions[:, c, c] = hit
    confusions[:, c, (c + 1) % C] += (target - hit).astype(np.int32)
    return confusions


def draw_arms(skills, seeds=3, spread=0.01, **images):
    """Arms of named skills, of as many seeds each, or so many of each."""
    numbers = seeds if isinstance(seeds, dict) else dict.fromkeys(skills, seeds)
    rng = np.random.default_rng(0)
    return {
        name: [
            draw_images([k, seed], skill + rng.normal(0, spread), **images)
            for seed in range(numbers[name])
        ]
        for k, (name, skill) in enumerate(skills.items())
    }


SKILLS = {"base": 0.6, "near": 0.605, "more": 0.7, "most": 0.72}


def write(plan, store, folder):
    """Write what is beside a report, without the page; return its study."""
    study = read_study(plan, store)
    folder.mkdir(exist_ok=True)
    (folder / "summary.csv").write_text(to_csv(study.summary))
    for name, content in list_sources(study).items():
        (folder / name).write_bytes(content)
    return study


def run(folder, *options):
    """Run the script of a report's folder as a reader would, far from this package."""
    command = [sys.executable, "-I", *options, str(folder / "recompute.py")]
    return subprocess.run(command, cwd="/", check=False, capture_output=True, text=True)


def require_same(plan, store, folder):
    study = write(plan, store, folder)
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "largest deviation" in done.stdout
    return study, done.stdout


def test_a_grid_with_missing_runs_is_recomputed(plan, store, tmp_path):
    study, said = require_same(plan, store, tmp_path)
    assert said.startswith("600 numbers of 12 variants")
    costs = [name for name in study.summary if name.startswith("train_seconds")]
    assert all(name in said for name in costs)  # said to be copied
    assert "miou_mean" not in said.split("copied")[1]


@pytest.mark.parametrize("seeds", [1, 2, {"base": 3, "near": 1, "more": 2, "most": 4}])
def test_seeds_may_be_one_few_or_unequal(small_store, tmp_path, seeds):
    study, _ = require_same(judge(small_store, draw_arms(SKILLS, seeds)), small_store, tmp_path)
    assert study.summary["miou_diff_low"].notna().sum() == 3


def test_variants_may_be_thrown_unequally_far(small_store, tmp_path):
    arms = draw_arms(SKILLS, 5, spread=0.001) | draw_arms({"wild": 0.6, "wide": 0.7}, 5, spread=0.2)
    study, _ = require_same(judge(small_store, arms), small_store, tmp_path)
    (one,) = study.intervals.findings.sets
    assert len(one.model.variances) > 1


def test_outliers_widen_the_interval_and_stand_beside(small_store, tmp_path):
    arms = {"base": [[GOOD] * 6, [FAIR] * 6, [GOOD] * 5 + [FAIR]]}
    arms |= {"bad": [[FAIR] * 6, [COLLAPSED] * 6, [GOOD] * 6]}
    arms |= {"lone": [[FAIR] * 5 + [GOOD], [COLLAPSED] * 6]}  # one seed is left
    study, _ = require_same(judge(small_store, arms), small_store, tmp_path)
    assert set(study.intervals.outliers) == {"bad", "lone"}
    assert study.summary["miou_diff_without"].notna().sum() == 2


def test_sets_of_images_are_not_compared_and_classes_may_be_absent(small_store, tmp_path):
    arms = draw_arms({"base": 0.6, "near": 0.7}, 2, absent=(2,))
    arms |= draw_arms({"other": 0.6, "there": 0.65}, 2, num_images=9)
    arms |= {"stray": [[GOOD] * 3, [STRAY] * 3], "plain": [[GOOD] * 3, [FAIR] * 3]}
    plan = judge(small_store, arms, other=("a" * 64, "elsewhere"), there=("a" * 64, "elsewhere"))
    study, said = require_same(plan, small_store, tmp_path)
    assert study.summary["miou_diff_mean"].notna().sum() == 1
    assert f"numbers of {len(arms)} variants" in said


@pytest.mark.parametrize("absent", ["zero", "leave_out"])
def test_absent_is_what_the_split_lacks_and_not_what_an_image_does(small_store, tmp_path, absent):
    """Five images lack class 1 and predict it; class 2 none has, but for those of `other`."""
    arms = draw_arms(SKILLS, 2, absent=(2,)) | draw_arms({"other": 0.6}, 2, num_images=9)
    for confusions in (own for seeds in arms.values() for own in seeds):
        confusions[:5, 1] = 0
    scoring = Scoring(absent=absent, also=("image_miou",))
    plan = dataclasses.replace(judge(small_store, arms), scoring=scoring)
    study, _ = require_same(plan, small_store, tmp_path)
    classes = 3 if absent == "zero" else 2
    by_hand = [
        sum(one[c, c] / (one[c].sum() + one[:, c].sum() - one[c, c]) for c in (0, 1)) / classes
        for one in np.concatenate(arms["base"])
    ]
    assert study.summary["image_miou_mean"][0] == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("most", [2**24, 0], ids=["stored", "drawn again"])
@pytest.mark.parametrize(("num_groups", "length"), [(0, 1), (3, 4), (9, 0)])
def test_groups_are_drawn_whole_and_few_in_blocks(
    small_store, tmp_path, monkeypatch, num_groups, length, most
):
    monkeypatch.setattr("reports.stats.recomputing.MAX_WEIGHTS", most)
    plan = judge(small_store, draw_arms(SKILLS, 2, num_images=36))
    for record in read_records(plan, small_store):
        path = small_store.evaluation(record.result).path
        with np.load(path) as file:
            arrays = dict(file)
        groups = [f"clip{number * num_groups // 36}" for number in range(36)]
        told = {"groups": np.array(groups)} if num_groups else {}
        np.savez(path, **arrays, **told)
    monkeypatch.setattr("reports.stats.units.find_length", lambda *_: length)
    study, _ = require_same(plan, small_store, tmp_path)
    (units,) = study.intervals.units.values()
    assert (units.num_groups, units.length) == (num_groups, length)
    with np.load(tmp_path / "counts.npz") as file:
        assert ("weights" in file) == (most > 0)


def test_the_boundary_is_a_score(small_store, tmp_path):
    plan = judge(small_store, draw_arms(SKILLS, 2))
    for record in read_records(plan, small_store):
        path = small_store.evaluation(record.result).path
        with np.load(path) as file:
            arrays = dict(file)
        union = np.full((12, 3), 40, np.int32)
        inter = np.random.default_rng(record.planned.run.spec.seed).integers(5, 40, (12, 3))
        inter = inter.astype(np.int32)
        np.savez(path, **arrays, boundary_intersections=inter, boundary_unions=union)
        boundary = [inter.sum(0).tolist(), union.sum(0).tolist()]
        small_store.publish(dataclasses.replace(record.result, boundary=boundary))
    study, _ = require_same(plan, small_store, tmp_path)
    assert study.summary["boundary_miou_diff_error"].notna().sum() == 3


@pytest.mark.parametrize("absent", [None, "zero", "leave_out"])
def test_so_are_distances_of_outlines_and_calibration(small_store, tmp_path, absent):
    plan = judge(small_store, draw_arms(SKILLS, 2, absent=(2,)))
    for k, record in enumerate(read_records(plan, small_store)):
        path, rng = small_store.evaluation(record.result).path, np.random.default_rng(k)
        with np.load(path) as file:
            arrays = dict(file)
        distances, points = rng.integers(0, 900, (12, 3)), rng.integers(0, 40, (12, 3))
        distances[:, 2] = points[:, 2] = 0  # no outline
        pixels = rng.integers(0, 300, (12, 1, 15))
        right = rng.binomial(pixels, 0.7)
        sure, loss = pixels * rng.integers(2**14, 2**16, (2, 12, 1, 15))
        calibration = np.concatenate([pixels, right, sure, loss], axis=1)
        surface = {"surface_distances": distances, "surface_points": points}
        surface = {key: value.astype(np.int32) for key, value in surface.items()}
        np.savez(path, **arrays, **surface, calibration=calibration)
        result = dataclasses.replace(
            record.result,
            surface=[value.sum(0).tolist() for value in surface.values()],
            calibration=calibration.sum(0).tolist(),
        )
        small_store.publish(result)
    plan = dataclasses.replace(plan, scoring=Scoring(absent=absent, also=("image_ece",)))
    study, said = require_same(plan, small_store, tmp_path)
    for score in ("surface_distance", "ece", "nll", "image_ece"):
        assert study.summary[f"{score}_diff_error"].gt(0).sum() == 3
        assert f"{score}_mean" not in said.split("copied")[1]


def test_without_a_baseline_there_are_scores_alone(small_store, tmp_path):
    plan = without_baseline(judge(small_store, draw_arms(SKILLS, 2)))
    published = (Published(variant="near", source="somewhere", miou=0.7),)
    require_same(dataclasses.replace(plan, published=published), small_store, tmp_path)


def test_variants_without_counts_of_all_runs_are_named(small_store, tmp_path):
    plan = judge(small_store, draw_arms(SKILLS, 2))
    record = read_records(plan, small_store)[2]
    small_store.evaluation(record.result).path.unlink()
    _, said = require_same(plan, small_store, tmp_path)
    assert said.endswith("without counts of all runs: near\n")


def test_one_image_says_nothing_of_others(small_store, tmp_path):
    study, said = require_same(
        judge(small_store, draw_arms(SKILLS, 2, num_images=1)), small_store, tmp_path
    )
    assert study.summary["miou_error"].isna().all()
    assert study.summary["miou_diff_mean"].notna().sum() == 3
    assert said.startswith("200 numbers of 4 variants")


@pytest.mark.parametrize("column", ["miou_mean", "pixel_acc_diff_error", "miou_diff_high"])
def test_a_number_that_was_changed_is_found(small_store, tmp_path, column):
    write(judge(small_store, draw_arms(SKILLS, 2)), small_store, tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[2][column] = str(float(rows[2][column]) + 1e-6)
    with (tmp_path / "summary.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    done = run(tmp_path)
    assert done.returncode == 1
    assert f"(more, {column})" in done.stdout


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_published_reports_are_recomputed_and_made_again(path):
    done = run(path.parent)
    assert (done.returncode, done.stderr) == (0, ""), done
    opened = ReportFolder(path.parent)
    found = read_study(opened.plan, opened).summary
    again, kept = (pd.read_csv(f) for f in (StringIO(to_csv(found)), path.parent / "summary.csv"))
    pd.testing.assert_frame_equal(again, kept, rtol=1e-9)


def test_there_are_published_reports():
    assert "camvid-recipe-cpu" in {path.parent.name for path in PUBLISHED}


def test_it_needs_numpy_alone_and_is_short():
    tree = ast.parse(SCRIPT.read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert {name for name in found if name not in sys.stdlib_module_names} == {"numpy"}
    assert len(SCRIPT.read_text().splitlines()) < 260
