"""Folders as people have them, taken in: the pixels of each class are those that were drawn."""

import shutil

import numpy as np
import pytest
from intake_samples import (
    NAMES,
    H,
    W,
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

from bench.data.intake.groups import find_groups
from bench.data.intake.guess import voc_colour
from bench.data.intake.named import find_named
from bench.data.intake.pairing import pair
from bench.data.intake.splits import draw_splits
from bench.data.intake.tables import read_table
from fcn.errors import InputError


class TestKinds:
    def test_binary_of_0_and_255_has_two_classes_and_no_void(self, tmp_path):
        drawn = {name: draw(k, [0, 255]) for k, name in enumerate(NAMES)}
        write(tmp_path, {name: grey(mask) for name, mask in drawn.items()})
        report, described, said = take(tmp_path, tmp_path)
        pixels = expected(drawn)
        assert counted(report) == {"background": pixels[0], "foreground": pixels[255]}
        assert "void" not in described
        assert any("255 is the second, not void" in line for line in said)

    @pytest.mark.parametrize(
        ("values", "void"),
        [([0, 1, 2, 255], [255]), ([0, 128, 255], None), ([0, 85, 170, 255], None)],
    )
    def test_255_is_void_beside_indices_and_a_class_among_spread_greys(
        self, tmp_path, values, void
    ):
        drawn = {name: draw(k, values) for k, name in enumerate(NAMES)}
        write(tmp_path, {name: grey(mask) for name, mask in drawn.items()})
        report, described, _ = take(tmp_path, tmp_path)
        assert described.get("void") == void
        pixels = expected(drawn)
        kept = {f"value_{v}": pixels[v] for v in values if v not in (void or [])}
        assert counted(report) == kept

    def test_colours_of_vocs_map_have_its_indices(self, tmp_path):
        indices = [0, 7, 34, 57]
        drawn = {name: draw(k, indices) for k, name in enumerate(NAMES)}
        rgb = {i: colour(voc_colour(i)) for i in indices}
        painted = {
            name: Image.fromarray(np.array([[rgb[v] for v in row] for row in m], np.uint8))
            for name, m in drawn.items()
        }
        write(tmp_path, painted)
        report, _, _ = take(tmp_path, tmp_path)
        pixels = expected(drawn)
        names = {0: "background", 7: "class_7", 34: "class_34", 57: "class_57"}
        assert counted(report) == {names[i]: pixels[i] for i in indices}

    def test_vocs_palette_gives_its_names_and_void(self, tmp_path):
        drawn = {name: draw(k, [0, 15, 20, 255]) for k, name in enumerate(NAMES)}
        palette = [channel for k in range(256) for channel in colour(voc_colour(k))]

        def paint(mask):
            image = Image.fromarray(mask.astype(np.uint8), "L")
            image.putpalette(palette)
            return image

        write(tmp_path, {name: paint(mask) for name, mask in drawn.items()})
        report, described, _ = take(tmp_path, tmp_path)
        found = {name: n for name, n in counted(report).items() if n}
        pixels = expected(drawn)
        wanted = {"background": pixels[0], "person": pixels[15], "tvmonitor": pixels[20]}
        assert found == wanted
        assert described["void"] == [255]
        assert len(report.class_names) == 21
        assert described["classes"]["person"]["shown"] == [192, 128, 128]

    def test_sixteen_bits_have_names_from_a_table(self, tmp_path):
        drawn = {name: draw(k, [0, 7, 300, 65_535]) for k, name in enumerate(NAMES)}
        write(tmp_path, {name: grey(mask) for name, mask in drawn.items()})
        (tmp_path / "classes.csv").write_text("id,name\n300,sky\n7,road\n65535,car\n0,void\n")
        report, described, _ = take(tmp_path, tmp_path)
        pixels = expected(drawn)
        assert counted(report) == {"sky": pixels[300], "road": pixels[7], "car": pixels[65_535]}
        assert described["void"] == [0]

    def test_an_alpha_channel_is_the_mask(self, tmp_path):
        drawn = {name: draw(k, [0, 255]) for k, name in enumerate(NAMES)}
        for k, (name, mask) in enumerate(drawn.items()):
            image = photograph(k)
            image.putalpha(Image.fromarray(mask.astype(np.uint8)))
            save(tmp_path / "cut" / f"{name}.png", image)
        report, described, _ = take(tmp_path, tmp_path, "cut", "cut")
        pixels = expected(drawn)
        assert described["channel"] == "alpha"
        assert list(counted(report).values()) == [pixels[0], pixels[255]]

    def test_smeared_masks_are_refused_and_snapped_on_request(self, tmp_path):
        values = [0, 60, 120, 180]
        stored = []
        for k, name in enumerate(NAMES):
            save(tmp_path / "images" / f"{name}.jpg", photograph(k))
            path = tmp_path / "masks" / f"{name}.jpg"
            save(path, grey(np.roll(draw(k, values), (3, 3), (0, 1))), quality=80)
            stored.append(np.asarray(Image.open(path), dtype=int))
        with pytest.raises(InputError, match="0 of 5 pairs can be used") as refused:
            take(tmp_path, tmp_path)
        assert "--snap auto" in str(refused.value)
        assert not (tmp_path / "mine").exists()
        nearest = np.abs(np.stack(stored)[..., None] - values).argmin(-1)
        for wish in ("60", "auto"):
            report, described, said = take(tmp_path, tmp_path, snap=wish)
            keys = [entry["values"][0] for entry in described["classes"].values()]
            assert np.abs(np.array(keys) - values).max() <= 2
            if wish == "60":
                assert list(counted(report).values()) == np.bincount(nearest.ravel()).tolist()
            assert described["snap"] == "lossy"
            assert any("taken for the nearest" in line for line in said)
            for path in sorted((tmp_path / "mine").iterdir()):
                path.unlink()

    def test_an_orientation_of_images_alone_is_found_by_sizes(self, tmp_path):
        tag = Image.Exif()
        tag[0x0112] = 6
        for k, name in enumerate(NAMES):
            upright = photograph(k)
            save(
                tmp_path / "up" / f"{name}.jpg",
                upright.transpose(Image.Transpose.ROTATE_90),
                exif=tag,
            )
            save(tmp_path / "raw" / f"{name}.jpg", upright, exif=tag)
            save(tmp_path / "masks" / f"{name}.png", grey(draw(k, [0, 1, 2])))
        _, described, _ = take(tmp_path, tmp_path, "up")
        assert "exif" not in described
        for path in sorted((tmp_path / "mine").iterdir()):
            path.unlink()
        report, described, _ = take(tmp_path, tmp_path, "raw")
        assert described["exif"] == "ignore"
        assert {(p.height, p.width) for p in report.images} == {(H, W)}

    def test_a_pair_that_cannot_be_used_is_named_and_the_rest_goes_on(self, tmp_path):
        masks = {name: grey(draw(k, [0, 1, 2])) for k, name in enumerate(NAMES)}
        masks["b"] = masks["b"].crop((0, 0, W, H - 1))
        write(tmp_path, masks)
        (tmp_path / "masks" / "c.png").write_bytes(b"no image")
        report, _, said = take(tmp_path, tmp_path)
        assert {p.name for p in report.images} == {"a", "d", "e"}
        (left_out,) = [line for line in said if line.startswith("left out: 2 pairs")]
        assert "32x24 pixels and its mask" in left_out
        assert "cannot be decoded" in left_out

    def test_images_of_sixteen_bits_have_the_range_of_train(self, tmp_path):
        masks = {name: grey(draw(k, [0, 1, 2])) for k, name in enumerate(NAMES)}
        write(tmp_path, masks, image="images/{}.png")
        (tmp_path / "train.txt").write_text("a\nb\n")
        (tmp_path / "val.txt").write_text("c\nd\ne\n")
        values = {
            n: np.random.default_rng(k).integers(900, 9000 * (k + 1), (H, W))
            for k, n in enumerate(NAMES)
        }
        for name, levels in values.items():
            Image.fromarray(levels.astype(np.uint16)).save(tmp_path / "images" / f"{name}.png")
        _, described, _ = take(tmp_path, tmp_path)
        trained = np.stack([values["a"], values["b"]])
        low, high = int(trained.min()), int(trained.max())
        bands = described["bands"]
        assert (bands["number"], bands["range"]) == (1, [low, high])
        scaled = (trained - low) / (high - low)
        assert bands["mean"] == [pytest.approx(scaled.mean(), abs=1e-4)]
        assert bands["std"] == [pytest.approx(scaled.std(), abs=1e-4)]

    def test_tiffs_of_many_bands_are_taken_in_whole(self, tmp_path):
        tifffile = pytest.importorskip("tifffile")
        names = [f"{place}_{k}" for place in ("north", "south") for k in range(4)]
        write(tmp_path, {name: grey(draw(k, [0, 1, 2])) for k, name in enumerate(names)})
        for k, name in enumerate(names):
            (tmp_path / "images" / f"{name}.jpg").unlink()
            bands = np.random.default_rng(k).integers(0, 4000, (H, W, 4)).astype(np.uint16)
            tifffile.imwrite(tmp_path / "images" / f"{name}.tif", bands, photometric="minisblack")
        report, described, _ = take(tmp_path, tmp_path)
        assert described["bands"]["number"] == 4
        assert len(report.images) == 8

    def test_too_many_colours_are_refused_with_the_way_out(self, tmp_path):
        write(tmp_path, {name: photograph(k) for k, name in enumerate(NAMES)})
        with pytest.raises(InputError, match=r"different colours, .*`--snap auto`"):
            take(tmp_path, tmp_path)

    def test_nothing_of_others_is_written_over(self, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="is there already"):
            take(tmp_path, tmp_path)
        assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]

    def test_the_page_says_each_problem_on_a_line_and_void_only_where_there_is_some(self, tmp_path):
        write(tmp_path, {n: grey(draw(k, [0, 1, 2, 255])) for k, n in enumerate(NAMES)})
        for name in ("f", "g"):
            save(tmp_path / "images" / f"{name}.jpg", photograph(1))
            save(tmp_path / "masks" / f"{name}.png", grey(draw(1, [0, 1])[:8]))
        take(tmp_path, tmp_path)
        page = (tmp_path / "mine" / "index.html").read_text()
        assert "2 problems:<br>" in page
        assert "\\x0a" not in page
        assert "void (striped), 25 % of all" in page
        shutil.rmtree(tmp_path / "mine")
        shutil.rmtree(tmp_path / "masks")
        write(tmp_path, {n: grey(draw(k, [0, 1, 2])) for k, n in enumerate(NAMES)})
        take(tmp_path, tmp_path)
        assert "void" not in (tmp_path / "mine" / "index.html").read_text()

    def test_the_page_shows_images_and_escapes_names(self, tmp_path):
        write(tmp_path, {f"{n}<b>": grey(draw(k, [0, 1, 2])) for k, n in enumerate(NAMES)})
        take(tmp_path, tmp_path)
        page = (tmp_path / "mine" / "index.html").read_text()
        assert page.count("data:image/jpeg;base64,") == 2 * len(NAMES)
        assert "a&lt;b&gt;" in page
        assert "<b>" not in page


