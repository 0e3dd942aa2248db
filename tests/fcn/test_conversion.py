"""Conversion: files as other frameworks write them give the features that they gave there."""

import h5py
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from fcn.backbones.taps import create_backbone
from fcn.conversion.convert import convert
from fcn.conversion.folding import Preprocessing
from fcn.conversion.layouts import group_layers, to_torch
from fcn.conversion.proof import draw_image, prove
from fcn.errors import InputError
from fcn.tensors import read_tensors

NAME = "test_efficientnet"
"""Depthwise convolutions, batch norms, and no bias before them."""

CAFFE = Preprocessing(255.0, (122.67892, 116.66877, 104.00699), (1.0, 1.0, 1.0), bgr=True)


@pytest.fixture(scope="module")
def source():
    """A network as its authors have it, whose norms have seen images."""
    torch.manual_seed(1)
    net = timm.create_model(NAME)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.weight, 0.5, 1.5),
                (layer.bias, -0.3, 0.3),
                (layer.running_mean, -0.3, 0.3),
                (layer.running_var, 0.5, 2.0),
            ):
                nn.init.uniform_(tensor, low, high)
    return net.eval()


def write_keras_3(net, path, *, more=()):
    """Write a network as Keras 3 writes `model.save_weights(NAME.weights.h5)`."""
    numbers = {}
    with h5py.File(path, "w") as file:
        for layer in net.modules():
            kind = {nn.Conv2d: "conv2d", nn.Linear: "dense"}.get(type(layer))
            kind = "batch_normalization" if isinstance(layer, nn.BatchNorm2d) else kind
            if kind is None:
                continue
            number = numbers.get("layer", 0)
            numbers["layer"] = number + 1
            for i, array in enumerate(as_keras(layer)):
                file[f"layers/layer_{number}/{kind}/vars/{i}"] = array
        for name in more:
            file[f"{name}/vars/0"] = np.zeros((1, 1, 5, 1), np.float32)


def as_keras(layer):
    """Return a layer's arrays as Keras has them: kernels (h, w, in, out), or (h, w, in, 1)."""
    if isinstance(layer, nn.BatchNorm2d):
        tensors = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        return [tensor.detach().numpy() for tensor in tensors]
    weight = layer.weight.detach().numpy()
    if weight.ndim == 4:
        is_depthwise = layer.groups > 1
        weight = weight.transpose(2, 3, 0, 1) if is_depthwise else weight.transpose(2, 3, 1, 0)
    else:
        weight = weight.T
    return [weight] + ([layer.bias.detach().numpy()] if layer.bias is not None else [])


def features_of(net, images):
    with torch.no_grad():
        return dict(zip((2, 4, 8, 16, 32), net.forward_intermediates(images)[1], strict=False))


def converted_backbone(path, layout, source, tmp_path, **options):
    done = convert(path, NAME, layout, source, **options)
    file = tmp_path / "converted.safetensors"
    save_file(done.state, file)
    return done, file


@pytest.mark.parametrize("layout", ["keras", "torch"])
def test_features_are_those_of_the_network_that_was_written(source, tmp_path, layout):
    """Mean and deviation are timm's, so that both pad with the same colour: equal at the border."""
    if layout == "keras":
        path = tmp_path / "net.weights.h5"
        write_keras_3(source, path)
    else:
        path = tmp_path / "net.pth"
        renamed = {f"_x.{k.replace('conv', '_c')}": v for k, v in source.state_dict().items()}
        torch.save({"state_dict": renamed, "epoch": 3}, path)
    config = timm.models.get_pretrained_cfg(NAME)
    times_255 = [tuple(255 * value for value in values) for values in (config.mean, config.std)]
    theirs = Preprocessing(255.0, *times_255, bgr=True)
    done, file = converted_backbone(path, layout, theirs, tmp_path)
    assert done.missing == ()
    backbone = create_backbone(NAME, pretrained=str(file)).eval()
    image = draw_image()
    with torch.no_grad():
        ours = backbone(Preprocessing(1.0, config.mean, config.std).apply(image)[None])
    expected = features_of(source, theirs.apply(image)[None])
    assert len(ours) == 5
    for stride, feature in ours.items():
        torch.testing.assert_close(feature, expected[stride], rtol=1e-4, atol=1e-5)


