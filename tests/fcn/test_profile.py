"""Profiles against hand counts, published numbers and the paper's Table 1."""

import pytest
import timm
import torch
from torch import nn

from fcn import list_heads
from fcn.counting import count, count_depth
from fcn.latency import measure_latency
from fcn.profile import profile
from fcn.table1 import PUBLISHED, RELATIVES


def test_counts_of_a_network_that_can_be_counted_by_hand():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 8 x 10 x 12 out, 27 multiply-adds each
        nn.ReLU(),
        nn.Conv2d(8, 4, 2, stride=2),  # 4 x 5 x 6 out, 32 multiply-adds each
    )
    counts = count(net, (1, 3, 10, 12))
    assert counts.num_parameters == (27 + 1) * 8 + (32 + 1) * 4
    assert counts.num_convs == 2
    assert counts.num_macs == 960 * 27 + 120 * 32
    assert counts.num_activations == 960 + 120
    # Beside weights and images, two tensors at most are alive: before and after the ReLU.
    assert counts.tensor_bytes == 4 * (counts.num_parameters + 3 * 120 + 960 + 960)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_counting_leaves_the_network_and_does_not_depend_on_its_device(device):
    with torch.device(device):
        net = timm.create_model("resnet10t")
    before = count(net, (1, 3, 64, 64))
    assert before == count(net, (1, 3, 64, 64))
    assert before.tensor_bytes > 4 * before.num_parameters
    assert next(net.parameters()).device.type == device


@pytest.mark.parametrize(("name", "gmacs"), [("resnet18", 1.82), ("vgg16", 15.47)])
def test_multiply_adds_are_those_published_by_timm(name, gmacs):
    with torch.device("meta"):
        net = timm.create_model(name)
    assert count(net, (1, 3, 224, 224)).num_macs / 1e9 == pytest.approx(gmacs, abs=0.02)


def test_depth_is_that_of_the_longest_path():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.long = nn.Conv2d(3, 3, 1), nn.Sequential(*[nn.Conv2d(3, 3, 1)] * 4)

        def forward(self, images):
            stem = self.stem(images)
            return stem + self.long(stem)

    assert count_depth(Fork(), (1, 3, 4, 4)) == 5


@pytest.mark.parametrize(
    ("name", "depth", "receptive_field"), [("resnet10t", 12, 199), ("alexnet", 6, 195)]
)
def test_the_gradient_reaches_as_far_as_the_rule_says(name, depth, receptive_field):
    seen = profile(name, size=(64, 80))
    assert seen.depth == depth
    assert seen.receptive_field == seen.empirical_receptive_field == receptive_field
    assert seen.note == RELATIVES.get(name, "")
    assert seen.published is None
    assert seen.latency is None


def test_a_gate_over_the_whole_image_is_seen_by_the_gradient_alone():
    seen = profile("mobilenetv3_small_100", size=(64, 64))
    assert seen.empirical_receptive_field > seen.receptive_field
    assert "whole image" in seen.note


def test_a_network_whose_norms_start_at_zero_is_seen_whole():
    # timm sets the last norm of every residual branch to zero, which hides the branch.
    assert profile("resnet18", size=(64, 64)).empirical_receptive_field == 435


def test_latency_has_a_median_within_its_quartiles():
    net = nn.Conv2d(3, 4, 3)
    latency = measure_latency(net, (1, 3, 32, 32), torch.device("cpu"))
    low, high = latency.quartiles_ms
    assert 0 < low <= latency.median_ms <= high
    assert (latency.device, latency.threads) == ("cpu", 1)
    assert latency.cuda_peak_bytes is None


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_paper_is_met(name):
    """Table 1, by our own counting of networks built from the text of the paper."""
    if not timm.is_model(name) or PUBLISHED[name].head not in list_heads():
        pytest.skip(f"{name} or its head is not registered")
    paper = PUBLISHED[name]
    ours = profile(name, see=False)  # with the head of the paper, unless another is asked for
    assert (ours.head, ours.published) == (paper.head, paper)
    assert ours.depth == paper.depth
    assert ours.output_stride == paper.output_stride
    assert round(ours.counts.num_parameters / 1e6) == paper.num_parameters / 1e6
    dropped_pool = 192 if name == "googlenet_original" else 0
    assert ours.receptive_field + dropped_pool == paper.receptive_field


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_papers_receptive_fields_are_seen_by_the_gradient(name):
    if not timm.is_model(name) or PUBLISHED[name].head not in list_heads():
        pytest.skip(f"{name} or its head is not registered")
    ours = profile(name, size=(224, 224))
    assert ours.empirical_receptive_field == ours.receptive_field


def test_another_network_on_the_same_backbone_is_not_held_against_the_paper():
    size = {"size": (64, 64), "see": False}
    assert profile("googlenet_original", num_classes=5, **size).published is None
    assert profile("googlenet_original", skip="fcn8s", **size).published is None
    assert profile("caffenet", head="linear", **size).published is None


@pytest.mark.parametrize(("name", "papers"), [("alexnet", "caffenet"), ("googlenet", "original")])
def test_who_asks_for_a_relative_is_told_of_the_papers_network(name, papers):
    ours = profile(name, size=(64, 64), see=False)
    assert ours.published is None
    assert papers in ours.note
