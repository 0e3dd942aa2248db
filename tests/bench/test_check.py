"""A step of training is tried before any is made: what it cannot do is refused with the variant."""

import sys
import types

import pytest
import torch
from torch import nn

from bench.data.catalog import Catalog
from bench.data.packs.pack import open_pack
from bench.grid.building import count_cost, try_training
from bench.grid.preflight import check_images, check_models
from bench.plan import Plan, PlannedRun
from bench.spec import ModelSpec, TrainSpec
from fcn.errors import InputError


@pytest.fixture
def check(tiny_run):
    """Check a run as `fcn-bench check` does, with --devices-per-run."""

    def check_run(settings, devices=1):
        store, run = tiny_run({"model.skip": "fcn32s", **settings})
        plan = Plan("p", "q", "", (PlannedRun("a", run),))
        check_models(plan, {run.fingerprint: Catalog(store, None).facts(run.spec.data)})
        pack = open_pack(store.packs_dir, run.fingerprint)
        check_images(plan, {run.fingerprint: pack}, devices)

    return check_run


TWO_BY_ONE = {"model.backbone": "resnet18", "train.crop": [32, 32]}
"""A cell of stride 32 for each image."""


@pytest.mark.parametrize(
    ("settings", "devices", "works"),
    [
        ({**TWO_BY_ONE, "train.batch_size": 1}, 1, False),
        ({**TWO_BY_ONE, "train.batch_size": 2}, 1, True),
        ({**TWO_BY_ONE, "train.batch_size": 2}, 2, True),  # together they have two values
        ({**TWO_BY_ONE, "train.batch_size": 2, "train.batch_norm_groups": 2}, 1, False),
        ({**TWO_BY_ONE, "train.batch_size": 4, "train.batch_norm_groups": 2}, 2, True),
        ({**TWO_BY_ONE, "train.batch_size": 1, "train.crop": [32, 33]}, 1, True),
        ({**TWO_BY_ONE, "train.batch_size": 1, "train.steps": 0}, 1, True),
        ({**TWO_BY_ONE, "train.batch_size": 1, "model.backbone": "vgg11"}, 1, True),
        ({**TWO_BY_ONE, "train.batch_size": 1, "train.crop": None}, 1, False),
        ({**TWO_BY_ONE, "train.batch_size": 1, "train.crop": None, "data.input_scale": 2}, 1, True),
        (
            {
                **TWO_BY_ONE,
                "train.batch_size": 1,
                "train.crop": None,
                "data.input_scale": 2,
                "train.scale": [0.5, 2],
            },
            1,
            False,
        ),
        (
            {
                "model.external": "torchvision/deeplabv3_mobilenet_v3_large",
                "train.batch_size": 1,
                "train.crop": [64, 64],
            },
            1,
            False,
        ),
        ({"model.external": "torchvision/deeplabv3_mobilenet_v3_large"}, 1, True),
    ],
)
def test_batch_norm_over_one_value_is_refused(check, settings, devices, works):
    if works:
        check(settings, devices)
    else:
        with pytest.raises(
            InputError, match=r"p, variant a: a step of training on 1 image"
        ) as caught:
            check(settings, devices)
        for word in ("Expected more than 1 value", "train.batch_size", "batch_norm_groups"):
            assert word in str(caught.value)


def test_pooling_to_one_cell_needs_two_images():
    pytest.importorskip("segmentation_models_pytorch")
    options = {"num_classes": 3}
    deeplab, pspnet = (ModelSpec(external=f"smp/{n}(resnet18)") for n in ("DeepLabV3", "PSPNet"))
    try_training(deeplab, options, (64, 64), TrainSpec(steps=1, batch_size=2))
    with pytest.raises(InputError, match="on 1 image"):
        try_training(deeplab, options, (64, 64), TrainSpec(steps=1, batch_size=1))
    # Its pooling to one cell has no batch norm, its bottleneck has a cell for each 8 pixels.
    try_training(pspnet, options, (64, 64), TrainSpec(steps=1, batch_size=1))


class ByValue(nn.Module):
    """Reads a value, which the meta device does not have; and more of it in training."""

    seen = []

    def __init__(self, num_classes):
        super().__init__()
        self.scores, self.norm = nn.Conv2d(3, num_classes, 1), nn.BatchNorm2d(num_classes)

    def forward(self, images):
        factor = 2.0 if images.sum().item() > 0 else 1.0
        self.seen.append((images.device.type, len(images), self.training))
        return self.norm(self.scores(images)) * factor


@pytest.fixture
def library(monkeypatch):
    module = types.ModuleType("networks_of_check")
    module.by_value, module.broken = ByValue, Broken
    monkeypatch.setitem(sys.modules, "networks_of_check", module)
    monkeypatch.setattr(ByValue, "seen", [])


class Broken(nn.Conv2d):
    def __init__(self, num_classes):
        super().__init__(3, num_classes, 1)

    def forward(self, images):
        if self.training and images.device.type != "meta":
            raise RuntimeError("no training here")
        images.sum().item()
        return super().forward(images)


def test_a_network_that_reads_values_is_tried_with_two_images(library):
    spec, options = ModelSpec(external="networks_of_check:by_value"), {"num_classes": 2}
    count_cost(spec, options, (9, 1))
    try_training(spec, options, (9, 1), TrainSpec(steps=1, batch_size=64))
    assert ByValue.seen == [("cpu", 1, False), ("cpu", 2, True)]
    with pytest.raises(
        InputError, match=r"on 1 image.* of 1x1 pixels fails: ValueError: Expected more than 1"
    ):
        try_training(spec, options, (1, 1), TrainSpec(steps=1, batch_size=1))


def test_a_network_that_cannot_be_trained_is_refused_with_its_reason(library):
    spec, options = ModelSpec(external="networks_of_check:broken"), {"num_classes": 2}
    count_cost(spec, options, (8, 8))
    with pytest.raises(InputError, match="fails: RuntimeError: no training here"):
        try_training(spec, options, (8, 8), TrainSpec(steps=1, batch_size=2))


def test_transforms_are_tried_on_the_smallest_image(check):
    """torch's reflection reaches as far as an image does: 33 pixels of one of 32."""
    whole = {"train.crop": None, "train.scale": [1, 1]}
    check({**whole, "train.augment": ["GaussianBlur(kernel_size=63)"]})
    with pytest.raises(InputError, match=r"GaussianBlur\(kernel_size=67\) fails: RuntimeError"):
        check({**whole, "train.augment": ["GaussianBlur(kernel_size=67)"]})


def test_what_is_tried_leaves_the_random_state_alone(check):
    before = torch.get_rng_state()
    check({"train.batch_size": 2})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("steps", "warmup", "works"), [(6, 5, True), (6, 6, False), (6, 7, False), (0, 5, True)]
)
def test_a_warm_up_ends_before_training_does(check, steps, warmup, works):
    settings = {"train.steps": steps, "train.warmup_steps": warmup}
    if works:
        check(settings)
    else:
        with pytest.raises(
            InputError, match=rf"train\.warmup_steps {warmup} is not below .*steps 6"
        ):
            check(settings)
