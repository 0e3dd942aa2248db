"""Scores of ONNX files: those of runs, and those of other tools, of one size or of any."""

import numpy as np
import pytest
import torch

from bench.run.evaluate_other import evaluate_subject, subject_of_onnx
from bench.run.export import export_run
from bench.run.onnx_network import OnnxNetwork
from bench.run.trained import Trained
from bench.run.views import Views
from fcn.errors import InputError

CPU = torch.device("cpu")


@pytest.mark.slow
def test_an_onnx_file_is_scored_like_the_run_that_it_is_from(trained, tmp_path):
    store, run, pack = trained
    images = [pack.image(i) for i in pack.indices("test")[:2]]
    file = tmp_path / "net.onnx"
    export_run(store, run.id, "onnx", file, images)
    subject = subject_of_onnx(file, pack, CPU, Views(), None, "ours as ONNX")
    assert subject.class_names == pack.class_names
    scored, _ = evaluate_subject(store, subject, pack, run.spec.data, "test", Views(), CPU)
    recorded = np.array(store.result(run.id).confusion)
    assert np.abs(np.array(scored.confusion) - recorded).sum() <= 0.002 * recorded.sum()
    assert scored.kind == "ONNX file"
    views = Views.read("flip,0.75", "32", 8)
    seen = OnnxNetwork(file, pack.num_classes, None, None, CPU).predict_views(images[0], views)[""]
    own = Trained(store, run.id, CPU).predict_views(images[0], views)[""]
    assert (seen != own).mean() <= 0.002


def write_onnx(path, inputs, make):
    """Write an ONNX file of another tool's kind: one node."""
    from onnx import TensorProto, helper, save

    kind, shape = inputs
    given = helper.make_tensor_value_info("x", getattr(TensorProto, kind), shape)
    nodes, out_kind, out_shape = make(helper)
    out = helper.make_tensor_value_info("y", getattr(TensorProto, out_kind), out_shape)
    graph = helper.make_graph(nodes, "g", [given], [out])
    opset = helper.make_opsetid("", 17)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))


def argmax_of_channels(helper):
    nodes = [helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)]
    return nodes, "INT64", [1, None, None]


def test_an_onnx_file_of_another_tool_gives_classes_at_its_own_size(tmp_path):
    """Its class is the channel that is largest once normalised; it sees 16x16 alone."""
    path = tmp_path / "theirs.onnx"
    write_onnx(path, ("FLOAT", [1, 3, 16, 16]), argmax_of_channels)
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24, 1] = pixels[:, 24:, 2] = 255
    even = ((0.5,) * 3, (0.5,) * 3)
    pred = OnnxNetwork(path, 3, None, even, CPU).predict_views(pixels, Views())[""]
    assert (pred[:, :24] == 1).all()
    assert (pred[:, 24:] == 2).all()
    with pytest.raises(InputError, match="gives class 2; there are 2"):
        OnnxNetwork(path, 2, None, None, CPU).predict_views(pixels, Views())


@pytest.mark.parametrize(
    ("tta", "size", "input_scale", "said"),
    [
        ("flip,0.75", "", None, "--tta 0.75 would"),
        ("", "48", None, "--size 48x48 would"),
        ("", "", 1.0, "--input-scale 1 would"),
        ("0.5,2", "", 0.5, "--tta 0.5 and --tta 2 and --input-scale 0.5 would"),
    ],
)
def test_an_onnx_file_of_one_size_is_shown_no_other(
    trained, tmp_path, tta, size, input_scale, said
):
    _, _, pack = trained
    files = {"one size": [1, 3, 32, 32], "any size": [1, 3, None, None]}
    for name, shape in files.items():
        write_onnx(tmp_path / f"{name}.onnx", ("FLOAT", shape), argmax_of_channels)
    views = Views.read(tta, "", None, size)
    with pytest.raises(InputError, match=f"32x32 pixels alone.* {said} change nothing"):
        subject_of_onnx(tmp_path / "one size.onnx", pack, CPU, views, input_scale, "x")
    subject_of_onnx(tmp_path / "any size.onnx", pack, CPU, views, input_scale, "x")
    for fitting in (Views.read("flip", "32", 0), Views.read("", "", None, "32")):
        subject_of_onnx(tmp_path / "one size.onnx", pack, CPU, fitting, None, "x")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [(("FLOAT", [1, 4, None, None]), "one input, of float32"), (("INT64", [3]), "takes x")],
)
def test_an_onnx_file_that_cannot_be_scored_is_named(tmp_path, inputs, said):
    path = tmp_path / "theirs.onnx"
    axes = {"axis": len(inputs[1]) - 1, "keepdims": 1}
    write_onnx(
        path, inputs, lambda h: ([h.make_node("ArgMax", ["x"], ["y"], **axes)], "INT64", None)
    )
    with pytest.raises(InputError, match=said):
        OnnxNetwork(path, 3, None, None, CPU)
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be loaded"):
        OnnxNetwork(path, 3, None, None, CPU)
