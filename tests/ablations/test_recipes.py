"""The recipes: each can be built as it stands, and its variants differ in what its name says."""

import pytest

from ablations.expand import expand, variants_of
from ablations.registry import list_ablations, load_ablation
from bench.data.facts import DatasetFacts
from bench.grid.preflight import check_models

NAMES = [name for name in list_ablations() if name.startswith("recipes/")]
SIZES = {"train": 305, "held_out": 62, "val": 101, "test": 233}
FACTS = DatasetFacts("ab" * 32, SIZES, 11)
LEVERS = {
    "recipes/augmentations": {"train.augment"},
    "recipes/finetuning": {"model.pretrained", "train.groups", "train.layer_decay", "train.freeze"},
    "recipes/learning-curve": {"data.train_fraction", "model.skip"},
    "recipes/losses": {"train.loss"},
    "recipes/tuned-backbones": {"model.backbone"},
    "recipes/optimizers": {"train.optimizer", "train.lr", "train.weight_decay"},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_can_be_trained_as_it_stands(name):
    plan = expand(load_ablation(name), lambda data: FACTS)
    assert set(check_models(plan, {FACTS.fingerprint: FACTS})) == set(plan.variants)
    assert plan.doubles == []
    assert len(plan.claims) > 3


@pytest.mark.parametrize("name", NAMES)
def test_its_variants_differ_in_its_levers_alone(name):
    keys = {key for own in variants_of(load_ablation(name)).values() for key in own}
    assert keys == LEVERS[name]
