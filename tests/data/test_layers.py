"""More than an image and a target: read, checked, packed, batched; the usual as it was."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat, savemat
from small_datasets import open_folder, write_layer

from bench.data.batches import Batches
from bench.data.catalog import Catalog, recall_question
from bench.data.check import check
from bench.data.files import read_input
from bench.data.layers import COLOUR, Input, network_options
from bench.data.packs.pack import pack
from bench.data.registry import DATASETS, open_dataset
from bench.data.scoring_batches import eval_batches
from bench.spec import DataSpec, TrainSpec
from bench.store.runs import Store
from fcn.errors import InputError

DRAWN = {"depth": True, "geometric": True}
ALL = {
    "nyudv2": (("rgb", "depth", "hha"), ("semantic",)),
    "siftflow": (("rgb",), ("semantic", "geometric")),
    "shapes": (("rgb", "depth"), ("semantic", "geometric")),
}


@pytest.fixture
def make_rich(make_dataset):
    """Open a small dataset with all it has."""
    return lambda name: make_dataset(name, **(DRAWN if name == "shapes" else {}))


@pytest.mark.parametrize("name", list(DATASETS))
class TestEveryDataset:
    def test_layers_fit_the_image_and_their_description(self, name, make_rich):
        dataset = make_rich(name)
        found = tuple(tuple(x.name for x in xs) for xs in (dataset.inputs, dataset.targets))
        assert found == ALL.get(name, found)
        for split, names in dataset.splits.items():
            for name in names:
                image, _ = dataset.read(split, name)
                for wanted in dataset.more_inputs:
                    layer = dataset.read_input(split, name, wanted)
                    assert layer.dtype == np.uint8
                    assert layer.shape == (*image.shape[:2], wanted.channels)
                for target in dataset.more_targets:
                    labels = dataset.read_target(split, name, target)
                    allowed = {*range(len(target.class_names)), target.ignore_index}
                    assert labels.shape == image.shape[:2]
                    assert set(np.unique(labels)) <= allowed

    def test_check_shows_the_range_of_every_layer(self, name, make_rich):
        dataset = make_rich(name)
        report = check(dataset)
        assert report.problems == ()
        numbers = {row["number"]: row for row in report.rows()}
        for one in dataset.more_inputs:
            assert " to " in numbers[f"values of {one.name}"]["train"]
        for target in dataset.more_targets:
            shares = [numbers[f"class {c} of {target.name}"]["train"] for c in target.class_names]
            assert sum(s for s in shares if s != "never") == pytest.approx(1, abs=1e-3)
            assert 0 < numbers[f"ignored pixels of {target.name}"]["train"] < 1

    def test_a_pack_gives_the_layers_that_are_chosen(self, name, make_rich, tmp_path):
        dataset = make_rich(name)
        packed = pack(dataset, tmp_path)
        inputs, targets = ([x.name for x in xs] for xs in (dataset.inputs, dataset.targets))
        chosen = packed.choose(inputs[::-1], targets[::-1])
        for split, names in dataset.splits.items():
            for i, name in zip(packed.indices(split), names, strict=True):
                image, labels = dataset.read(split, name)
                layers = [
                    image,
                    *(dataset.read_input(split, name, x) for x in dataset.more_inputs),
                ]
                maps = [
                    labels,
                    *(dataset.read_target(split, name, x) for x in dataset.more_targets),
                ]
                assert np.array_equal(packed.image(i), image)
                assert np.array_equal(packed.target(i), labels)
                assert np.array_equal(chosen.image(i), np.concatenate(layers[::-1], axis=2))
                assert np.array_equal(chosen.target(i).reshape(-1, *labels.shape), maps[::-1])
        for target in packed.available_targets:
            own = packed.choose(("rgb",), (target.name,))
            total = np.bincount(
                np.concatenate([own.target(i).ravel() for i in own.indices("train")]), minlength=256
            )
            assert own.class_counts("train").tolist() == total[: own.num_classes].tolist()
        with pytest.raises(InputError, match=r"data\.inputs: unknown input 'sonar'"):
            packed.choose(("rgb", "sonar"), ())
        with pytest.raises(InputError, match=r"data\.targets: unknown target 'geometrik'"):
            packed.choose(("rgb",), ("geometrik",))


def test_options_that_add_nothing_change_no_fingerprint_and_no_byte(make_dataset, tmp_path):
    """The images are drawn as before; only what is added comes beside them."""
    plain, rich = make_dataset("shapes"), make_dataset("shapes", **DRAWN)
    fingerprint = "61c5884f83b07178"
    assert plain.fingerprint()[:16] == fingerprint  # of a store made before there were options
    packs = [pack(dataset, tmp_path) for dataset in (plain, rich)]
    for file in ("images.bin", "targets.bin"):
        assert (packs[0].folder / file).read_bytes() == (packs[1].folder / file).read_bytes()
    assert sorted(p.name for p in packs[0].folder.iterdir()) == [
        "images.bin", "index.json", "targets.bin",
    ]  # fmt: skip
    index = json.loads((packs[0].folder / "index.json").read_text())
    assert not {"target_name", "inputs", "targets"} & set(index)
    assert set(index["pictures"][0]) == {
        "name", "split", "height", "width", "offset", "class_counts", "checksums",
    }  # fmt: skip


def test_heights_of_shapes_show_in_depth_and_not_in_colour(make_dataset):
    dataset = make_dataset("shapes", **DRAWN)
    means = {0: [], 1: [], 2: []}
    for name in dataset.splits["train"]:
        depth = dataset.read_input("train", name, dataset.more_inputs[0])[..., 0].astype(float)
        geometry = dataset.read_target("train", name, dataset.more_targets[0])
        target = dataset.read("train", name)[1]
        assert ((geometry == 0) == (target == 0)).all()
        above = depth - np.linspace(30, 70, len(depth))[:, None]
        for kind, found in means.items():
            if (geometry == kind).any():
                found.append(above[geometry == kind].mean())
    assert max(means[0]) < min(means[1])
    assert max(means[1]) < min(means[2])


class TestBatches:
    @pytest.fixture
    def packed(self, make_dataset, tmp_path):
        return pack(make_dataset("shapes", **DRAWN), tmp_path)

    def draw(self, packed, index=0, **train):
        settings = {"batch_size": 3, "crop": (24, 28), "scale": (0.7, 1.4), **train}
        return Batches(
            packed,
            TrainSpec(steps=1, **settings),
            input_scale=1.0,
            seed=4,
            mean=[0.0] * packed.num_channels,
            std=[1.0] * packed.num_channels,
            device=torch.device("cpu"),
        ).batch(index)

    def test_every_layer_is_seen_in_the_same_view(self, packed):
        """As if each layer were a dataset of its own, with the image's randomness."""
        images, targets = self.draw(packed.choose(("rgb", "depth"), ("semantic", "geometric")))
        colour, semantic = self.draw(packed)
        _, geometric = self.draw(packed.choose(("rgb",), ("geometric",)))
        assert torch.equal(images[:, :3], colour)
        assert torch.equal(targets, torch.stack([semantic, geometric], dim=1))
        depth, _ = self.draw(packed.choose(("depth",), ()))
        assert torch.equal(images[:, 3:], depth)

    def test_mirrored_geometry_stays_on_its_depth(self, packed):
        """High shapes lie above low ones after any scale, crop and flip."""
        chosen = packed.choose(("depth",), ("geometric",))
        for index in range(4):
            depth, geometry = self.draw(chosen, index, scale=(1.5, 1.5), crop=(32, 32))
            high, low = (depth[:, 0][geometry == kind].mean() for kind in (2, 1))
            assert high > low + 0.1

    def test_evaluation_has_all_layers_at_the_labels_size(self, packed):
        chosen = packed.choose(("rgb", "depth"), ("semantic", "geometric"))
        mean, std = [0.0] * 4, [1.0] * 4
        for indices, images, targets in eval_batches(
            chosen, "test", input_scale=0.5, mean=mean, std=std, device=torch.device("cpu"),
            batch_size=2,
        ):  # fmt: skip
            assert images.shape == (len(indices), 4, 16, 16)
            assert targets.shape == (len(indices), 2, 32, 32)
            assert np.array_equal(targets[0].numpy(), chosen.target(indices[0]))


