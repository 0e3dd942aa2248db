"""What the linked gallery holds: stored classes and counts, chosen by rule, within its budget."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from streets import CLASS_NAMES, IGNORE, NUM_IMAGES, PALETTE, DrawnPack, draw_target, finish

from bench.metrics import class_counts, summarize
from reports.images import linked as module
from reports.images.apart import NUM_APART, colours_apart
from reports.images.choice import choose_pair
from reports.images.gallery import draw_gallery
from reports.images.kept import open_kept
from reports.images.linked import link_images
from reports.images.sampling import rank_images
from reports.results.frame import runs_frame
from reports.stats.summary import summarize_variants
from reports.study import read_study

PAIR = ("resnet50-fcn16s", "resnet50-fcn8s")


@pytest.fixture
def kept(plan, store, drawn_pack):
    return open_kept(plan, store)


@pytest.fixture
def pair(plan, store):
    return choose_pair(plan, store, summarize_variants(runs_frame(plan, store), plan.baseline))


def inflate(text, shape):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape)


def test_masks_and_counts_are_the_stored_ones(plan, store, kept, pair):
    held = link_images(kept, store, pair, plan.variants, {})
    content = json.loads(held.json)
    assert [content["variants"][content[side]]["name"] for side in "ba"] == list(PAIR)
    for v, variant in enumerate(held.variants):
        run = next(p.run for p in plan.runs if p.variant == variant)
        names, confusions = store.confusions(run.id, "test")
        masks = store.predictions(run.id, "test")
        for i, name in enumerate(held.names):
            shape = content["sizes"][i][:2]
            assert (inflate(content["predictions"][v][i], shape) == masks[name]).all()
            counts = class_counts(confusions[names.index(name)])
            assert content["counts"][v][i] == counts.tolist()
            target = draw_target(int(name[-3:]))
            assert (inflate(content["targets"][i], shape) == target).all()  # its 255 is ours
            for o, other in enumerate(held.variants[:v]):
                theirs = kept.predictions[other][name]
                apart = (masks[name] != theirs) & (target != IGNORE)
                assert content["apart"][v][o][i] == apart.sum()
    assert content["classes"] == list(CLASS_NAMES)
    assert content["palette"] == [list(colour) for colour in PALETTE]


def test_a_variant_without_predictions_is_not_held(plan, store, kept, pair):
    held = link_images(kept, store, pair, plan.variants, {})
    assert set(plan.variants) - set(held.variants) == {"resnet50-none"}
    assert held.rule.startswith("8 images of 8 whose prediction was kept: all images")
    assert "11 of 11 variants" in held.rule


def test_void_by_another_name_is_255(plan, store, kept, pair, drawn_pack, monkeypatch):
    drawn_pack.ignore_index = 200
    monkeypatch.setattr(
        DrawnPack, "target", lambda self, i: np.where((t := draw_target(i)) == IGNORE, 200, t)
    )
    content = link_images(kept, store, pair, plan.variants, {}).content
    assert (inflate(content["targets"][0], (90, 120)) == draw_target(0)).all()


def test_images_give_way_to_the_budget_before_four_variants_do(
    plan, store, kept, pair, monkeypatch
):
    whole = link_images(kept, store, pair, plan.variants, {})
    text = json.loads(whole.json)
    monkeypatch.setattr(module, "MAX_BYTES", 3 * len("".join(text["photos"])) // 8)
    held = link_images(kept, store, pair, [*PAIR, *plan.variants], {})
    assert 1 <= len(held.names) < NUM_IMAGES
    assert held.names == whole.names[: len(held.names)]
    assert held.variants[:2] == list(PAIR)
    assert len(held.variants) == 4
    assert "which is why there are not more" in held.rule
    kinds = [held.content["photos"], held.content["targets"], *held.content["predictions"]]
    assert sum(len(text) for kind in kinds for text in kind) <= module.MAX_BYTES


def test_large_images_are_held_smaller_and_the_page_says_so(plan, store, kept, pair, monkeypatch):
    monkeypatch.setattr(module, "MAX_SIDE", 50)
    held = link_images(kept, store, pair, plan.variants, {})
    assert held.content["sizes"][0] == (30, 40, 3)
    mask = kept.predictions[held.variants[0]][held.names[0]]
    assert (inflate(held.content["predictions"][0][0], (30, 40)) == mask[::3, ::3]).all()
    photo = base64.b64decode(held.content["photos"][0].split(",")[1])
    assert Image.open(io.BytesIO(photo)).size == (40, 30)
    assert "every pixel in 3 of each row and column" in held.rule


def test_images_are_the_heads_of_four_rankings_in_turns(kept, pair, store, plan):
    names, counts, apart, gain, last = list(kept.names), {}, [], {}, {}
    for arm in (pair.before, pair.after):
        confusions = dict(zip(*store.confusions(arm.run.id, "test"), strict=True))
        counts[arm.variant] = class_counts(np.stack([confusions[name] for name in names]))
        for name in names:
            miou = summarize(confusions[name]).miou
            gain[name] = miou - gain.get(name, 0)
            last[name] = miou
    one, other = (kept.predictions[name] for name in PAIR)
    apart = np.array([((one[n] != other[n]) & (kept.target(n) != IGNORE)).sum() for n in names])
    differ = dict(zip(names, apart, strict=True))
    keys = (lambda n: -gain[n], lambda n: gain[n], lambda n: last[n], lambda n: -differ[n])
    heads = [sorted(names, key=key) for key in keys]
    turns = list(dict.fromkeys(head[i] for i in range(len(names)) for head in heads))
    chosen, rule = rank_images(names, counts, apart, pair, 4)
    assert chosen[:3] == turns[:3]
    assert len(set(chosen)) == 4
    assert "resnet50-fcn8s gains most and least mIoU over resnet50-fcn16s" in rule
    assert rank_images(names, counts, apart, pair, 8)[0] == names
    assert rank_images(names, {}, None, None, 2)[0] == [names[2], names[6]]


@pytest.mark.usefixtures("drawn_pack")
def test_one_variant_has_fixed_panels_alone(small_store, make_plan):
    plan = make_plan(["only"])
    finish(small_store, plan.runs[0], log=False)
    gallery = draw_gallery(read_study(plan, small_store))
    assert gallery.linked is None
    assert len(gallery.images) == 3


@pytest.mark.usefixtures("drawn_pack")
def test_no_name_ends_the_script_that_holds_it(small_store, make_plan):
    hostile = '</script><!--<script>"\u2028&'
    plan = make_plan([hostile, "plain"])
    for planned in plan.runs:
        finish(small_store, planned, log=False)
    text = draw_gallery(read_study(plan, small_store)).linked.json
    assert not set("<>&\u2028") & set(text)
    assert hostile in {variant["name"] for variant in json.loads(text)["variants"]}


DICHROMACY = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Machado et al., 2009, severity 1, on linear RGB."""


def to_lab(linear):
    """CIE L*a*b* of linear RGB, (C, 3), under D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.clip(linear, 0, 1) @ np.array(to_xyz).T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    a, b = 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
    return np.stack([116 * f[:, 1] - 16, a, b], -1)


@pytest.mark.parametrize("kind", DICHROMACY)
@pytest.mark.parametrize(("number", "least"), [(12, 26), (NUM_APART, 14)])
def test_colours_stay_apart_for_every_reader(kind, number, least):
    srgb = np.array(colours_apart(number)) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lab = to_lab(linear @ np.array(DICHROMACY[kind]).T)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distance[~np.eye(number, dtype=bool)].min() >= least
