"""The loss of an earlier score: the sum by hand, where the score sits, and who has none."""

import pytest
import torch
from attempts import bits

from bench.data.layers import Target
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.losses import aux_upsampling, network_loss, pixel_loss
from bench.spec import AuxSpec
from fcn.errors import InputError
from fcn.model import create_model

OPTIONS = Options(device="cpu", threads=1)
COLOURS = ((0, 0, 0), (9, 9, 9), (99, 99, 99))
TARGETS = (Target("semantic", ("a", "b", "c"), COLOURS, 255),)


def fcn8s(**settings):
    torch.manual_seed(0)
    return create_model(
        "resnet10t", num_classes=3, skip="fcn8s", score_init="random", **settings
    ).eval()


def gradient_of(loss, model):
    return torch.autograd.grad(loss, list(model.head.parameters()))


@pytest.mark.parametrize("upsampling", ["bilinear", "learned"])
@pytest.mark.parametrize("stride", [32, 16])
def test_it_is_the_loss_of_a_network_that_ends_there(stride, upsampling):
    """FCN-32s and 16s with the same weights: their loss, by the way of a network of their own."""
    model = fcn8s(upsampling=upsampling)
    skip = {32: "fcn32s", 16: "fcn16s"}[stride]
    shorter = create_model("resnet10t", num_classes=3, skip=skip).eval()
    own = shorter.state_dict()
    shorter.load_state_dict({k: model.state_dict()[k] for k in own})
    if upsampling == "learned" and stride == 16:
        shorter = create_model("resnet10t", num_classes=3, skip=skip, upsampling="learned").eval()
        known = model.state_dict()
        shorter.load_state_dict(
            {k: v for k, v in known.items() if k in shorter.state_dict() and "upsampling" not in k},
            strict=False,
        )
    images, target = torch.randn(2, 3, 64, 96), torch.randint(0, 3, (2, 64, 96))
    aux = AuxSpec(stride=stride, weight=0.3)
    whole = network_loss(model, images, target, targets=TARGETS, aux=aux)
    plain = network_loss(model, images, target, targets=TARGETS)
    earlier = pixel_loss(
        shorter.score(images), target, aux_upsampling(model, aux), ignore_index=255
    )
    torch.testing.assert_close(whole, plain + 0.3 * earlier)
    at_pixels = shorter.score(images)
    if upsampling == "bilinear":
        torch.testing.assert_close(
            aux_upsampling(model, aux)(at_pixels, (64, 96)), shorter(images), rtol=1e-5, atol=1e-5
        )
    assert gradient_of(whole, model)[0].abs().sum() > gradient_of(plain, model)[0].abs().sum() * 0.5


@pytest.mark.parametrize(
    ("settings", "stride", "message"),
    [
        ({"skip": "fcn8s"}, 8, "this network has them at stride 32, 16"),
        ({"skip": "fcn32s"}, 32, "this network has none: an FCN has"),
        ({"skip": "fpn"}, 32, "this network has none"),
        ({"external": "torchvision/lraspp_mobilenet_v3_large"}, 16, "this network has none"),
    ],
)
def test_a_network_without_such_a_score_is_told_which_has(settings, stride, message):
    with torch.device("meta"):
        model = create_model("resnet10t", num_classes=3, **settings)
    with pytest.raises(InputError, match=message):
        aux_upsampling(model, AuxSpec(stride=stride))


def test_a_run_with_it_is_resumed_to_the_same_bits_and_is_another_run(tiny_run, stopped_after):
    settings = {"train.aux": {"stride": 32}, "train.loss": {"cross_entropy": 1, "dice": 1}}
    whole, run = tiny_run(settings, folder="whole")
    assert execute(whole.run_dir(run.id), OPTIONS) == outcome.DONE
    store, run = tiny_run(settings, folder="stopped")
    with stopped_after(2):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole, run)
    assert tiny_run({"train.loss": settings["train.loss"]}, folder="other")[1].id != run.id
