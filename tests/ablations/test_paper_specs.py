"""The paper's questions: as the reference trains them, and asked of other data by another base."""

import csv
import sys
from functools import cache

import pytest
import torch

from ablations.cli import main
from ablations.expand import expand
from ablations.planning import keep_only
from ablations.registry import list_ablations, load_ablation
from bench.data.facts import DatasetFacts
from bench.data.outlines import find_outline, outline_facts
from bench.data.registry import list_datasets
from bench.grid.preflight import check_models
from bench.run.parts import find_parts
from fcn import create_model
from reports.stats.asked import resolve_claims

NAMES = [name for name in list_ablations() if name.startswith("paper/")]
OWN_DATA = {"paper/context", "paper/nyudv2", "paper/siftflow"}
"""Whose question is about their own data: tests/data/test_paper_data.py has small files of it."""
ELSEWHERE = [name for name in NAMES if name not in OWN_DATA]
SHAPES = DatasetFacts("e" * 64, {"train": 256, "val": 32, "test": 64}, 6)


def facts_of(data):
    assert data.dataset in list_datasets()
    return outline_facts(data, find_outline(data))


@cache
def plan_of(name):
    return expand(load_ablation(name), facts_of, sources_of=lambda spec: {})


def specs_of(name):
    return {one.variant: one.run.spec for one in plan_of(name).runs}


def test_every_table_and_figure_is_there():
    asked = "backbones skips upsampling sampling optimisation masking choices voc context"
    assert set(NAMES) == {f"paper/{name}" for name in (*asked.split(), "nyudv2", "siftflow")}


@pytest.mark.parametrize("name", NAMES)
def test_every_network_can_be_built_and_every_claim_judged(name):
    plan = plan_of(name)
    facts = {one.run.fingerprint: facts_of(one.run.spec.data) for one in plan.runs}
    assert set(check_models(plan, facts)) == set(plan.variants)
    assert len(resolve_claims(plan)) == len(plan.claims) > 2
    assert plan.note
    assert plan.expectation
    assert plan.published or name == "paper/sampling"  # a figure of curves
    assert plan.doubles == ([["reference", "pad100"]] if name == "paper/choices" else [])


@pytest.mark.parametrize("name", ELSEWHERE)
def test_another_base_asks_the_same_of_other_data(name):
    changed = {"base": "paper/on-shapes", "data.background": ["ground"]}
    plan = expand(load_ablation(name, changed), lambda data: SHAPES)
    assert plan.variants == plan_of(name).variants
    own = {one.variant: one.run.spec.data.dataset for one in plan_of(name).runs}
    for here, there in zip(plan.published, plan_of(name).published, strict=True):
        assert here.differs.startswith(f"data: {own[here.variant]}, not shapes")
        assert here.differs.endswith(there.differs)
    assert {one.run.spec.data.dataset for one in plan.runs} == {"shapes"}
    assert not any(one.run.spec.model.pretrained for one in plan.runs)
    assert {one.run.spec.model.preprocessing for one in plan.runs} == {"timm"}
    rates = {one.run.spec.train.lr for one in plan.runs}
    assert rates == {2e-3} or name == "paper/optimisation"
    assert set(check_models(plan, {SHAPES.fingerprint: SHAPES})) == set(plan.variants)
    assert len(resolve_claims(plan)) == len(plan.claims)


@pytest.mark.parametrize("name", sorted(OWN_DATA))
def test_another_base_gives_its_recipe_to_questions_about_their_own_data(name):
    """A rate for sums of a loss would train nothing of a mean."""
    plan = expand(load_ablation(name, {"base": "paper/on-shapes"}), facts_of)
    data = {one.run.spec.data.dataset for one in plan.runs}
    assert data == {one.run.spec.data.dataset for one in plan_of(name).runs}
    skips = load_ablation("paper/skips", {"base": "paper/on-shapes"})
    one = expand(skips, lambda data: SHAPES).runs[1].run.spec.train
    alike = {"init_from": None, "init_streams": ()}
    assert [p.run.spec.train.model_copy(update=alike) for p in plan.runs] == [one] * len(plan.runs)
    assert {one.run.spec.model.backbone for one in plan.runs} == {"vgg11_bn"}
    assert not any(one.run.spec.model.pretrained for one in plan.runs)


