"""Masks as people mix them, taken in: right pixels, or a sentence that says what they look like."""

import numpy as np
import pytest
from intake_samples import (
    NAMES,
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
from fcn.errors import InputError

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


class TestTransparency:
    def test_what_is_not_painted_is_background(self, tmp_path, drawn):
        for alpha in (255, 128):  # 128 is an overlay, whose colours are as they were drawn
            out = tmp_path / str(alpha)
            for name, mask in drawn.items():
                painted = paint(mask).convert("RGBA")
                painted.putalpha(Image.fromarray(((mask > 0) * alpha).astype(np.uint8)))
                write(out, {name: painted})
            report, described, said = take(out, out)
            names, pixels = by_colour(described), expected(drawn)
            assert list(names) == ["transparent", PAINT[2], PAINT[1]]
            assert counted(report) == {
                "background": pixels[0], names[PAINT[2]]: pixels[2], names[PAINT[1]]: pixels[1]
            }  # fmt: skip
            assert any("list `transparent` under void" in line for line in said)

    def test_smooth_edges_are_of_no_colour(self, tmp_path, drawn):
        for name, mask in drawn.items():
            painted = paint(mask).convert("RGBA")
            painted.putalpha(Image.fromarray((mask * 100).astype(np.uint8)))
            write(tmp_path, {name: painted})
        with pytest.raises(InputError, match="transparent in 2 degrees") as refused:
            take(tmp_path, tmp_path)
        assert len(str(refused.value).splitlines()) == 2  # and not one a file


class TestMixtures:
    def test_1_in_some_masks_is_255_in_others(self, tmp_path):
        drawn = {name: draw(k, [0, 1]) for k, name in enumerate(NAMES)}
        modes = ("L", "1", "RGB", "RGBA", "LA")
        for mode, (name, mask) in zip(modes, drawn.items(), strict=True):
            write(tmp_path, {name: grey(mask * 255).convert(mode)})
        report, described, said = take(tmp_path, tmp_path)
        pixels = expected(drawn)
        assert counted(report) == {"background": pixels[0], "foreground": pixels[1]}
        assert described["classes"]["foreground"]["values"] == [1, 255]
        assert any("1 and 255 are one class" in line for line in said)

    def test_255_beside_1_in_one_mask_stays_void(self, tmp_path):
        masks = {name: grey(draw(k, [0, 1])) for k, name in enumerate(NAMES)}
        masks["c"] = grey(draw(2, [0, 1, 255]))
        write(tmp_path, masks)
        _, described, _ = take(tmp_path, tmp_path)
        assert described["void"] == [255]

    def test_indices_among_colours_are_said(self, tmp_path, drawn):
        masks = {name: paint(mask) for name, mask in drawn.items()}
        masks["b"] = grey(drawn["b"])
        write(tmp_path, masks)
        _, _, said = take(tmp_path, tmp_path)
        assert any("1 of 5 masks hold greys alone" in line for line in said)

    @pytest.mark.parametrize("step", [0, 12])
    def test_numbers_of_objects_are_said(self, tmp_path, step):
        for k, name in enumerate(NAMES):
            numbers = np.arange(12) + step * k
            numbers = numbers if step else np.minimum(numbers, 5 + k)
            numbers[0] = 0
            mask = np.kron(numbers.reshape(3, 4), np.ones((8, 8), int))
            write(tmp_path, {name: grey(mask)})
        _, _, said = take(tmp_path, tmp_path)
        assert sum("seem to number objects (instances)" in line for line in said) == 1

    @pytest.mark.parametrize(
        ("values", "names"),
        [
            ([0, 1, 2], ["road", "car", "sky"]),
            ([1, 2, 3], ["road", "car", "sky"]),
            ([1, 2, 3, 255], ["road", "car", "sky"]),
            ([0, 1, 2, 3], ["road", "car", "sky", "value_3"]),  # 0 background, or 3 void?
        ],
    )
    def test_a_list_of_names_begins_at_0_or_at_1(self, tmp_path, values, names):
        drawn = {name: draw(k, values) for k, name in enumerate(NAMES)}
        write(tmp_path, {name: grey(mask) for name, mask in drawn.items()})
        (tmp_path / "classes.txt").write_text("road\ncar\nsky\n")
        report, described, said = take(tmp_path, tmp_path)
        pixels, first = expected(drawn), min(values)
        assert any("write its name above the first" in line for line in said) == (len(names) > 3)
        assert counted(report) == {name: pixels[v] for v, name in enumerate(names, first)}
        assert described.get("void") == ([255] if 255 in values else None)

    def test_a_table_of_colours_names_indices_in_its_order(self, tmp_path, drawn):
        write(tmp_path, {name: grey(mask) for name, mask in drawn.items()})
        (tmp_path / "class_dict.csv").write_text("name,r,g,b\nroad,0,0,0\ncar,9,9,9\nsky,1,2,3\n")
        report, _, said = take(tmp_path, tmp_path)
        pixels = expected(drawn)
        assert counted(report) == {"road": pixels[0], "car": pixels[1], "sky": pixels[2]}
        assert any("the masks hold values: 0 is its first name" in line for line in said)

    def test_no_data_is_void_by_its_name(self, tmp_path, drawn):
        write(tmp_path, {name: grey(mask) for name, mask in drawn.items()})
        (tmp_path / "labels.csv").write_text("Value;Name\r\n0;No data\r\n1;Crop\r\n2;Water\r\n")
        report, described, _ = take(tmp_path, tmp_path)
        assert described["void"] == [0]
        assert list(counted(report)) == ["Crop", "Water"]


def test_folders_of_classes_are_recognised(tmp_path, drawn):
    for k, (name, mask) in enumerate(drawn.items()):
        save(tmp_path / "images" / f"{name}.jpg", photograph(k))
        for value, kind in ((1, "road"), (2, "car")):
            save(tmp_path / "masks" / kind / f"{name}.png", grey((mask == value) * 255))
    report, _, said = take(tmp_path, tmp_path)
    pixels = expected(drawn)
    assert counted(report) == {"background": pixels[0], "car": pixels[2], "road": pixels[1]}
    assert any("each folder is taken for a class" in line for line in said)


def test_classes_that_leave_nothing_have_no_background(tmp_path, drawn):
    for k, (name, mask) in enumerate(drawn.items()):
        save(tmp_path / "images" / f"{name}.jpg", photograph(k))
        for value, kind in enumerate(("road", "car", "sky")):
            save(tmp_path / "masks" / kind / f"{name}.png", grey((mask == value) * 255))
    report, _, said = take(tmp_path, tmp_path)
    pixels = expected(drawn)
    assert counted(report) == {"car": pixels[1], "road": pixels[0], "sky": pixels[2]}
    assert any(line.endswith("drawn from parts; each pixel is in one") for line in said)


def test_a_name_that_stands_twice_is_one_class_and_moves_no_other(tmp_path, drawn):
    write(tmp_path, {name: grey(mask + 1) for name, mask in drawn.items()})
    (tmp_path / "classes.txt").write_text("road\ncar\nroad\n")
    report, _, said = take(tmp_path, tmp_path)
    pixels = expected(drawn)
    assert counted(report) == {"road": pixels[0] + pixels[2], "car": pixels[1]}
    assert any(line.endswith("calls 1 and 3 'road': they are one class") for line in said)


def test_what_smooth_edges_mix_is_said_however_much_it_is(tmp_path):
    """On small images a blend of two classes has more pixels than a rare class of large ones."""
    for k, name in enumerate(NAMES):
        row, column = np.indices((256, 256))
        disc = (row - 120) ** 2 + (column - 100 - 8 * k) ** 2 < (60 + 9 * k) ** 2
        smooth = Image.fromarray((disc * 255).astype(np.uint8)).resize((32, 32), Image.BOX)
        save(tmp_path / "images" / f"{name}.jpg", photograph(k, (32, 32)))
        save(tmp_path / "masks" / f"{name}.png", smooth)
    _, described, said = take(tmp_path, tmp_path)
    number = len(described["classes"])
    assert number > 16
    assert described["classes"]["value_255"] == {"values": [255]}  # and not void
    assert any(f"{number - 2} of {number} values fill no area" in line for line in said)


def test_a_mask_without_any_area_is_snapped_to_those_of_others(tmp_path, drawn):
    write(tmp_path, {name: grey(mask * 100) for name, mask in drawn.items()})
    row, column = np.indices(drawn["a"].shape)
    save(tmp_path / "masks" / "a.png", grey((row + column) % 2 * 100))
    report, _, _ = take(tmp_path, tmp_path, snap="auto")
    assert list(counted(report)) == ["value_0", "value_100", "value_200"]


def test_an_orientation_of_one_of_the_two_is_no_matter_of_size(tmp_path, drawn):
    tag = Image.Exif()
    tag[0x0112] = 6
    for k, (name, mask) in enumerate(drawn.items()):
        on_its_side = photograph(k).transpose(Image.Transpose.ROTATE_90)
        save(tmp_path / "images" / f"{name}.jpg", on_its_side, exif=tag)
        turn = Image.Transpose.ROTATE_90
        save(tmp_path / "masks" / f"{name}.png", grey(mask) if k else grey(mask).transpose(turn))
    _, _, said = take(tmp_path, tmp_path)
    (line,) = [line for line in said if line.startswith("left out: 1 pair ")]
    assert line.endswith("an EXIF orientation turns one of them: turn the other the same way")


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
