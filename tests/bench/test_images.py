"""Images as people give them: files, folders, and names for what is made of each."""

from pathlib import Path

import pytest

from bench.data.formats import SUFFIXES
from bench.outputs.stream import Manifest
from bench.run.images import (
    ImageFile,
    files_by_stem,
    find_beside,
    find_images,
    name_results,
    require_room,
)
from fcn.errors import InputError

ENDINGS = ("-mask.png", "-overlay.png")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Make files below the current folder: place("a.png", "sub/b.png")."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(b"x")

    return make


def found(*given, out="out"):
    return [image.path.as_posix() for image in find_images([*map(Path, given)], Path(out))]


def named(*given):
    images = find_images([*map(Path, given)], Path("out"))
    stems = name_results(images, ENDINGS)
    return {path.as_posix(): stem.as_posix() for path, stem in stems.items()}


def test_folders_are_walked_for_images_alone(place):
    place("in/b.png", "in/a.JPG", "in/sub/deep/c.tif", "in/notes.txt", "in/a.json", "in/a.png.xml")
    place(
        "in/.DS_Store", "in/._b.png", "in/.ipynb_checkpoints/b.png", "in/Thumbs.db", "in/noending"
    )
    assert found("in") == ["in/a.JPG", "in/b.png", "in/sub/deep/c.tif"]
    assert {".png", ".jpg", ".tif", ".webp"} <= SUFFIXES


def test_a_glob_in_quotes_is_what_a_shell_would_make_of_it(place):
    place("in/b.png", "in/a.png", "in/c.jpg", "in/deep/d.png", "in/x[1].png")
    assert found("in/*.png", "in/c.jpg") == ["in/a.png", "in/b.png", "in/x[1].png", "in/c.jpg"]
    assert found("in/**/d.png") == ["in/deep/d.png"]
    assert found("in/x[1].png") == ["in/x[1].png"]  # a file of that name goes before
    with pytest.raises(InputError, match=r"in/\*\.tif: there is no such file"):
        found("in/*.tif")


@pytest.mark.parametrize("name", ["test.txt", "test.CSV"])
def test_a_list_is_not_taken_for_an_image(place, name):
    place(name, "a.png")
    with pytest.raises(InputError, match=rf"{name} is a list, no image.* - < {name}"):
        found("a.png", name)


def test_links_to_folders_are_walked_too_and_what_was_written_behind_them_is_known(place):
    place("far/a.png", "far/deep/b.png", "in/c.png")
    Path("in/day").symlink_to(Path("far").absolute())
    Path("far/deep/up").symlink_to(Path("in").absolute())
    assert found("in") == ["in/c.png", "in/day/a.png", "in/day/deep/b.png"]
    assert list(files_by_stem(Path("in"))) == ["c", "day/a", "day/deep/b"]
    Manifest(Path("far"), "run-1").write(Path("far/a-mask.png"), b"mask")
    assert found("in") == ["in/c.png", "in/day/a.png", "in/day/deep/b.png"]


def test_each_image_comes_once_and_what_is_given_itself_is_taken_as_it_is(place):
    place("in/a.png", "in/noending", "in/.hidden.png")
    assert found("in/noending", "in", "in/a.png", "./in/a.png", "in/.hidden.png") == [
        "in/noending",
        "in/a.png",
        "in/.hidden.png",
    ]


def test_what_was_written_before_is_no_image_but_what_replaced_it_is(place):
    place("in/a.png")
    for out in ("in", "in/masks"):
        manifest = Manifest(Path(out), "run-1")
        manifest.write(Path(out, "a-mask.png"), b"mask", of="a.png")
        assert found("in", out=out) == ["in/a.png"]
    Path("in/masks/a-mask.png").write_bytes(b"another")
    assert found("in") == ["in/a.png", "in/masks/a-mask.png"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["empty"], "empty is a folder without images"),
        (["in", "empty"], "empty is a folder without images"),
        (["texts"], "names that end in .*png.* not hidden"),
        (["no.png", "none"], "no.png, none: there is no such file"),
    ],
)
def test_a_folder_without_images_and_nothing_at_all_are_refused(place, given, said):
    place("in/a.png", "texts/a.txt")
    Path("empty").mkdir()
    with pytest.raises(InputError, match=said):
        found(*given)


def test_one_of_several_that_is_not_there_is_left_to_reading(place):
    place("a.png")
    assert found("a.png", "no.png") == ["a.png", "no.png"]