def test_nets_of_other_data_have_the_references_rates():
    """By the solvers of nyud-*, siftflow-* and pascalcontext-*: sums, 300,000 steps a net."""
    rates = {
        "paper/nyudv2": {"rgb": 1e-10, "rgbd-early": 1e-10, "hha": 1e-10, "rgb-hha-late": 1e-12},
        "paper/siftflow": {"fcn32s": 1e-10, "fcn16s": 1e-12, "fcn8s": 1e-12},
        "paper/context": {"fcn32s": 1e-10, "fcn16s": 1e-12, "fcn8s": 1e-14},
    }
    for name, known in rates.items():
        specs = specs_of(name)
        assert {variant: specs[variant].train.lr for variant in known} == known
        for spec in specs.values():
            train = spec.train
            assert (train.loss_reduction, train.steps, train.batch_size) == ("sum", 300_000, 1)
            assert (train.momentum, train.groups["bias"].lr) == (0.99, 2.0)
            wanted = "timm" if name == "paper/nyudv2" else "caffe"  # depth has no Caffe weights
            assert spec.model.preprocessing == wanted


def test_claims_about_the_variants_that_only_leaves_are_kept():
    kept = ["reference", "scratch", "balanced", "layers-19"]
    part = keep_only(plan_of("paper/choices"), kept)
    assert [str(claim) for claim in part.claims] == [
        "reference > scratch by 0.1",
        "balanced = reference",
        "layers-19 = reference",
    ]
    assert len(resolve_claims(part)) == 3
    assert keep_only(plan_of("paper/choices"), ["*"]).claims == plan_of("paper/choices").claims
    assert keep_only(plan_of("paper/choices"), ["scratch"]).claims == ()
    levels = load_ablation("recipes/learning-curve")
    plan = expand(levels, lambda data: HELD_OUT, sources_of=lambda spec: {})
    assert plan.claims
    assert keep_only(plan, ["0.1-*", "1.0-*"]).claims == ()  # they are about all of the grid


HELD_OUT = DatasetFacts("a" * 64, {"train": 266, "held_out": 101, "val": 101, "test": 233}, 11)


def test_networks_and_solvers_are_the_references():
    """By net.py and solver.prototxt of the voc nets of the reference, and the paper's counts."""
    skips = specs_of("paper/skips")
    found = {name: (spec.train.lr, spec.train.steps) for name, spec in skips.items()}
    assert found["fcn32s"] == (1e-10, 100_000)
    assert found["fcn16s"] == (1e-12, 100_000)
    assert found["fcn8s"] == (1e-14, 100_000)
    assert found["fcn8s-atonce"] == (1e-10, 300_000)
    for spec in skips.values():
        train = spec.train
        assert (train.momentum, train.weight_decay, train.batch_size) == (0.99, 5e-4, 1)
        assert (train.loss_reduction, train.schedule, train.flip) == ("sum", "constant", False)
        assert (train.groups["bias"].lr, train.crop) == (2.0, None)
        assert (spec.model.preprocessing, spec.model.dropout) == ("caffe", 0.5)
        assert (spec.train.split, spec.evaluate.split) == ("train", "seg11valid")
    plan = plan_of("paper/skips")
    costs = check_models(plan, {one.run.fingerprint: SHAPES_21 for one in plan.runs})
    assert costs["fcn32s"].num_parameters == 134_346_581
    assert costs["fcn16s"].num_parameters == 134_346_581 + 10_773
    assert costs["fcn8s"].num_parameters == 134_346_581 + 10_773 + 5_397
    backbones = specs_of("paper/backbones")
    rates = {name: spec.train.lr for name, spec in backbones.items()}
    assert rates == {"caffenet": 1e-3, "vgg16": 1e-4, "googlenet_original": 5e-5}
    assert {spec.train.batch_size for spec in backbones.values()} == {20}


SHAPES_21 = DatasetFacts("d" * 64, {"train": 9, "seg11valid": 9}, 21)


def test_each_image_moves_the_weights_alike_in_every_recipe_of_optimisation():
    """Rate over 1 - momentum, per image: accumulated gradients are averaged, sums are not."""
    pixels = 500 * 375
    for name, spec in specs_of("paper/optimisation").items():
        train = spec.train
        each = train.lr / train.grad_accum_steps / (1 - train.momentum)
        each /= pixels if train.loss_reduction == "mean" else 1
        assert each == pytest.approx(1e-8, rel=0.02), name
        assert (train.steps or 0) * train.grad_accum_steps == pytest.approx(100_000, rel=1e-3)
        decay = train.lr * train.weight_decay / train.grad_accum_steps / (1 - train.momentum)
        assert decay == pytest.approx(5e-4 * 1e-8, rel=0.03), name


