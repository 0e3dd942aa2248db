"""Views by kernels, against those of a CPU: no bit differs, whatever the settings."""

import importlib
import re

import numpy as np
import pytest
import torch
from interpreted import interpreted_kernels
from small_datasets import open_folder, write_folder

from bench.data.augment import View, draw_view, scaled_size, view_images, view_targets
from bench.data.batches import Batches
from bench.data.device_views import DeviceViews, count_taps, table_of
from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.data.resident import FlatImages, free_bytes, lay_out, num_bytes, resident
from bench.data.scoring_batches import eval_batches
from bench.spec import DataSpec, TrainSpec

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    options = {"size": 32, "num_train": 7, "num_val": 5, "num_test": 2}
    return pack(open_dataset(DataSpec(options=options), None), tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Depth beside colours, and two targets."""
    options = {"size": 24, "num_train": 4, "num_test": 2, "depth": True, "geometric": True}
    drawn = DataSpec(options=options, inputs=("rgb", "depth"), targets=("semantic", "geometric"))
    whole = pack(open_dataset(drawn, None), tmp_path_factory.mktemp("layers"))
    return whole.choose(
        [one.name for one in whole.available_inputs], [one.name for one in whole.available_targets]
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Images of two sizes in one split."""
    root = write_folder(tmp_path_factory.mktemp("mixed"))
    (root / "train.txt").write_text("a\nb\nc\n")
    (root / "val.txt").unlink()
    return pack(open_folder(root), root / "packs")


def batches(pack, part=(0, 1), input_scale=1.0, **train):
    settings = {"batch_size": 3, "crop": (16, 20), "scale": (0.5, 2)} | train
    more = len(pack.network_options().get("inputs", {"rgb": 3})) - 1
    return Batches(
        pack,
        TrainSpec(**settings),
        input_scale=input_scale,
        seed=0,
        mean=(*MEAN, *(0.4,) * more),
        std=(*STD, *(0.3,) * more),
        device=CPU,
        part=part,
    )


SETTINGS = {
    "a part of each batch": {"part": (1, 2)},
    "twice as large": {"input_scale": 2.0, "scale": (1, 1.5)},
    "augmented": {"augment": ("RandomRotation(degrees=20)", "ColorJitter(brightness=0.4)")},
    "cells sampled": {"loss_sampling": 0.5},
    "balanced, not mirrored": {"sampler": "balanced", "flip": False},
}


def same(source, expected, numbers):
    for k in numbers:
        found, wanted = source.batch(k), expected.batch(k)
        for ours, theirs in zip(found, wanted, strict=True):
            assert torch.equal(ours, theirs)
            assert ours.dtype == theirs.dtype
        assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_batches_have_the_bits_of_a_cpu_whatever_was_drawn_before(shapes):
    with interpreted_kernels():
        settings = {"batch_size": 2, "crop": (12, 14)}
        same(batches(shapes, **settings), batches_of_a_cpu(shapes, settings), (0, 1, 5))


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_so_they_have_with_other_settings(shapes, settings):
    with interpreted_kernels():
        same(batches(shapes, **settings), batches_of_a_cpu(shapes, settings), (4,))


def batches_of_a_cpu(pack, settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.data.batches.has_kernels", lambda device: False)
        return batches(pack, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("free_bytes", [2**40, 0], ids=["resident", "copied"])
@pytest.mark.parametrize("kind", ["mixed", "layers"])
def test_so_have_those_of_ragged_sizes_and_of_several_layers(request, kind, free_bytes):
    whole = request.getfixturevalue(kind).limited(None)  # of which nothing is there yet
    with interpreted_kernels(free_bytes):
        source = batches(whole)
        assert (source._flat is not None) == (free_bytes > 0)
        same(source, batches_of_a_cpu(whole, {}), (3,))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [(0.2, 0.3), (1.0, 1.0)])
def test_so_have_whole_images_and_small_ones(shapes, scale):
    """Shrunk to a fifth a place reads eleven pixels; at scale 1 it is the pixel itself."""
    settings = {"scale": scale, "crop": None if scale == (1.0, 1.0) else (8, 8), "batch_size": 2}
    with interpreted_kernels():
        same(batches(shapes, **settings), batches_of_a_cpu(shapes, settings), (0,))


def test_so_have_images_of_16_bits():
    """Every value of 16 bits may occur; products have 38."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2**16, (3, 20, 24, 2)).astype(np.uint16)
    labels = rng.integers(0, 5, (3, 20, 24), dtype=np.uint8)
    train = TrainSpec(crop=(16, 18), scale=(0.5, 2))
    views = [draw_view(rng, (20, 24), train, 1.0) for _ in images]
    mean, std = (0.3, 100.0), (0.2, 70.0)
    flat = FlatImages(
        torch.from_numpy(images.view(np.int16)).reshape(-1, 2),
        torch.from_numpy(labels).reshape(1, -1),
        torch.tensor([(480 * n, 20, 24) for n in range(3)]),
        {},
    )
    with interpreted_kernels():
        made = DeviceViews(
            *(flat, table_of(views, range(3)), (16, 18)),
            **{"taps": count_taps([(20, 24)], 0.5), "mean": mean, "std": std, "ignored": [255]},
        )
        seen, targets = made.see(1, 2)
    assert torch.equal(seen, view_images(images, views, (16, 18), mean=mean, std=std)[1:])
    expected = view_targets(labels, views, (16, 18), ignore_index=255)
    assert torch.equal(targets[0], expected[1:])


@pytest.mark.parametrize("scale", [1.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_scored_batches_are_those_of_a_cpu_image_by_image(shapes, layers, mixed, scale):
    for whole, split in ((shapes, "val"), (layers, "test"), (mixed, "train")):
        more = len(whole.network_options().get("inputs", {"rgb": 3})) - 1
        options = {
            "input_scale": scale,
            "mean": (*MEAN, *(0.4,) * more),
            "std": (*STD, *(0.3,) * more),
            "device": CPU,
            "batch_size": 2,
        }
        expected = {}
        for group, images, targets in eval_batches(whole, split, **options):
            expected |= {i: (images[k], targets[k]) for k, i in enumerate(group)}
        scored = set()
        with interpreted_kernels():
            for group, images, targets in eval_batches(whole, split, **options):
                for k, i in enumerate(group):
                    assert torch.equal(images[k], expected[i][0])
                    assert torch.equal(targets[k], expected[i][1])
                scored |= set(group)
        assert scored == set(whole.indices(split))


def test_devices_other_than_a_cpu_score_images_of_one_size_together(mixed):
    """Meta stands for them; a CPU keeps the order of the split, and so its bits."""
    indices = mixed.indices("train")
    assert [mixed.size(i) for i in indices] == [(20, 24), (20, 24), (18, 30)]
    options = {"input_scale": 1, "mean": MEAN, "std": STD, "batch_size": 2}
    for device, expected in (
        ("meta", [indices[2:], indices[:2]]),
        ("cpu", [indices[:2], indices[2:]]),
    ):
        made = eval_batches(mixed, "train", device=torch.device(device), **options)
        assert [group for group, _, _ in made] == expected


def test_images_stay_with_their_pack_where_they_fit(mixed):
    indices = mixed.indices("train")
    width = 3 + 1
    assert num_bytes(mixed, indices) == width * sum(H * W for H, W in map(mixed.size, indices))
    with interpreted_kernels(free_bytes=4 * num_bytes(mixed, indices)):
        assert resident(mixed.limited(None), indices, CPU) is None  # a quarter, and no byte more
    with interpreted_kernels(free_bytes=4 * num_bytes(mixed, indices) + 4):
        kept = resident(mixed, indices, CPU)
        assert resident(mixed, indices, CPU) is kept
        assert resident(mixed, indices[:1], CPU) is not kept


@pytest.mark.parametrize(("share", "expected"), [(1.0, 600), (0.5, 500)])
def test_a_run_beside_others_counts_with_its_share_of_the_memory(monkeypatch, share, expected):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (600, 1000))
    monkeypatch.setattr("torch.cuda.get_per_process_memory_fraction", lambda device: share)
    assert free_bytes(torch.device("cuda:1")) == expected


def test_images_lie_end_to_end(mixed, monkeypatch):
    indices = mixed.indices("train")[::-1]
    whole = lay_out(mixed, indices, CPU)
    monkeypatch.setattr("bench.data.resident.PART_BYTES", 1)  # image by image
    for flat in (whole, lay_out(mixed, indices, CPU)):
        for row, i in enumerate(indices):
            assert flat.row[i] == row
            first, H, W = flat.places[row].tolist()
            part = slice(first, first + H * W)
            assert np.array_equal(flat.pixels[part].view(H, W, 3), mixed.image(i))
            assert np.array_equal(flat.labels[0, part].view(H, W), mixed.target(i))


@pytest.mark.parametrize("size", [(3, 3), (37, 53), (480, 1)])
@pytest.mark.parametrize("scale", [0.07, 0.5, 0.7, 1.0, 3.0])
def test_no_place_reads_more_pixels_than_are_counted(size, scale):
    """By brute force: how many pixels have a part in a place, for each place of the axis."""
    taps = count_taps([size], scale)
    for side, seen in zip(size, scaled_size(size, scale), strict=True):
        reach = max(1.0, side / seen)
        centres = (np.arange(seen) + 0.5) * side / seen
        away = np.abs(np.arange(side) + 0.5 - centres[:, None])
        assert (away < reach + 1e-6).sum(1).max() <= taps


def test_a_view_is_six_whole_numbers():
    views = [View((9, 9), (5, 6), -1, 2, True), View((4, 4), (8, 8))]
    assert table_of(views, [7, 0]).tolist() == [[7, -1, 2, 5, 6, 1], [0, 0, 0, 8, 8, 0]]


POINTERS = {
    "find_places": {
        "views": "*i32",
        "images": "*i64",
        **dict.fromkeys(("first", "weights", "nearest"), "*i32"),
    },
    "see": {
        **dict.fromkeys(("pixels", "labels"), "*u8"),
        **dict.fromkeys(("views", "rows", "row_weights", "row_labels"), "*i32"),
        **dict.fromkeys(("columns", "column_weights", "column_labels"), "*i32"),
        **{"images": "*i64", "statistics": "*fp32", "ignored": "*i64"},
        **{"seen": "*fp32", "targets": "*i64", "num_pixels": "i64"},
    },
}
FIXED = {
    "find_places": {"axis": 1, "taps": 5, "fraction_bits": 22, "block": 128},
    "see": {
        **{"taps": 5, "fraction_bits": 22, "is_deep": False},
        **{"rows_at_once": 4, "columns_at_once": 64},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ones"),
    [("find_places", ()), ("see", ("num_targets",)), ("see", ("num_targets", "num_channels"))],
)
def test_a_gpu_rounds_after_each_operation_as_a_cpu_does(name, ones, tmp_path, monkeypatch):
    """Compiled for one that is not here: no product is contracted, no quotient approximated.

    Numbers that are 1 are part of a kernel: so Triton has them.
    """
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(importlib.import_module("bench.data.view_kernels"), name)
    names, fixed = list(kernel.arg_names), FIXED[name] | dict.fromkeys(ones, 1)
    types = dict.fromkeys(names, "i32") | POINTERS[name] | dict.fromkeys(fixed, "constexpr")
    source = ASTSource(kernel, types, {(names.index(key),): fixed[key] for key in fixed})

    def floating(fusion):
        target = GPUTarget("cuda", 90, 32)
        found = triton.compile(source, target=target, options={"enable_fp_fusion": fusion})
        return set(re.findall(r"\b((?:fma|div|rcp|mad)[.\w]*\.f(?:32|64))\b", found.asm["ptx"]))

    assert floating(False) == {"div.rn.f64" if name == "find_places" else "div.rn.f32"}
    if name == "find_places":
        assert "fma.rn.f64" in floating(True)  # so it could be seen
