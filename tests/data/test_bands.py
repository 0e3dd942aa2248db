"""Images of 16 bits and of many bands: every bit reaches the network, scaled by their range."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from small_datasets import open_folder

from bench.data.bands import read_bands, render
from bench.data.batches import Batches
from bench.data.check import check
from bench.data.facts import DatasetFacts
from bench.data.files import read_image
from bench.data.layers import Input, scale_statistics, to_json
from bench.data.packs.pack import pack
from bench.data.scoring_batches import eval_batches
from bench.spec import DataSpec, TrainSpec
from fcn.errors import InputError

H, W = 24, 30
RANGE = (1000.0, 60_000.0)
CPU = torch.device("cpu")


def draw(seed, bands=1):
    """Smooth 16-bit values, so that neighbours differ by low bits too."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.uniform(*RANGE, (4, 5)).astype(np.float32))
    smooth = np.asarray(coarse.resize((W, H), Image.Resampling.BICUBIC)).clip(0, 65535)
    return np.dstack([np.roll(smooth, k, 1) for k in range(bands)]).astype(np.uint16)


@pytest.fixture
def deep(tmp_path):
    """Write a folder of 16-bit images; return a function that opens it, and what was drawn."""

    def write(bands=1, save=None):
        drawn = {name: draw(k, bands) for k, name in enumerate("abc")}
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
        for k, (name, values) in enumerate(drawn.items()):
            if save:
                save(tmp_path / "images" / f"{name}.tif", values)
            else:
                Image.fromarray(values[..., 0]).save(tmp_path / "images" / f"{name}.tif")
            mask = np.random.default_rng(k).integers(0, 2, (H, W), np.uint8)
            Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
        low, high = RANGE
        text = f"bands: {{number: {bands}, range: [{low}, {high}]}}\nclasses: {{a: 0, b: 1}}"
        (tmp_path / "classes.yaml").write_text(text)
        (tmp_path / "splits.yaml").write_text("train: [a, b]\nval: [c]")
        return open_folder(tmp_path), drawn

    return write


def test_a_pack_holds_all_sixteen_bits(deep, tmp_path):
    dataset, drawn = deep()
    assert check(dataset).problems == ()
    packed = pack(dataset, tmp_path / "packs").choose(("bands",), ())
    for i, name in enumerate("abc"):
        assert packed.image(i).dtype == np.uint16
        assert np.array_equal(packed.image(i), drawn[name])
    assert (packed.folder / "input-bands.bin").stat().st_size == 3 * 2 * H * W


def test_the_network_sees_the_range_as_0_to_1_less_the_mean_over_the_deviation(deep, tmp_path):
    dataset, drawn = deep()
    packed = pack(dataset, tmp_path / "packs").choose(("bands",), ())
    options = {"input_scale": 1.0, "mean": (0.4,), "std": (0.2,), "device": CPU}
    seen = {
        packed.name(numbers[0]): images[0, 0].double().numpy()
        for split in ("train", "val")
        for numbers, images, _ in eval_batches(packed, split, batch_size=1, **options)
    }
    low, high = RANGE
    for name, values in drawn.items():
        right = ((values[..., 0].astype(float) - low) / (high - low) - 0.4) / 0.2
        np.testing.assert_allclose(seen[name], right, atol=1e-5)  # a level is 8.5e-5


@pytest.mark.parametrize("scale", [0.5, 0.73, 1.6])
def test_resampling_keeps_the_low_bits(deep, tmp_path, scale):
    """Another library's bilinear resize of floats, one axis at a time, is right to a level."""
    dataset, drawn = deep()
    packed = pack(dataset, tmp_path / "packs").choose(("bands",), ())
    options = {"input_scale": scale, "mean": (0.0,), "std": (1.0,), "device": CPU}
    ((_, images, _),) = eval_batches(packed, "val", batch_size=1, **options)
    h, w = images.shape[-2:]
    image = Image.fromarray(drawn["c"][..., 0].astype(np.float32))
    image = image.resize((w, H), Image.Resampling.BILINEAR).resize(
        (w, h), Image.Resampling.BILINEAR
    )
    low, high = RANGE
    levels = images[0, 0].double().numpy() * (high - low) + low
    np.testing.assert_allclose(levels, np.asarray(image), atol=1.5)