def test_batches_grow_as_cells_are_left_out():
    for spec in specs_of("paper/sampling").values():
        assert spec.train.loss_sampling * spec.train.grad_accum_steps == 1
        assert spec.train.steps == 1500


def test_scores_alone_are_trained_whatever_the_head():
    (pattern,) = specs_of("paper/skips")["fcn32s-fixed"].train.freeze
    for backbone, head in (("vgg11", "convolutionalized"), ("resnet18", "linear")):
        with torch.device("meta"):
            model = create_model(backbone, num_classes=3, skip="fcn32s", head=head)
        names = {name for name, _ in model.named_parameters()}
        left = names - find_parts(model, pattern, "train.freeze")
        assert {name.rpartition(".")[2] for name in left} == {"weight", "bias"}
        assert len(left) == 2
        assert all(name.startswith("head.") for name in left)


SAMPLE = "paper/optimisation"
"""The question that is asked even where time is short."""
SMALL = "data.options={size: 64, num_train: 16, num_val: 2, num_test: 3}"
TRIAL = (
    "base=paper/on-shapes",
    "data.background=[ground]",
    SMALL,
    "train.steps=2",
    "seeds=[0]",
    "train.warmup_steps=0",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == SAMPLE else pytest.mark.long)
        for name in ELSEWHERE
    ],
)
def test_it_runs_to_its_report_on_small_drawn_images(name, tmp_path, monkeypatch, capsys):
    settings = [word for setting in TRIAL for word in ("--set", setting)]
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["fcn-bench", "run", name, *folders, *settings])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    with (tmp_path / "out" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"done"}
    assert {row["variant"] for row in rows} == set(plan_of(name).variants)


SCORES = {  # pixel accuracy, mean accuracy, mIoU, frequency-weighted IoU, in percent
    "released weights": {
        "fcn32s": (90.5, 76.5, 63.6, 83.5),
        "fcn16s": (91.0, 78.1, 65.0, 84.3),
        "fcn8s": (91.2, 77.6, 65.5, 84.5),
        "fcn8s-atonce": (91.1, 78.5, 65.4, 84.4),
    },
    "Long et al. 2015, table 2": {
        "fcn32s-fixed": (83.0, 59.7, 45.4, 72.0),
        "fcn32s": (89.1, 73.3, 59.4, 81.4),
        "fcn16s": (90.0, 75.7, 62.4, 83.0),
        "fcn8s": (90.3, 75.9, 62.7, 83.2),
    },
    "Shelhamer et al. 2017 (PAMI), table 3": {
        "fcn32s-fixed": (82.9, 64.6, 46.6, 72.3),
        "pool5": (87.4, 60.5, 50.0, 78.5),
        "pool4": (78.7, 31.7, 22.4, 67.0),
        "pool3": (70.9, 13.7, 9.2, 57.6),
    },
}
"""Of seg11valid, by where they are from."""
SAME = {
    ("paper/choices", "reference"): "fcn32s",
    ("paper/choices", "classifier-only"): "fcn32s-fixed",
    ("paper/optimisation", "heavy"): "fcn32s",
    ("paper/upsampling", "fixed"): "fcn8s-atonce",
}
"""Variants that are a network of the tables under another name."""


@pytest.mark.parametrize(
    "name", ["choices", "optimisation", "skips", "upsampling", "voc"], ids=lambda name: name
)
def test_a_network_has_the_same_published_scores_wherever_it_stands(name):
    asked, told = f"paper/{name}", {}
    for row in plan_of(asked).published:
        source = next((one for one in SCORES if row.source.startswith(one)), "")
        network = SAME.get((asked, row.variant), row.variant)
        told.setdefault(source, {})[network] = tuple(
            round(100 * value, 1)
            for value in (row.pixel_acc, row.mean_acc, row.miou, row.fw_iou)
            if value is not None
        )
        assert row.verified == ("PAMI" not in row.source)
        assert ("batch 20" in (row.differs or "")) == row.source.startswith("Long et al. 2015")
    for source, scores in SCORES.items():
        assert told.get(source, {}).items() <= scores.items()
        if source == "released weights" or name == "skips":
            assert told[source]
    if name == "voc":
        assert set(told["released weights"]) == {"fcn32s", "fcn16s", "fcn8s"}
