"""Where a run's weights come from: recorded in its result; and networks of other libraries."""

import hashlib

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.grid.building import count_cost
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.predict import predict
from bench.sources import find_sources

OPTIONS = Options(device="cpu", threads=1)


def test_the_record_says_which_file_the_weights_are_from(tiny_run, tmp_path):
    path = tmp_path / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    store, run = tiny_run({"model.pretrained": str(path), "train.steps": 1})
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    weights = store.result(run.id).weights
    assert weights["pretrained"] == weights["source"] == str(path)
    assert weights["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights["num_tensors"] > 50
    store, run = tiny_run({"train.steps": 1})
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert store.result(run.id).weights == {"pretrained": False}
    assert store.result(run.id).environment["plugins"] == "none"


def test_a_file_replaced_while_the_run_begins_is_noticed(tiny_run, tmp_path, monkeypatch):
    path = tmp_path / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    store, run = tiny_run({"model.pretrained": str(path), "train.steps": 1})

    def look_and_replace(planned):
        assert find_sources(planned.spec) == dict(planned.sources)
        save_file(timm.create_model("test_resnet").state_dict(), path)

    monkeypatch.setattr("bench.run.execute.require_planned", look_and_replace)
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.INPUT
    assert "was planned with other sources: model.pretrained" in store.failure(run.id).message


def test_a_network_of_another_library_is_trained_scored_and_used(tiny_run, tmp_path):
    external = {"model.external": "torchvision/lraspp_mobilenet_v3_large"}
    store, run = tiny_run({**external, "train.steps": 3})
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    result = store.result(run.id)
    assert sum(map(sum, result.confusion)) > 0
    assert result.num_parameters > 3e6
    assert len({row["loss"] for row in store.logs(run.id) if "loss" in row}) == 3
    path = tmp_path / "image.png"
    Image.fromarray(np.zeros((50, 37, 3), dtype=np.uint8)).save(path)
    (found,) = predict(store, run.id, [path], torch.device("cpu"))
    assert found.preds[""].shape == (50, 37)
    cost = count_cost(run.spec.model, {"num_classes": 5}, (64, 64))
    assert cost.num_parameters > 3e6
    # The field has a default and changes no id of a run without it.
    assert tiny_run()[1].id != run.id
    assert "external" not in run.spec.model_copy(update={"external": None}).model_dump(
        exclude_defaults=True
    )