def test_training_batches_show_the_same_values_as_evaluation(deep, tmp_path):
    dataset, _ = deep()
    packed = pack(dataset, tmp_path / "packs").choose(("bands",), ())
    train = TrainSpec(batch_size=2, flip=False, crop=None)
    statistics = {"mean": (0.3,), "std": (0.5,)}
    batches = Batches(packed, train, input_scale=0.7, seed=0, device=CPU, **statistics)
    images, _ = batches.batch(0)
    options = {"input_scale": 0.7, "device": CPU, **statistics}
    known = [x[0] for _, x, _ in eval_batches(packed, "train", batch_size=1, **options)]
    for index, image in zip(batches.image_indices(0), images, strict=True):
        assert torch.equal(image, known[index])


def test_augmentation_sees_the_range_as_0_to_1(deep, tmp_path):
    dataset, _ = deep()
    packed = pack(dataset, tmp_path / "packs").choose(("bands",), ())

    def batch(*augment):
        train = TrainSpec(batch_size=2, flip=False, crop=None, augment=augment)
        options = {"input_scale": 1.0, "seed": 0, "device": CPU, "mean": (0.3,), "std": (0.5,)}
        return Batches(packed, train, **options).batch(0)

    (plain, labels), (turned, moved) = batch(), batch("RandomVerticalFlip(p=1)")
    torch.testing.assert_close(turned, plain.flip(2), rtol=0, atol=1e-6)
    assert torch.equal(moved, labels.flip(1))
    erased, _ = batch("RandomErasing(p=1)")
    changed = (erased - plain).abs() > 1e-5
    torch.testing.assert_close(erased[changed], torch.full_like(erased[changed], -0.3 / 0.5))


def test_rgb_beside_bands_keeps_its_own_scale(deep, tmp_path):
    dataset, _ = deep()
    both = pack(dataset, tmp_path / "packs").choose(("rgb", "bands"), ())
    mean, std = (0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8)
    options = {"input_scale": 1.0, "mean": mean, "std": std, "device": CPU}
    ((_, images, _),) = eval_batches(both, "val", batch_size=1, **options)
    rgb = both.choose(("rgb",), ())
    options = {"input_scale": 1.0, "mean": mean[:3], "std": std[:3], "device": CPU}
    ((_, alone, _),) = eval_batches(rgb, "val", batch_size=1, **options)
    torch.testing.assert_close(images[:, :3], alone)