class TestNYUDv2:
    def test_depth_enters_as_in_the_reference(self, make_dataset):
        """Log of millimetres less 7.844; one of it counts as one grey level of a colour."""
        dataset = make_dataset("nyudv2")
        depth, number = dataset.more_inputs[0], dataset.splits["train"][0]
        raw = np.asarray(Image.open(dataset.root / f"data/depth/img_{number}.png")).astype(float)
        seen = dataset.read_input("train", number, depth)[..., 0] / 255
        ours = (seen - depth.mean[0]) / depth.std[0]
        clipped = raw.clip(500, 12000)
        assert np.abs(ours - (np.log(clipped) - 7.844) / 57.6).max() < 0.007 / 57.6
        assert dataset.more_inputs[1].mean == (132.431 / 255, 94.076 / 255, 118.477 / 255)
        assert dataset.more_inputs[1].std == ()

    def test_labels_are_rotated(self, make_dataset):
        dataset = make_dataset("nyudv2")
        number = dataset.splits["test"][0]
        raw = loadmat(dataset.root / f"segmentation/img_{number}.mat")["segmentation"]
        theirs = raw.astype(np.uint8) - np.uint8(1)  # 0 becomes 255, as in nyud_layers.py
        assert np.array_equal(dataset.read("test", number)[1], theirs)
        assert len(dataset.class_names) == 40

    def test_validation_is_trained_on_unless_kept(self, make_dataset):
        assert make_dataset("nyudv2").splits == {
            "train": ("5001", "5002", "5003"),
            "test": ("5004",),
        }
        assert make_dataset("nyudv2", val=True).splits["val"] == ("5003",)

    def test_what_is_not_asked_for_is_not_needed(self, make_dataset):
        dataset = make_dataset("nyudv2", hha=False)
        assert [one.name for one in dataset.inputs] == ["rgb", "depth"]
        for file in (dataset.root / "data" / "hha").iterdir():
            file.unlink()
        assert check(dataset).problems == ()

    def test_holes_in_depth_are_named(self, make_dataset):
        dataset = make_dataset("nyudv2")
        path = dataset.root / "data/depth/img_5001.png"
        raw = np.asarray(Image.open(path)).copy()
        raw[2, 3] = 0
        write_layer(path, raw)
        (problem,) = check(dataset).problems
        assert str(path) in problem
        assert "1 pixels of 0" in problem