class TestPairing:
    @pytest.mark.parametrize(
        ("image", "mask"),
        [
            ("images/{}.jpg", "masks/{}.png"),
            ("all/{}.JPG", "all/{}_mask.png"),
            ("all/{}.jpg", "all/{}.png"),
            ("all/{}.png", "all/{}_L.png"),
            ("images/{}_leftImg8bit.png", "masks/{}_gtFine_labelIds.png"),
            ("left images/nord/{}.left.png", "gt/nord/{}.gt.labelIds.png"),
            ("images/img_{}.jpg", "masks/mask_{}.png"),
            ("images/süd/{}.jpg", "masks/süd/{}-labels.PNG"),
            ("all/{}/image.png", "all/{}/mask.png"),
        ],
    )
    @pytest.mark.parametrize(
        "names", [["a", "b", "c"], ["x.1", "x.2", "x.10"], ["s 1", "s 2", "é"]]
    )
    def test_names_that_differ_by_what_all_have(self, tmp_path, image, mask, names):
        for folder in {image.split("/")[0], mask.split("/")[0]}:
            (tmp_path / folder).mkdir()
            for junk in (".DS_Store", "Thumbs.db", "._a.png", "notes.txt"):
                (tmp_path / folder / junk).write_bytes(b"x")
        write(tmp_path, {name: grey(draw(1, [0, 1, 2])) for name in names}, image, mask)
        named = [find_named(str(tmp_path / p.split("/")[0]), "--x") for p in (image, mask)]
        found = pair(*named)
        wanted = {(tmp_path / image.format(n), tmp_path / mask.format(n)) for n in names}
        assert {(one.image, one.mask) for one in found.pairs} == wanted
        assert found.patterns is not None
        assert (found.lone_images, found.lone_masks) == ((), ())

    def test_the_telling_one_of_several_masks_is_taken(self, tmp_path):
        for tail in ("labelIds", "instanceIds", "color"):
            mask = f"gt/{{}}_gtFine_{tail}.png"
            write(tmp_path, {n: grey(draw(1, [0, 1])) for n in NAMES}, "im/{}.png", mask)
        found = pair(
            find_named(str(tmp_path / "im"), "--i"), find_named(str(tmp_path / "gt"), "--m")
        )
        assert {one.mask.name for one in found.pairs} == {f"{n}_gtFine_labelIds.png" for n in NAMES}
        assert len(found.lone_masks) == 2 * len(NAMES)

    def test_a_folder_for_each_case_is_a_list_of_pairs(self, tmp_path):
        write(
            tmp_path,
            {n: grey(draw(1, [0, 1, 2])) for n in NAMES},
            "{}/images/x.jpg",
            "{}/masks/x.png",
        )
        report, described, _ = take(tmp_path, tmp_path, "*/images", "*/masks")
        assert described["pairs"] == "pairs.csv"
        assert {p.name for p in report.images} == {f"{n}/x" for n in NAMES}

    def test_names_without_anything_in_common_are_shown(self, tmp_path):
        names = {"a": grey(draw(1, [0, 1])), "b": grey(draw(2, [0, 1]))}
        write(tmp_path, names, "images/one{}.jpg", "masks/{}two.png")
        with pytest.raises(InputError, match=r"images are called 'onea.jpg', .*masks 'atwo.png'"):
            pair(*(find_named(str(tmp_path / p), "--x") for p in ("images", "masks")))
        with pytest.raises(InputError, match=r"--images .*nothing\*: no image file is there"):
            find_named(str(tmp_path / "nothing*"), "--images")


