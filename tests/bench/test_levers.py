"""Runs with every lever, stopped and resumed: the same bits as if they never had been stopped.

Each loss, optimiser, schedule and augmentation by itself is long; a seeded sample of them, several
at once, stands for all of them otherwise.
"""

import random
import zlib

import pytest
from attempts import bits

from bench.data.augmentations import AUGMENTATIONS, OF_ANY, OF_COLOURS
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.losses import LOSSES, create_terms
from bench.run.losses.kinds import OfSums, PerImage, PerPixel, Whole
from bench.run.optim import list_optimizers
from bench.run.schedules import SCHEDULES

OPTIONS = Options(device="cpu", threads=1)
NEEDED = {
    "ColorJitter": "ColorJitter(brightness=0.5)",
    "GaussianBlur": "GaussianBlur(kernel_size=3)",
    "RandomAdjustSharpness": "RandomAdjustSharpness(sharpness_factor=2)",
    "RandomAffine": "RandomAffine(degrees=10)",
    "RandomPosterize": "RandomPosterize(bits=3)",
    "RandomRotation": "RandomRotation(degrees=10)",
    "RandomSolarize": "RandomSolarize(threshold=100)",
}
LEVERS = {
    "loss": [*LOSSES, "smp/DiceLoss", "cross_entropy(label_smoothing=0.1)"],
    "optimizer": [row["name"] for row in list_optimizers() if not row["note"]],
    "schedule": list(SCHEDULES),
    "augment": [NEEDED.get(name, name) for name in AUGMENTATIONS],
}

KINDS = (PerPixel, PerImage, OfSums, Whole)


def kind_of(loss):
    return create_terms(loss)[0].kind


def differences_of(**chosen):
    found = {f"train.{key}": value for key, value in chosen.items()}
    if "augment" in chosen:
        found["train.augment"] = [chosen["augment"]]
    return {"train.lr": 1e-3, "train.ema_decay": 0.9, "train.warmup_steps": 1, **found}


def resumed_equals_whole(tiny_run, stopped_after, differences, stop_at):
    whole, run = tiny_run(differences, folder="whole")
    assert execute(whole.run_dir(run.id), OPTIONS) == outcome.DONE
    store, run = tiny_run(differences, folder="stopped")
    with stopped_after(stop_at):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole, run)


def sample(number):
    """Draw a lever of each key: the loss of another kind each time, no schedule twice."""
    rng = random.Random(number)
    losses = [name for name in LEVERS["loss"] if type(kind_of(name)) is KINDS[number]]
    sort = (OF_ANY, OF_COLOURS)[number % 2]
    augment = [text for text in LEVERS["augment"] if text.partition("(")[0] in sort]
    chosen = {"loss": rng.choice(losses), "augment": rng.choice(augment)}
    apart = random.Random(0)
    for key in ("optimizer", "schedule"):
        chosen[key] = apart.sample(LEVERS[key], len(KINDS))[number]
    return chosen, rng.randint(1, 5)


def test_a_sample_has_every_kind():
    chosen = [sample(number)[0] for number in range(len(KINDS))]
    assert {type(kind_of(one["loss"])) for one in chosen} == set(KINDS)
    assert {type(kind_of(name)) for name in LEVERS["loss"]} == set(KINDS)
    assert len({one["optimizer"] for one in chosen}) == len(KINDS)
    assert len({one["schedule"] for one in chosen}) == len(KINDS)
    assert {one["augment"].partition("(")[0] in OF_ANY for one in chosen} == {True, False}


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_sample_of_levers_is_resumed_to_the_same_bits(tiny_run, stopped_after, number):
    chosen, stop_at = sample(number)
    more = {
        "loss_sampling": 0.5,
        "sampler": "balanced",
        "class_weights": "inverse",
        "groups": {"backbone": {"lr": 0.5}},
    }
    settings = differences_of(**chosen, **more)
    resumed_equals_whole(tiny_run, stopped_after, settings, stop_at)


def test_levers_together_are_resumed_to_the_same_bits(tiny_run, stopped_after):
    """And with activations made anew, over norms that are held and then are not."""
    settings = differences_of(
        loss={"ohem": 1, "dice": 0.5, "focal(gamma=1)": 0.2},
        aux={"stride": 32},
        augment="RandomRotation(degrees=20)",
        optimizer="lamb(betas=[0.8, 0.95])",
        schedule="one_cycle",
        groups={"head": {"lr": 5}, "bias": {"lr": 2}},
        layer_decay=0.8,
        freeze={"backbone": 2, "norm": 4},
        class_weights="effective_number(beta=0.9)",
        sampler="balanced",
        loss_sampling=0.7,
        precision="bf16",
        select="best(patience=4)",
    ) | {"evaluate.eval_every": 1}
    whole, run = tiny_run({**settings, "train.checkpoint_activations": True}, folder="whole")
    assert execute(whole.run_dir(run.id), OPTIONS) == outcome.DONE
    store, same = tiny_run(settings, folder="stopped")
    assert same.id == run.id
    with stopped_after(3):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole, run)


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "name"), [(key, name) for key, names in LEVERS.items() for name in names]
)
def test_each_lever_is_resumed_to_the_same_bits(tiny_run, stopped_after, key, name):
    stop_at = 1 + zlib.crc32(name.encode()) % 5
    resumed_equals_whole(tiny_run, stopped_after, differences_of(**{key: name}), stop_at)
