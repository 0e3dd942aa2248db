"""Questions about published weights: each finds its files in the folder of `--weights`."""

import json

import pytest
import timm
from safetensors.torch import save_file

from ablations.expand import expand
from ablations.planning import keep_only
from ablations.registry import list_ablations, load_ablation
from bench.data.facts import DatasetFacts
from bench.grid.preflight import check_models
from bench.grid.starts import check_starts
from bench.store.runs import Store
from fcn.errors import InputError
from fcn.weights_folder import VARIABLE

NAMES = [name for name in list_ablations() if "pretrained" in name]
LITE = {f"efficientnet_lite{size}": f"tf_efficientnet_lite{size}" for size in (0, 2)}
FILES = {**LITE, "vgg16-hed": "vgg16"}
FACTS = DatasetFacts("ab" * 32, {"train": 305, "held_out": 62, "val": 101, "test": 233}, 11)


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    """A folder with all files, as large as the published ones and as good as random."""
    folder = tmp_path_factory.mktemp("weights")
    for file, backbone in FILES.items():
        state = timm.create_model(backbone).state_dict()
        trunk = {key: t for key, t in state.items() if not key.startswith(("pre_logits", "head"))}
        save_file(trunk, folder / f"{file}.safetensors")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_trained_where_the_files_are(name, trunks, tmp_path, monkeypatch):
    store, facts = Store(tmp_path), {FACTS.fingerprint: FACTS}
    plan = expand(load_ablation(name), lambda data: FACTS)
    pretrained = {planned.run.spec.model.pretrained for planned in plan.runs} - {False}
    assert pretrained <= {f"{file}.safetensors" for file in FILES}
    with pytest.raises(InputError, match=r"there is no weights file '(efficientnet|vgg16-hed)"):
        check_starts(plan, facts, store)
    monkeypatch.setenv(VARIABLE, str(trunks))
    assert set(check_models(plan, facts)) == set(plan.variants)
    remarks = check_starts(plan, facts, store)
    assert len([remark for remark in remarks if "are here" in remark]) == len(pretrained)
    assert plan.doubles == []


@pytest.mark.parametrize("name", NAMES)
def test_what_it_chooses_from_is_never_judged_on_test(name):
    plan = expand(load_ablation(name), lambda data: FACTS)
    chooses = name.rpartition("/")[2] in {"rates", "recipe", "strategies", "finetuning"}
    judges = {planned.run.spec.evaluate.split for planned in plan.runs}
    assert judges == {"held_out" if chooses else "test"}


def test_a_part_of_a_question_says_what_is_left_out():
    """Its report has the question and the expectation of all of it."""
    plan = expand(load_ablation("camvid/pretrained/scratch-or-pretrained"), lambda data: FACTS)
    (said,) = keep_only(plan, ["lite0*"]).remarks
    assert said.startswith("left out (--only): vgg16-scratch and vgg16, ")
    assert keep_only(plan, ["*"]).remarks == plan.remarks == ()


JUDGED = DatasetFacts("cd" * 32, {"train": 9, "seg11valid": 9}, 21)


@pytest.mark.parametrize("meant", ["timm", "caffe"])
@pytest.mark.parametrize("shown", ["timm", "caffe"])
def test_weights_that_meet_images_of_the_other_kind_are_said_to(
    meant, shown, trunks, tmp_path, monkeypatch
):
    """It costs six points (pytorch-fcn, issue 84); as a question of its own it may be asked."""
    monkeypatch.setenv(VARIABLE, str(trunks))
    values = {"mean": [0.485, 0.456, 0.406]} if meant == "timm" else meant
    (trunks / "vgg16-hed.json").write_text(json.dumps({"preprocessing": values}))
    settings = {"model.pretrained": "vgg16-hed.safetensors", "model.preprocessing": shown}
    plan = expand(load_ablation("paper/skips", settings), lambda data: JUDGED)
    (remark,) = check_starts(
        keep_only(plan, ["pool3"]), {JUDGED.fingerprint: JUDGED}, Store(tmp_path)
    )
    said = f"for images as model.preprocessing {meant} shows them, and it is {shown}: set it to"
    assert (said in remark) == (meant != shown)
    (trunks / "vgg16-hed.json").unlink()
