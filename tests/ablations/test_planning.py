"""What a question met is remembered, so that a report finds its runs again, and no others."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from ablations.planning import plan_spec
from bench.data.catalog import Catalog
from bench.spec import DataSpec
from bench.store.runs import Store
from fcn.errors import InputError

SPEC = """
question: Whose images are these?
common:
  data: {dataset: folder}
  train: {steps: 1}
variants: {a: {}}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "q.yaml").write_text(SPEC)
    return tmp_path


def draw(folder, seed):
    rng = np.random.default_rng(seed)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name in ("p0", "p1"):
        pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        mask = rng.integers(0, 2, (32, 32), dtype=np.uint8)
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    (folder / "classes.txt").write_text("ground\nthing\n")
    (folder / "train.txt").write_text("p0\n")
    (folder / "test.txt").write_text("p1\n")
    return folder


def meet(place, data, *, begin=True, spec="q.yaml", settings=None):
    """Plan over a folder as `run` does, and begin the runs."""
    store = Store(place / "runs")
    plan, catalog = plan_spec(str(place / spec), store, data, settings)
    catalog.remember()
    for planned in plan.runs:
        catalog.pack(planned.run.spec.data)
        if begin:
            store.prepare(planned.run)
    return plan


def recall(place, spec="q.yaml"):
    return plan_spec(str(place / spec), Store(place / "runs"), None, None, recall=True)[0]


def ids(plan):
    return [planned.run.id for planned in plan.runs]


def test_a_question_is_answered_from_its_own_folder(place):
    """Another data set that the store learnt since is not it, whether run or only prepared."""
    cats = meet(place, draw(place / "cats", 1))
    Catalog(Store(place / "runs"), draw(place / "dogs", 2)).pack(DataSpec(dataset="folder"))
    assert ids(recall(place)) == ids(cats)
    (place / "other.yaml").write_text(SPEC)
    dogs = meet(place, place / "dogs", spec="other.yaml")
    assert ids(recall(place)) == ids(cats)
    assert ids(recall(place, "other.yaml")) == ids(dogs)
    assert ids(cats) != ids(dogs)


def test_two_folders_with_runs_are_both_named_and_none_is_taken(place):
    meet(place, draw(place / "cats", 1))
    meet(place, draw(place / "dogs", 2))
    with pytest.raises(InputError, match=r"dogs and of .*cats, and .*runs of both.*--data DIR"):
        recall(place)


def test_a_folder_that_was_only_checked_does_not_hide_the_runs_of_another(place):
    cats = meet(place, draw(place / "cats", 1))
    meet(place, draw(place / "dogs", 2), begin=False)
    assert ids(recall(place)) == ids(cats)


def test_a_corrected_mask_is_the_same_folder(place):
    """The finished runs stay until the corrected images have runs of their own."""
    before = meet(place, draw(place / "cats", 1))
    Image.new("L", (32, 32), 1).save(place / "cats/masks/p1.png")
    after = meet(place, place / "cats", begin=False)
    assert ids(after) != ids(before)
    assert ids(recall(place)) == ids(before)
    meet(place, place / "cats")
    assert ids(recall(place)) == ids(after)


def test_a_spec_that_was_moved_is_known_by_its_name(place):
    cats = meet(place, draw(place / "cats", 1))
    (place / "elsewhere").mkdir()
    (place / "q.yaml").rename(place / "elsewhere/q.yaml")
    assert ids(recall(place, "elsewhere/q.yaml")) == ids(cats)


def test_an_unknown_question_over_several_data_sets_is_refused(place):
    store = Store(place / "runs")
    Catalog(store, draw(place / "cats", 1)).pack(DataSpec(dataset="folder"))
    assert recall(place)  # there is one it can be
    Catalog(store, draw(place / "dogs", 2)).pack(DataSpec(dataset="folder"))
    with pytest.raises(InputError, match=r"knows 2 versions of dataset .*--data DIR"):
        recall(place)


def test_what_version_0_1_remembered_is_still_known(place):
    cats = meet(place, draw(place / "cats", 1))
    path = place / "runs/datasets.json"
    memory = json.loads(path.read_text())
    earlier = {key: next(iter(found.values())) for key, found in memory["datasets"].items()}
    path.write_text(json.dumps(earlier))
    assert ids(recall(place)) == ids(cats)


@pytest.mark.parametrize("content", ["[]", "{", '{"format": 2, "datasets": 3}', "\x00"])
def test_a_damaged_memory_ends_only_what_needs_it(place, content):
    cats = meet(place, draw(place / "cats", 1))
    (place / "runs/datasets.json").write_text(content)
    with pytest.raises(InputError, match=r"datasets\.json is damaged or foreign.*--data DIR"):
        recall(place)
    assert ids(meet(place, place / "cats")) == ids(cats)
    assert (place / "runs/datasets-damaged.json").read_text() == content
    assert ids(recall(place)) == ids(cats)


def weights_spec(place, file):
    values = yaml.safe_load(SPEC)
    values["common"]["model"] = {"pretrained": str(file)}
    (place / "q.yaml").write_text(yaml.safe_dump(values))


def test_weights_that_are_gone_are_remembered_and_that_is_said(place):
    file = place / "w.pth"
    file.write_bytes(b"weights")
    weights_spec(place, file)
    plan = meet(place, draw(place / "cats", 1))
    file.unlink()
    again = recall(place)
    assert ids(again) == ids(plan)
    assert len(again.remarks) == 1
    assert f"model.pretrained {file} is not at hand" in again.remarks[0]
    assert plan.runs[0].run.sources["model.pretrained"] in again.remarks[0]


def test_weights_that_were_replaced_are_both_named(place):
    file = place / "w.pth"
    file.write_bytes(b"weights")
    weights_spec(place, file)
    before = meet(place, draw(place / "cats", 1))
    file.write_bytes(b"others")
    for plan in (recall(place), meet(place, place / "cats")):
        assert ids(plan) != ids(before)
        was, now = (p.runs[0].run.sources["model.pretrained"] for p in (before, plan))
        assert was in plan.remarks[0]
        assert now in plan.remarks[0]
    assert Store(place / "runs").run(ids(before)[0]) == before.runs[0].run


def test_a_setting_of_the_command_line_counts_in_base_ten(place):
    plan = meet(place, draw(place / "cats", 1), settings=["train.steps=010"])
    assert plan.runs[0].run.spec.train.steps == 10


def test_the_command_that_makes_it_again_says_where_weights_are_looked_for(place, monkeypatch):
    cats, folder = draw(place / "cats", 1), place / "weights"
    folder.mkdir()
    (folder / "net.safetensors").write_bytes(b"weights")
    assert meet(place, cats).command.endswith(" --data DIR")
    monkeypatch.setenv("FCN_BENCH_WEIGHTS", str(folder))
    bare = meet(place, cats, settings=["model.pretrained=net.safetensors"])
    assert bare.command.endswith(" --data DIR --weights WEIGHTS")
    path = folder / "net.safetensors"
    assert meet(place, cats, settings=[f"model.pretrained={path}"]).command.endswith("--data DIR")
