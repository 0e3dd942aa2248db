"""Networks in other programs' hands are the networks; their cards say what the record says."""

import re

import numpy as np
import pytest
import torch

import fcn
from bench.data.catalog import open_data
from bench.metrics import summarize
from bench.run import export as module
from bench.run.execute import Options, execute
from bench.run.export import export_run
from bench.run.model_card import choose_units, make_card
from bench.run.trained import Trained
from fcn.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def trained(tiny_run):
    store, run = tiny_run({"train.steps": 2, "evaluate.eval_every": 0})
    execute(store.run_dir(run.id), Options("cpu", 1))
    pack = open_data(store, run)
    images = [pack.image(i) for i in pack.indices("test")[:2]]
    images = [np.tile(image, (3, 4, 1))[:70] for image in images]
    images.append(images[0][:65, :97].copy())
    return store, run, images


def own_logits(store, run, image):
    model = Trained(store, run.id, CPU).model
    x = (torch.from_numpy(image.copy()) / 255 - torch.tensor(model.mean)) / torch.tensor(model.std)
    with torch.no_grad():
        return model(x.permute(2, 0, 1)[None]).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_an_exported_program_gives_the_networks_logits_at_any_size(trained, tmp_path, to):
    store, run, images = trained
    if to == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = tmp_path / "net"
    said = export_run(store, run.id, to, path, images, preprocess=True)
    assert "70x128 and 65x97" in said
    for image in (images[1], images[2]):
        if to == "onnx":
            session = onnxruntime.InferenceSession(str(path))
            (found,) = session.run(None, {"images": image[None]})
        else:
            found = torch.export.load(path).module()(torch.from_numpy(image.copy())[None])
            found = found.detach().numpy()
        np.testing.assert_allclose(found, own_logits(store, run, image), atol=1e-4)
    with pytest.raises(InputError, match="is there already"):
        export_run(store, run.id, to, path, images)


def test_a_program_that_is_not_the_network_is_not_kept(trained, tmp_path, monkeypatch):
    store, run, images = trained

    def wrong(net, example, path, any_size, about):
        path.write_bytes(b"program")
        return lambda x: net(x).detach().numpy() + 1

    monkeypatch.setitem(module._WRITERS, "onnx", wrong)
    with pytest.raises(InputError, match="it was not kept"):
        export_run(store, run.id, "onnx", tmp_path / "net.onnx", images)
    assert list(tmp_path.glob("*net*")) == []


def test_a_hub_folder_loads_and_its_card_says_what_the_record_says(trained, tmp_path):
    store, run, images = trained
    folder = tmp_path / "model"
    export_run(store, run.id, "hf", folder, [])
    model = fcn.from_pretrained(folder)
    x = (torch.from_numpy(images[0].copy()) / 255 - torch.tensor(model.mean)) / torch.tensor(
        model.std
    )
    with torch.no_grad():
        found = model(x.permute(2, 0, 1)[None]).numpy()
    np.testing.assert_allclose(found, own_logits(store, run, images[0]), atol=1e-5)
    card = (folder / "README.md").read_text()
    result = store.result(run.id)
    scores = summarize(result.confusion)
    assert f"| mIoU | {100 * scores.miou:.1f} | [" in card
    assert all(f". {name}\n" in card for name in result.class_names)
    assert run.id in card
    export_run(store, run.id, "hf", folder, [])  # what we wrote is replaced
    with pytest.raises(InputError, match="weights, not a program"):
        export_run(store, run.id, "safetensors", folder, [], preprocess=True)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("README.md", lambda text: "mine", "is not one of ours"),
        ("README.md", lambda text: text.replace("mIoU", "mean IoU"), "was changed since"),
        ("README.md", lambda text: text + "Trained by us.\n", "was changed since"),
        ("config.json", lambda text: text.replace("std", "norm"), "not as it was written"),
    ],
)
def test_what_was_changed_in_an_exported_folder_stays(trained, tmp_path, name, change, said):
    """Whichever file it is: nothing beside it is written over either."""
    store, run, _ = trained
    folder = tmp_path / "model"

    def look():
        return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}

    export_run(store, run.id, "hf", folder, [])
    (folder / name).write_text(change((folder / name).read_text()))
    before = look()
    assert sorted(before) == ["README.md", "config.json", "model.safetensors"]
    with pytest.raises(InputError, match=said):
        export_run(store, run.id, "hf", folder, [])
    assert look() == before


@pytest.mark.parametrize(
    ("groups", "units", "what"),
    [
        (list("abcdefghi"), list(range(9)), "9 images"),
        (list("aabbccddeeffgghh"), [k // 2 for k in range(16)], "16 images in 8 groups"),
        # Of few groups neighbours are drawn together, never over the end of a group.
        (["x"] * 20, [k // 2 for k in range(20)], "20 images in 1 group, 10 blocks of neighbours"),
        (
            list("xyxyxyxy"),
            [0, 4, 1, 5, 2, 6, 3, 7],
            "8 images in 2 groups, 8 blocks of neighbours",
        ),
        (
            ["x"] * 17 + ["y"],
            [*np.arange(17) // 2, 9],
            "18 images in 2 groups, 10 blocks of neighb",
        ),
    ],
)
def test_what_is_drawn_together_for_a_cards_intervals(groups, units, what):
    found, said = choose_units(groups)
    assert found.tolist() == units
    assert said.startswith(what)


def test_a_card_has_no_interval_where_nothing_can_vary(trained, monkeypatch):
    """Of frames of one clip, drawn whole, every interval would be of no width."""
    store, run, _ = trained
    file = store.evaluation(store.result(run.id))
    number = len(file.names)
    monkeypatch.setattr(type(file), "groups", lambda self: ["clip"] * number)
    low, high = re.search(
        r"\| pixel accuracy \| .* \| \[(.*), (.*)\] \|", make_card(store, run.id)
    ).groups()
    assert float(low) < float(high)
    monkeypatch.setattr("bench.run.model_card.FEWEST", number + 1)
    card = make_card(store, run.id)
    assert "| – |\n| pixel accuracy" in card
    assert f"No intervals: {number} images in 1 group" in card