class TestSplits:
    @pytest.mark.parametrize(
        ("lists", "names"),
        [
            ({"train.txt": "a\nb\nc", "val.txt": "d\ne"}, None),
            ({"train.txt": "a.jpg\nb.jpg\nc.jpg", "test.txt": "d.jpg\ne.jpg"}, None),
            (
                {
                    "train.csv": "image,mask\nimages/a.jpg,masks/a.png\nimages/b.jpg,x",
                    "val.txt": "c",
                },
                None,
            ),
            (
                {"train.txt": "images/a.jpg masks/a.png", "val.txt": "images/b.jpg\tmasks/b.png"},
                None,
            ),
            (
                {"ImageSets/Segmentation/train.txt": "a\nb", "ImageSets/Segmentation/val.txt": "c"},
                None,
            ),
        ],
    )
    def test_lists_of_any_form_are_found(self, tmp_path, lists, names):
        write(tmp_path, {name: grey(draw(k, [0, 1, 2])) for k, name in enumerate(NAMES)})
        for path, text in lists.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        report, _, _ = take(tmp_path, tmp_path)
        for path, text in lists.items():
            split = path.rpartition("/")[2].split(".")[0]
            own = [p.name for p in report.images if p.split == split]
            wanted = [
                n
                for n in NAMES
                if any(f"{n}{e}" in text.replace("/", "\n").split() for e in ("", ".jpg"))
                or f"/{n}.jpg" in text
            ]
            assert own == wanted

    def test_folders_called_train_and_val_are_splits(self, tmp_path):
        for split in ("train", "val"):
            names = {f"{split}/x{k}": grey(draw(k, [0, 1, 2])) for k in range(3)}
            write(tmp_path, names)
        report, _, _ = take(tmp_path, tmp_path)
        assert {(p.split, p.name.split("/")[0]) for p in report.images} == {
            ("train",) * 2,
            ("val",) * 2,
        }

    def test_frames_of_a_clip_stay_together(self, tmp_path):
        clips = [f"clip{c}/frame_{k:03}" for c in range(3) for k in range(4)]
        write(tmp_path, {n: grey(draw(k, [0, 1, 2])) for k, n in enumerate(clips)})
        for name in clips:  # one scene a clip, with a little noise
            scene = np.asarray(photograph(int(name[4])), dtype=int)
            noise = np.random.default_rng(int(name[-3:])).integers(-20, 20, scene.shape)
            frame = Image.fromarray((scene + noise).clip(0, 255).astype(np.uint8))
            save(tmp_path / "images" / f"{name}.jpg", frame)
        report, _, said = take(tmp_path, tmp_path)
        where = {}
        for p in report.images:
            where.setdefault(p.name.split("/")[0], set()).add(p.split)
        assert all(len(splits) == 1 for splits in where.values())
        assert {s for splits in where.values() for s in splits} == {"train", "val", "test"}
        assert (tmp_path / "mine" / "groups.txt").read_text().count("clip0/frame_000 clip0\n") == 1
        assert any("3 groups (by folder) stay together" in line for line in said)

    def test_breeds_are_no_clips(self, tmp_path):
        breeds = [f"{breed}_{k}" for breed in ("beagle", "pug", "sphynx") for k in range(5)]
        write(tmp_path, {n: grey(draw(k, [0, 1, 2])) for k, n in enumerate(breeds)})
        report, _, said = take(tmp_path, tmp_path)
        assert any("look no more alike than any two" in line for line in said)
        assert not (tmp_path / "mine" / "groups.txt").exists()
        assert {p.name.split("_")[0] for p in report.images if p.split == "train"} == {
            "beagle",
            "pug",
            "sphynx",
        }

    def test_edges_that_look_like_classes_are_said(self, tmp_path):
        masks = {name: draw(k, [0, 100, 200]) for k, name in enumerate(NAMES)}
        masks["a"] = np.kron(masks["a"], np.ones((10, 10), int))
        masks["a"][0, :20] = range(20, 40)
        write(tmp_path, {name: grey(mask) for name, mask in masks.items()})
        save(tmp_path / "images" / "a.jpg", photograph(0, masks["a"].shape))
        _, _, said = take(tmp_path, tmp_path)
        assert any("20 of 23 values fill no area, or hold less" in line for line in said)

    def test_one_film_is_cut_into_blocks(self, tmp_path):
        rng = np.random.default_rng(0)
        scene = rng.integers(0, 256, (H, W, 3)).astype(float)
        for k in range(20):  # each frame a little further from the first
            scene += rng.normal(0, 12, scene.shape)
            frame = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
            save(tmp_path / "images" / f"{k}.png", frame.resize((W, H)))
            save(tmp_path / "masks" / f"{k}.png", grey(draw(k, [0, 1, 2])))
        report, _, said = take(tmp_path, tmp_path)
        assert any("frames of one film" in line for line in said)
        order = [p.split for p in sorted(report.images, key=lambda p: int(p.name))]
        assert order == ["train"] * 12 + ["val"] * 4 + ["test"] * 4

    def test_each_split_has_its_share_of_a_rare_class(self):
        rows = {
            f"{k:03}": np.array([1000, 200 * (k % 3 == 0), 50 * (k % 20 == 0)]) for k in range(100)
        }
        drawn = draw_splits(rows, {}, 3)
        assert sorted(n for own in drawn.values() for n in own) == sorted(rows)
        for split, share in {"train": 0.6, "val": 0.2, "test": 0.2}.items():
            held = sum(rows[n] for n in drawn[split]) / sum(rows.values())
            assert held == pytest.approx(share, abs=0.05)
        assert draw_splits(dict(reversed(rows.items())), {}, 3) == drawn
        assert draw_splits(rows, {}, 4) != drawn

    def test_a_column_says_what_belongs_together(self, tmp_path):
        table = tmp_path / "patients.csv"
        table.write_text("file,patient\na.jpg,1\nb.jpg,1\nc.jpg,2\n")
        groups, _ = find_groups(dict.fromkeys("abc", table), f"{table}:patient")
        assert groups == {"a": "1", "b": "1", "c": "2"}
        with pytest.raises(InputError, match="no column 'patent'; it has file, patient"):
            find_groups({"a": table}, f"{table}:patent")
        with pytest.raises(InputError, match="no row for 'd'"):
            find_groups({"d": table}, f"{table}:patient")