class TestSIFTFlow:
    def test_both_labellings_are_rotated(self, make_dataset):
        dataset = make_dataset("siftflow")
        scenes = "spatial_envelope_256x256_static_8outdoorcategories"
        for folder, read in (
            ("SemanticLabels", lambda s, n: dataset.read(s, n)[1]),
            ("GeoLabels", lambda s, n: dataset.read_target(s, n, dataset.more_targets[0])),
        ):
            raw = loadmat(dataset.root / folder / scenes / "street_c.mat")["S"].copy()
            raw[raw == -1] = 0
            theirs = raw.astype(np.uint8) - np.uint8(1)
            assert np.array_equal(read("test", "street_c"), theirs)
        assert len(dataset.class_names) == 33
        assert dataset.more_targets[0].class_names == ("sky", "horizontal", "vertical")


@pytest.mark.parametrize("name", ["nyudv2", "siftflow"])
class TestMatlabFiles:
    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda path: path.unlink(), "is missing; restore it"),
            (lambda path: path.write_bytes(path.read_bytes()[:150]), "cannot be read"),
            (lambda path: path.write_text("hello"), "cannot be read"),
            (lambda path: savemat(path, {"other": np.ones((2, 2))}), "has no matrix"),
            (lambda path: savemat(path, {"S": "x", "segmentation": "x"}), "no matrix of class"),
        ],
    )
    def test_a_bad_one_is_named(self, name, damage, message, make_dataset):
        dataset = make_dataset(name)
        key = next(iter(dataset.files))
        path = dataset.root / dataset.files[key][1]
        damage(path)
        (problem,) = check(dataset).problems
        assert str(path) in problem
        assert message in problem

    def test_no_folder_says_what_to_fetch(self, name, tmp_path):
        for data_dir in (None, tmp_path):
            with pytest.raises(
                InputError, match=r"--data.*unpack (nyud\.tar|SiftFlowDataset\.zip)"
            ):
                open_dataset(DataSpec(dataset=name), data_dir)

    def test_without_lists_beside_the_files_ours_are_read(self, name, make_dataset):
        root = make_dataset(name).root
        for path in root.glob("*.txt"):
            path.unlink()
        dataset = open_dataset(DataSpec(dataset=name), root)
        counts = {"nyudv2": (795, 654), "siftflow": (2486, 200)}
        assert tuple(len(names) for names in dataset.splits.values()) == counts[name]
        with pytest.raises(InputError, match="is missing; restore it"):
            dataset.fingerprint()