def test_a_foreign_mean_is_folded_and_differs_beyond_the_border_alone(source, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(source.state_dict(), path)
    done, file = converted_backbone(path, "torch", CAFFE, tmp_path)
    config = timm.models.get_pretrained_cfg(NAME)
    net = timm.create_model(NAME).eval()
    net.load_state_dict(done.state, strict=False)
    image = draw_image()
    with torch.no_grad():
        ours = net.bn1(
            net.conv_stem(Preprocessing(1.0, config.mean, config.std).apply(image)[None])
        )
        theirs = source.bn1(source.conv_stem(CAFFE.apply(image)[None]))
    apart = (ours - theirs).abs() / theirs.abs().max()
    assert apart[..., 2:-2, 2:-2].max() < 1e-5
    assert apart.max() > 1e-3  # there the source pads with its mean, timm with its own
    apart = prove(NAME, done, file, "torch", CAFFE)
    assert set(apart) == {2, 4, 8, 16, 32}
    assert max(apart.values()) < 1e-5


@pytest.mark.parametrize("fault", ["channels", "kernels", "statistics"])
def test_a_wrong_conversion_is_not_proven(source, tmp_path, fault):
    path = tmp_path / "net.weights.h5"
    write_keras_3(source, path)
    done, file = converted_backbone(path, "keras", CAFFE, tmp_path)
    state = dict(done.state)
    if fault == "channels":
        state["conv_stem.weight"] = state["conv_stem.weight"].flip(1).contiguous()
    elif fault == "kernels":
        key = next(key for key in state if "conv_dw" in key)
        state[key] = state[key].transpose(2, 3).contiguous()
    else:
        state["bn1.running_mean"] = state["bn1.running_mean"] + 0.1
    save_file(state, file)
    with pytest.raises(InputError, match=r"do not give the features of their source .* stride 2"):
        prove(NAME, done, file, "keras", CAFFE)


def test_what_is_none_of_the_networks_is_refused_by_name_or_left_out(source, tmp_path):
    path = tmp_path / "net.weights.h5"
    write_keras_3(source, path, more=("zz_dsn1", "zz_fuse"))
    with pytest.raises(InputError, match=r"nothing is left for 'zz_dsn1/vars', 'zz_fuse/vars';"):
        convert(path, NAME, "keras", None)
    done = convert(path, NAME, "keras", None, without=("zz_*",))
    assert len(done.mapped) == len([k for k in source.state_dict() if "num_batches" not in k])
    with pytest.raises(InputError, match="--without: "):
        convert(path, NAME, "keras", None, without=("nothing*",))


def test_a_trunk_lacks_its_classifier_and_says_so(source, tmp_path):
    trunk = {k: v for k, v in source.state_dict().items() if not k.startswith("classifier")}
    torch.save(trunk, tmp_path / "trunk.pth")
    done, file = converted_backbone(tmp_path / "trunk.pth", "torch", None, tmp_path)
    assert done.missing == ("classifier.weight", "classifier.bias")
    prove(NAME, done, file, "torch", None)


def test_a_layer_of_another_shape_is_refused_with_both(source, tmp_path):
    other = {**source.state_dict(), "bn1.weight": torch.ones(7)}
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"layer 2 of the file, 'bn1' \(7,\).*'bn1' \(\d\d,\)"):
        convert(tmp_path / "other.pth", NAME, "torch", None)
    with pytest.raises(InputError, match="layer 1 of the file"):
        convert(tmp_path / "other.pth", NAME, "keras", None)
    with pytest.raises(InputError, match=r"layout 'kera'.*keras"):
        convert(tmp_path / "other.pth", NAME, "kera", None)


def test_mean_and_variance_are_told_apart_by_name():
    """All four tensors of a norm have one shape; an alphabet puts the bias first."""
    names = ("bn.bias", "bn.num_batches_tracked", "bn.running_mean", "bn.running_var", "bn.weight")
    (layer,) = group_layers({name: torch.zeros(3) for name in names})
    assert list(layer.tensors) == ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
    keras_2 = ("bn/beta:0", "bn/gamma:0", "bn/moving_mean:0", "bn/moving_variance:0")
    (layer,) = group_layers({name: torch.zeros(3) for name in keras_2})
    assert [name[3:5] for name in layer.tensors] == ["ga", "be", "mo", "mo"]
    (layer,) = group_layers({name: torch.zeros(3) for name in ("c/c_b_1:0", "c/c_W_1:0")})
    assert list(layer.tensors) == ["c/c_W_1:0", "c/c_b_1:0"]


