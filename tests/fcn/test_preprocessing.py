"""Caffe's preprocessing: what reaches the first convolution, by the arithmetic of the reference."""

import numpy as np
import pytest
import torch

import fcn
from fcn.errors import InputError

SETTINGS = {"backbone": "resnet10t", "skip": "fcn32s", "num_classes": 4, "score_init": "random"}


def normalised(image, model):
    """Return an image (H, W, K) uint8 as every caller gives it to a network."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (model.mean, model.std))
    return ((torch.from_numpy(image).double() / 255 - mean) / std).permute(2, 0, 1)[None].float()


def seen_by(net, model, images):
    """Return what the network of a backbone gets."""
    found = []
    hook = net.register_forward_pre_hook(lambda module, args: found.append(args[0]))
    with torch.no_grad():
        model.eval()(images)
    hook.remove()
    return found[0]


def as_caffe(image):
    """voc_layers.py: `in_ = in_[:,:,::-1]; in_ -= self.mean; in_ = in_.transpose((2,0,1))`."""
    blue_first = np.array(image, dtype=np.float32)[:, :, ::-1]
    return (blue_first - np.array((104.00699, 116.66877, 122.67892))).transpose(2, 0, 1)[None]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_a_network_sees_what_the_reference_gives_it(image):
    model = fcn.create_model(**SETTINGS, preprocessing="caffe")
    seen = seen_by(model.backbone.net, model, normalised(image, model))
    np.testing.assert_allclose(seen.numpy(), as_caffe(image), atol=1e-3)


def test_colours_alone_are_turned_about_wherever_they_stand(image):
    depth = np.full((64, 64, 1), 51, dtype=np.uint8)
    statistics = {"depth": [[0.1], [0.5]]}
    inputs = {"depth": 1, "rgb": 3}
    model = fcn.create_model(
        **SETTINGS, preprocessing="caffe", inputs=inputs, statistics=statistics
    )
    both = normalised(np.concatenate([depth, image], axis=2), model)
    seen = seen_by(model.backbone.net, model, both)
    np.testing.assert_allclose(seen[:, 1:].numpy(), as_caffe(image), atol=1e-3)
    np.testing.assert_allclose(seen[:, 0].numpy(), (0.2 - 0.1) / 0.5, rtol=1e-5)


def test_late_fusion_turns_the_colours_of_their_stream(image):
    model = fcn.create_model(
        **SETTINGS, preprocessing="caffe", inputs={"rgb": 3, "hha": 3}, input_fusion="late"
    )
    both = normalised(np.concatenate([image, image], axis=2), model)
    net = model.streams["rgb"].backbone.net
    np.testing.assert_allclose(seen_by(net, model, both).numpy(), as_caffe(image), atol=1e-3)
    assert model.streams["hha"].backbone.order is None
    assert model.std[3] > 0.2  # of timm's weights


def test_a_saved_model_keeps_its_preprocessing(image, tmp_path):
    model = fcn.create_model(**SETTINGS, preprocessing="caffe").eval()
    again = fcn.from_pretrained(fcn.save_pretrained(model, tmp_path / "model"))
    images = normalised(image, model)
    assert again.mean == model.mean
    with torch.no_grad():
        assert torch.equal(model(images), again(images))


def test_images_without_colours_and_unknown_ways_are_refused():
    with pytest.raises(InputError, match="the inputs are depth; add rgb"):
        fcn.create_model(**SETTINGS, preprocessing="caffe", inputs={"depth": 1})
    with pytest.raises(InputError, match="'torch'; it may be 'timm' or 'caffe'"):
        fcn.create_model(**SETTINGS, preprocessing="torch")
