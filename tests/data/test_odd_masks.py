"""Masks as people mix them, taken in: right pixels, or a sentence that says what they look like."""

import numpy as np
import pytest
from intake_samples import (
    NAMES,
    colour,
    counted,
    draw,
    expected,
    grey,
    photograph,
    save,
    take,
    write,
)
from PIL import Image

from bench.data import cores

PAINT = {0: (0, 0, 0), 1: (200, 30, 30), 2: (30, 200, 90)}


def paint(mask):
    return Image.fromarray(np.array([[PAINT[v] for v in row] for row in mask], np.uint8))


def with_palette(mask, colours):
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([channel for one in colours for channel in one])
    return image


@pytest.fixture
def drawn():
    return {name: draw(k, [0, 1, 2]) for k, name in enumerate(NAMES)}


def by_colour(described):
    return {
        tuple(key) if isinstance(key, list) else key: name
        for name, entry in described["classes"].items()
        for key in entry["colours"]
    }


class TestPalettes:
    def test_an_index_of_several_colours_is_no_class(self, tmp_path, drawn):
        for k, (name, mask) in enumerate(drawn.items()):
            order = np.random.default_rng(k).permutation(3)
            colours = [PAINT[int(np.argmax(order == index))] for index in range(3)]
            write(tmp_path, {name: with_palette(order[mask], colours)})
        report, described, said = take(tmp_path, tmp_path)
        names, pixels = by_colour(described), expected(drawn)
        assert counted(report) == {names[PAINT[v]]: pixels[v] for v in (0, 2, 1)}
        assert any("told by their colours" in line for line in said)

    def test_palettes_that_agree_or_were_drawn_by_lot_are_of_indices(self, tmp_path, drawn):
        for k, (name, mask) in enumerate(drawn.items()):
            lot = np.random.default_rng(k).integers(0, 256, (3, 3)).tolist()
            write(tmp_path / "lot", {name: with_palette(mask, lot)})
            same = [*(PAINT[v] for v in range(3)), *[(9, 9, 9)] * k]
            write(tmp_path / "same", {name: with_palette(mask, same)})
        for folder in ("lot", "same"):
            out = tmp_path / f"of-{folder}"
            out.mkdir()
            report, _, _ = take(tmp_path / folder, out)
            assert counted(report) == {f"value_{v}": n for v, n in expected(drawn).items()}


def test_a_transparent_photograph_is_left_out(tmp_path, drawn):
    write(tmp_path, {name: grey(mask) for name, mask in drawn.items()}, image="images/{}.png")
    clear = photograph(0).convert("RGBA")
    clear.putpixel((3, 3), (0, 0, 0, 0))
    save(tmp_path / "images" / "c.png", clear)
    report, _, said = take(tmp_path, tmp_path)
    assert {p.name for p in report.images} == set(NAMES) - {"c"}
    assert any("c.png has 1 transparent pixels" in line for line in said)


@pytest.mark.parametrize("snap", ["", "auto"])
def test_all_cores_find_what_one_finds(tmp_path, drawn, monkeypatch, snap):
    drawn = {f"{n}{k}": np.roll(m, 3, 1) for n, m in drawn.items() for k in range(3)}
    write(tmp_path, {name: paint(mask) for name, mask in drawn.items()})
    found = []
    for number in (1, 3):
        monkeypatch.setattr(cores, "WORTH_IT", 2)
        monkeypatch.setattr(cores, "_num_cores", lambda number=number: number)
        out = tmp_path / f"by-{number}"
        out.mkdir()
        report, _, _ = take(tmp_path, out, snap=snap)
        text = {path.name: path.read_text() for path in (out / "mine").iterdir()}
        found.append((report, text))
    assert found[0] == found[1]
    assert sum(counted(found[0][0]).values()) == sum(mask.size for mask in drawn.values())
    assert colour(0x010203) == (1, 2, 3)