@pytest.mark.parametrize("layout", ["keras", "caffe", "torch"])
def test_a_dense_layer_reads_the_same_window_as_its_convolution(layout):
    """fc6: what it reads is flattened channels first by Caffe and torch, channels last by Keras."""
    torch.manual_seed(0)
    features, dense = torch.randn(1, 6, 3, 3), torch.randn(4, 54)
    if layout == "keras":
        expected = features.permute(0, 2, 3, 1).flatten(1) @ dense.T
        stored = dense.T
    else:
        expected = features.flatten(1) @ dense.T
        stored = dense[None, None] if layout == "caffe" else dense
    kernel = to_torch(stored, layout, torch.Size((4, 6, 3, 3)))
    torch.testing.assert_close(nn.functional.conv2d(features, kernel).flatten(1), expected)


def test_layers_of_keras_2_come_in_the_order_of_its_list(tmp_path):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"stem", b"conv_10", b"conv_9"]
        for name in ("conv_10", "conv_9", "stem"):
            group[f"{name}/{name}/kernel:0"] = np.zeros((1, 1, 2, 2), np.float32)
            group[f"{name}/{name}/bias:0"] = np.zeros(2, np.float32)
        file["optimizer_weights/step"] = np.zeros(3)
    layers = group_layers(read_tensors(tmp_path / "net.h5"))
    assert [layer.name.partition("/")[0] for layer in layers] == ["stem", "conv_10", "conv_9"]


CAFFES = ["conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3"]
CAFFES += [
    f"inception_{block}/{part}"
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    for part in ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
]
CAFFES += ["loss3/classifier"]
"""Layers with weights of bvlc_googlenet, as its deploy.prototxt has them."""


def test_caffes_googlenet_goes_by_the_order_of_its_layers(tmp_path):
    """As docs/weights.md has Caffe save it; in HDF5, by the alphabet, 3x3 is before its reduce."""
    torch.manual_seed(1)
    net = timm.create_model("googlenet_original").eval()
    layers = [one for one in net.modules() if list(one.parameters(recurse=False))]
    arrays = {
        f"{name}/{i}": tensor.detach().numpy()
        for name, layer in zip(CAFFES, layers, strict=True)
        for i, tensor in enumerate((layer.weight, layer.bias))
    }
    np.savez(tmp_path / "net.npz", **arrays)
    done = convert(tmp_path / "net.npz", "googlenet_original", "caffe", None)
    assert done.missing == ()
    for name, tensor in net.state_dict().items():
        assert torch.equal(done.state[name], tensor)
    save_file(done.state, tmp_path / "out.safetensors")
    prove("googlenet_original", done, tmp_path / "out.safetensors", "caffe", None)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        for name, array in arrays.items():
            file[f"data/{name}"] = array
    with pytest.raises(
        InputError, match=r"layer 2 of the file, 'data/conv2/3x3' .*not fit layer 2"
    ):
        convert(tmp_path / "net.h5", "googlenet_original", "caffe", None)


def test_numbers_in_names_count_where_a_file_has_no_order(tmp_path):
    with h5py.File(tmp_path / "net.weights.h5", "w") as file:
        for name in ("conv2d_10", "conv2d_9", "conv2d"):
            file[f"layers/{name}/vars/0"] = np.zeros((1, 1, 2, 2), np.float32)
    layers = group_layers(read_tensors(tmp_path / "net.weights.h5"))
    assert [layer.name.split("/")[1] for layer in layers] == ["conv2d", "conv2d_9", "conv2d_10"]


def test_layers_whose_arithmetic_is_not_known_are_not_taken_on_trust(tmp_path):
    net = timm.create_model("test_convnext")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    done = convert(tmp_path / "net.pth", "test_convnext", "torch", None)
    save_file(done.state, tmp_path / "out.safetensors")
    with pytest.raises(InputError, match="arithmetic of LayerNorm2d is not known"):
        prove("test_convnext", done, tmp_path / "out.safetensors", "torch", None)