def test_many_bands_of_a_tiff_are_read_whole_either_way_round(deep, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for planar in ("contig", "separate"):

        def save(path, values, planar=planar):
            stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
            tifffile.imwrite(path, stored, planarconfig=planar, photometric="minisblack")

        dataset, drawn = deep(5, save)
        assert check(dataset).problems == ()
        packed = pack(dataset, tmp_path / "packs").choose(("bands",), ())
        assert packed.num_channels == 5
        assert np.array_equal(packed.image(2), drawn["c"])
        # What reports show are the first three bands, black and white by the range.
        low, high = RANGE
        shown = np.rint(255 * (drawn["c"][..., :3].astype(float) - low) / (high - low)).clip(0, 255)
        assert np.array_equal(dataset.read("val", "c")[0], shown)


def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def write_png(path, values):
    """Write a PNG of 16 bits a channel, as its specification has it: Pillow does not."""
    height, width, channels = values.shape
    rows = np.zeros((height + 1, (width + 1) * channels * 2), dtype=int)
    step = 2 * channels  # bytes of a pixel; a pixel of zeros stands to the left, a row above
    rows[1:, step:] = np.frombuffer(values.astype(">u2").tobytes(), np.uint8).reshape(height, -1)
    content = b""
    for y in range(1, height + 1):
        row, above = rows[y, step:], rows[y - 1, step:]
        left, corner = rows[y, :-step], rows[y - 1, :-step]
        guess = left + above - corner
        options = np.stack([left, above, corner])
        paeth = np.take_along_axis(options, np.abs(guess - options).argmin(0)[None], 0)[0]
        filters = [0 * row, left, above, (left + above) // 2, paeth]
        content += bytes([y % 5]) + ((row - filters[y % 5]) % 256).astype(np.uint8).tobytes()
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_colours_of_sixteen_bits_in_a_png_are_read_whole(deep, tmp_path):
    """Pillow gives the upper 8 bits of these."""
    dataset, drawn = deep(3, write_png)
    assert check(dataset).problems == ()
    packed = pack(dataset, tmp_path / "packs").choose(("bands",), ())
    for i, name in enumerate("abc"):
        assert np.array_equal(packed.image(i), drawn[name])


def test_transparency_of_sixteen_bits_is_left_out_if_it_hides_nothing(tmp_path):
    values = draw(0, 4)
    values[..., 3] = 65_535
    write_png(tmp_path / "a.png", values)
    assert np.array_equal(read_bands(tmp_path / "a.png"), values[..., :3])
    values[3, 4, 3] = 65_534
    write_png(tmp_path / "a.png", values)
    with pytest.raises(InputError, match="transparent pixels"):
        read_bands(tmp_path / "a.png")


def test_a_deep_png_is_no_rgb_and_a_damaged_one_is_named(tmp_path):
    write_png(tmp_path / "a.png", draw(0, 3))
    with pytest.raises(InputError, match=r"16 bits per channel.*kept as `bands`: `fcn-bench init`"):
        read_image(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.png cannot be decoded"):
        read_bands(tmp_path / "a.png")


def test_rgb_of_sixteen_bits_is_for_reports_alone(deep):
    dataset, _ = deep()
    counts = {split: len(names) for split, names in dataset.splits.items()}
    facts = DatasetFacts("0" * 64, counts, 2, more_inputs=dataset.more_inputs)
    with pytest.raises(InputError, match=r"Write data\.inputs: \[bands\]"):
        facts.network_options(DataSpec(dataset="folder"))
    options = facts.network_options(DataSpec(dataset="folder", inputs=("bands",)))
    assert options["inputs"] == {"bands": 1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((H, W), 0.5, np.float32), "has mode F|holds float32"),
        (np.full((H, W, 3), 7, np.uint8), "mode RGB|has 3 bands"),
    ],
)
def test_what_is_no_such_image_is_refused(deep, tmp_path, values, message):
    dataset, _ = deep()
    Image.fromarray(values).save(tmp_path / "images" / "a.tif")
    with pytest.raises(InputError, match=message):
        dataset.read_input("train", "a", dataset.more_inputs[0])


def test_the_range_is_part_of_the_fingerprint(deep, tmp_path):
    dataset, _ = deep()
    text = (tmp_path / "classes.yaml").read_text()
    (tmp_path / "classes.yaml").write_text(text.replace("60000", "50000"))
    assert open_folder(tmp_path).fingerprint() != dataset.fingerprint()


def test_inputs_of_8_bits_are_written_as_they_were():
    """Fingerprints of earlier versions are made of this."""
    assert "value_range" not in to_json(Input("depth", 1))
    assert scale_statistics([Input("rgb")], (0.1, 0.2, 0.3), (1, 2, 3)) == (
        (0.1, 0.2, 0.3),
        (1, 2, 3),
    )


def test_bands_are_shown_by_their_range():
    values = np.array([[[0], [1000], [1500], [9999]]], dtype=np.uint16)
    assert render(values, 1000, 2000)[0, :, 0].tolist() == [0, 0, 128, 255]


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(InputError, match=r"x\.tif is missing"):
        read_bands(tmp_path / "x.tif")