@pytest.mark.parametrize(
    ("name", "text", "values", "colours"),
    [
        ("classes.txt", "sky\nroad\n", {0: "sky", 1: "road"}, {}),
        (
            "labels.txt",
            "__ignore__\n_background_\ncar\n",
            {255: "__ignore__", 0: "_background_", 1: "car"},
            {},
        ),
        ("classes.csv", "id,name\n7,road\n23,sky\n", {7: "road", 23: "sky"}, {}),
        ("labels.csv", "id,name\n0,a\n-1,unlabeled\n-2,plate\n", {0: "a", 255: "unlabeled"}, {}),
        ("classes.json", '{"a": 0, "plate": -1}', {0: "a"}, {}),
        ("class_dict.csv", "name,r,g,b\nroad,1,2,3\n", {}, {0x010203: "road"}),
        ("label_colors.txt", "1 2 3\troad\n4 5 6\tsky\n", {}, {0x010203: "road", 0x040506: "sky"}),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:1,2,3::\n", {}, {0x010203: "road"}),
        ("names.txt", "7: road\n8: big sky\n", {7: "road", 8: "big sky"}, {}),
        ("classes.json", '{"road": 7, "sky": 8}', {7: "road", 8: "sky"}, {}),
        ("classes.json", '{"7": "road"}', {7: "road"}, {}),
        (
            "classes.json",
            '[{"name": "road", "id": 7, "color": [1, 2, 3]}]',
            {7: "road"},
            {0x010203: "road"},
        ),
    ],
)
def test_tables_of_any_form(tmp_path, name, text, values, colours):
    (tmp_path / name).write_text(text)
    table = read_table(tmp_path / name)
    assert (dict(table.by_value), dict(table.by_colour)) == (values, colours)
