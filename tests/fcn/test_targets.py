"""Several targets from one trunk: each is scored as by a network of its own."""

import pytest
import torch

from fcn import create_model, list_fusions, list_skips, list_upsamplings
from fcn.targets import PerTarget, split_targets

CLASSES = (4, 3)


def _joint(**options):
    model = create_model(
        "resnet10t", num_classes=4, more_classes=(3,), score_init="random", **options
    )
    for parameter in model.parameters():  # learned parts start as if they were fixed
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def _alone(joint, target, **options):
    """Build the network of one target alone, with the weights that the joint one has for it."""
    first = sum(CLASSES[:target])
    alone = create_model("resnet10t", num_classes=CLASSES[target], **options).eval()
    state = joint.state_dict()
    own = {}
    for name, tensor in alone.state_dict().items():
        apart = [
            name.replace(part, f"{part}parts.{target}.", 1)
            for part in ("fusion.", "upsampling.")
            if part in name
        ]
        source = next((state[n] for n in apart if n in state), state.get(name))
        rows = slice(first, first + CLASSES[target])
        own[name] = source if source.shape == tensor.shape else source[rows]
    alone.load_state_dict(own)
    return alone


PARTS = [
    *({"skip": "fcn8s", "fusion": name} for name in list_fusions()),
    *({"skip": "fcn16s", "upsampling": name} for name in list_upsamplings()),
    *({"skip": name} for name in list_skips()),
]


@pytest.mark.parametrize("options", PARTS, ids=str)
def test_each_target_is_scored_as_by_a_network_of_its_own(options):
    joint = _joint(**options)
    images = torch.randn(2, 3, 65, 70)
    with torch.no_grad():
        logits = joint(images, size=(50, 90))
        scores = joint.score(images)
        for target, part in enumerate(logits.split(CLASSES, 1)):
            alone = _alone(joint, target, **options)(images, size=(50, 90))
            torch.testing.assert_close(part, alone, atol=1e-4, rtol=1e-4)
            own, upsampling = split_targets(scores, joint.upsampling, CLASSES)[target]
            torch.testing.assert_close(upsampling(own, (50, 90), (65, 70)), part)


@pytest.mark.usefixtures("no_start")
def test_the_references_net_has_two_heads_on_one_fc7():
    """net.py of siftflow-fcn16s: score_fr, score_pool4 and both upsamplings once per target."""
    options = {"skip": "fcn16s", "head": "convolutionalized", "padding": "pad100"}
    model = create_model("caffenet", num_classes=33, more_classes=(3,), **options)
    assert model.head.score.weight.shape[:2] == (36, 4096)
    assert model.skips["16"].score.weight.shape[0] == 36
    assert isinstance(model.upsampling, PerTarget)
    assert model(torch.randn(1, 3, 90, 120)).shape == (1, 36, 90, 120)


def test_what_one_target_learns_leaves_the_others_scores_alone():
    model = _joint(skip="fcn16s", upsampling="learned", fusion="concat").train()
    model(torch.randn(2, 3, 64, 64))[:, :4].square().mean().backward()
    score = model.skips["16"].score.weight.grad
    assert score[:4].any()
    assert not score[4:].any()
    assert not any(
        p.grad.any() for p in model.upsampling.parts[1].parameters() if p.grad is not None
    )
    assert model.backbone.net.conv1[0].weight.grad.any()


def test_late_fusion_and_several_targets_go_together():
    model = create_model(
        "resnet10t",
        num_classes=4,
        more_classes=(3,),
        inputs={"rgb": 3, "hha": 3},
        input_fusion="late",
    )
    assert model(torch.randn(1, 6, 64, 64)).shape == (1, 7, 64, 64)