class TestFolder:
    @pytest.fixture
    def rich(self, folder):
        """Depth of 16 bits and a second target beside the images."""
        for path in (folder / "images").iterdir():
            height, width = np.asarray(Image.open(path)).shape[:2]
            depth = np.full((height, width), 256, dtype=np.uint16)
            depth[:, width // 2 :] = 4096
            write_layer(folder / "depth" / path.name, depth)
            write_layer(folder / "side" / path.name, (depth > 256).astype(np.uint8))
        (folder / "classes-side.txt").write_text("left\nright\n")
        return folder

    def test_options_name_further_folders(self, rich):
        dataset = open_folder(rich, inputs="depth", targets="side")
        assert check(dataset).problems == ()
        depth = dataset.read_input("train", "a", dataset.more_inputs[0])
        assert np.unique(depth).tolist() == [0, 128]  # 4096 is half of the way from 2^8 to 2^16
        side = dataset.read_target("train", "a", dataset.more_targets[0])
        assert side[0, -1] == 1
        assert dataset.fingerprint() != open_folder(rich).fingerprint()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"inputs": "../x"}, "name folders beside"),
            ({"inputs": "images"}, "name folders beside"),
            ({"inputs": "sonar"}, "sonar is no folder of images"),
            ({"targets": "depth"}, "classes-depth.txt is missing"),
        ],
    )
    def test_what_is_not_there_is_refused(self, rich, options, message):
        with pytest.raises(InputError, match=message):
            open_folder(rich, **options)

    def test_another_size_or_kind_is_named(self, rich):
        write_layer(rich / "depth" / "b.png", np.full((4, 5), 300, dtype=np.uint16))
        write_layer(rich / "depth" / "c.png", np.zeros((18, 30), dtype=np.uint8))
        (rich / "side" / "d.png").unlink()
        problems = check(open_folder(rich, inputs="depth", targets="side")).problems
        assert len(problems) == 3
        for problem, part in zip(problems, ("(4, 5, 1)", "grey of 16 bits", "d.png"), strict=True):
            assert part in problem


def test_grey_and_colour_inputs_are_told_apart(tmp_path):
    write_layer(tmp_path / "grey.png", np.full((3, 4), 7, dtype=np.uint8))
    assert read_input(tmp_path / "grey.png", Input("x", 1)).shape == (3, 4, 1)
    write_layer(tmp_path / "colour.png", np.zeros((3, 4, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="grey of 8 bits"):
        read_input(tmp_path / "colour.png", Input("x", 1))
    # Of 1 bit: as an image it is 0 and 255, as a number 0 and 1; nobody knows which was meant.
    write_layer(tmp_path / "bits.png", np.eye(3, dtype=bool))
    with pytest.raises(InputError, match="grey of 8 bits"):
        read_input(tmp_path / "bits.png", Input("x", 1))
    with pytest.raises(InputError, match="files have 1 or 3"):
        read_input(tmp_path / "colour.png", Input("x", 2))


def test_logarithms_are_even_in_log(tmp_path):
    values = np.array([[100, 464, 10000, 1, 60000]], dtype=np.uint16)
    write_layer(tmp_path / "d.png", values)
    seen = read_input(tmp_path / "d.png", Input("d", 1, log_range=(100, 10000)))[0, :, 0]
    assert seen.tolist() == [0, 85, 255, 0, 255]  # 464 is a third of the way


def test_a_image_alone_needs_nothing_unusual():
    assert network_options([COLOUR], [5]) == {"num_classes": 5}
    rich = network_options([COLOUR, Input("hha", 3, mean=(0.1, 0.2, 0.3))], [5, 2])
    assert rich["inputs"] == {"rgb": 3, "hha": 3}
    assert rich["statistics"] == {"hha": [[0.1, 0.2, 0.3], []]}
    assert rich["more_classes"] == [2]


def test_a_store_remembers_the_layers_of_a_dataset(tmp_path):
    """A report is planned without the images."""
    rich = DataSpec(
        options={"size": 16, "num_train": 1, "num_val": 1, "num_test": 1, **DRAWN},
        inputs=("depth", "rgb"),
        targets=("geometric", "semantic"),
    )
    plain = DataSpec(options={"size": 16, "num_train": 1, "num_val": 1, "num_test": 1})
    store = Store(tmp_path)
    for data in (rich, plain):
        packed = Catalog(store, None).pack(data)
        (known,) = recall_question(store, "any", strict=True)
        recalled = Catalog(store, None, recall=known, reads_data=False).facts(data)
        assert recalled.classes(data) == ((3, 6) if data is rich else (6,))
        chosen = packed.choose(data.inputs, data.targets)
        assert recalled.network_options(data) == chosen.network_options()
    before = (tmp_path / "datasets.json").stat().st_mtime_ns
    Catalog(store, None).pack(plain)
    assert (tmp_path / "datasets.json").stat().st_mtime_ns == before