@pytest.mark.parametrize(
    ("files", "given", "expected"),
    [
        (["in/a.png"], ["in/a.png"], {"in/a.png": "a"}),
        (["x/a.png", "y/z/b.png"], ["x/a.png", "y/z/b.png"], {"x/a.png": "a", "y/z/b.png": "b"}),
        (["in/a.png", "in/s/b.png"], ["in"], {"in/a.png": "a", "in/s/b.png": "s/b"}),
        (["x/a.png", "y/b.png"], ["x", "y"], {"x/a.png": "x/a", "y/b.png": "y/b"}),
        # Names that meet: the path is kept, then the suffix.
        (["x/a.png", "y/a.png"], ["x/a.png", "y/a.png"], {"x/a.png": "x/a", "y/a.png": "y/a"}),
        (["a.png", "a.jpg"], ["a.png", "a.jpg"], {"a.png": "a.png", "a.jpg": "a.jpg"}),
        (["i/a.png", "i/a.jpg", "i/b.png"], ["i"],
         {"i/a.jpg": "a.jpg", "i/a.png": "a.png", "i/b.png": "b"}),
        (["i/s/a.png", "i/s/a.jpg", "i/t/a.png", "i/t/a.bmp"], ["i"],
         {"i/s/a.jpg": "s/a.jpg", "i/s/a.png": "s/a.png",
          "i/t/a.bmp": "t/a.bmp", "i/t/a.png": "t/a.png"}),
        (["x/a.png", "x/a.jpg", "y/b.png"], ["x", "y"],
         {"x/a.jpg": "x/a.jpg", "x/a.png": "x/a.png", "y/b.png": "y/b"}),
        (["x/a.png", "x/a.jpg", "y/a.png"], ["x/a.png", "x/a.jpg", "y/a.png"],
         {"x/a.png": "x/a.png", "x/a.jpg": "x/a.jpg", "y/a.png": "y/a"}),
        (["a.png", "a.b.png"], ["a.png", "a.b.png"], {"a.png": "a", "a.b.png": "a.b"}),
        (["in/a.png", "a.png"], ["in", "a.png"], {"in/a.png": "in/a", "a.png": "a"}),
    ],
)  # fmt: skip
def test_results_are_named_after_images_and_never_meet(place, files, given, expected):
    place(*files)
    assert named(*given) == expected


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.png", "a.jpg", "a.png.png"], "would both become a.png-mask.png; rename one"),
        (["a.png", "x/" + "n" * 195 + ".png"], "too long .* 200 bytes fit"),
    ],
)
def test_names_that_still_meet_or_do_not_fit_are_refused(place, files, said):
    place(*files)
    with pytest.raises(InputError, match=said):
        named(*files)


def test_a_targets_name_does_not_meet_that_of_an_image(place):
    place("a.png", "a-depth.png")
    images = find_images([Path("a.png"), Path("a-depth.png")], Path("out"))
    with pytest.raises(InputError, match=r"would both become a-depth-mask\.png"):
        name_results(images, ("-mask.png", "-depth-mask.png"))


@pytest.mark.parametrize(
    ("in_the_way", "out", "said"),
    [
        ("out", "out", "^out is no folder"),
        ("out", "out/deeper", "^out is no folder"),
        ("out/sub", "out", "out/sub is no folder"),
        ("out/a-mask.png", "out", r"out/a-mask.png is there already, .*--out, or move it away"),
        ("in/a-mask.png", "in", r"in/a-mask.png is there already \(so are 2 other files\)"),
    ],
)
def test_nothing_is_written_over_what_others_made(place, in_the_way, out, said):
    place("in/a.png", "in/sub/b.png", in_the_way)
    if in_the_way.startswith("in/"):
        place("in/sub/b-mask.png", "in/sub/b-overlay.png")
    images = [ImageFile(Path("in", name), Path("in")) for name in ("a.png", "sub/b.png")]
    manifest = Manifest(Path(out), "run-1")
    with pytest.raises(InputError, match=said):
        require_room(
            Path(out), name_results(images, ENDINGS), ENDINGS, lambda p, _: manifest.may_write(p)
        )


def test_an_image_is_never_written_over_though_it_is_ours(place):
    place("out/x.png")
    Manifest(Path("out"), "run-1").write(Path("out/a-mask.png"), b"mask")
    place("a.png")
    stems = {Path("a.png"): Path("a"), Path("out/a-mask.png"): Path("a-mask")}
    with pytest.raises(InputError, match=r"out/a-mask\.png is there already"):
        require_room(Path("out"), stems, ENDINGS, lambda *_: True)


def test_files_beside_an_image_have_its_stem_and_its_place(place):
    place("depth/a.png", "depth/a.b.png", "depth/sub/z.png", "depth/z.tif", "depth/a.json")
    place("depth/.a.png", "depth/Thumbs.db")
    files = files_by_stem(Path("depth"))

    def beside(name, inside=1):
        return [p.as_posix() for p in find_beside(Path(name), files, inside)]

    assert beside("images/a.png") == ["depth/a.png"]
    assert beside("images/a.b.jpg") == ["depth/a.b.png"]
    assert beside("/data/images/sub/z.png") == ["depth/sub/z.png"]
    assert beside("../images/z.png") == ["depth/z.tif"]
    assert beside("images/other/z.png", inside=2) == []
    assert beside("images/b.png") == []
    place("depth/a.JPG")
    assert len(find_beside(Path("a.png"), files_by_stem(Path("depth")), 1)) == 2
