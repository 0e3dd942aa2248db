"""Folders of others: ours is replaced while it is ours, and nothing else ever is."""

import json
import os

import pytest

from bench.outputs import folder as module
from bench.outputs.folder import MANIFEST, Outputs, require_writable
from fcn.errors import InputError

OLD = {"page.html": b"old page", "a/one.csv": b"1", "a/two.csv": b"2"}
NEW = {"a/one.csv": b"11", "page.html": b"new page"}


def open_outputs(folder, by="report", of=None, earlier=None):
    return Outputs(folder, by=by, of=of or {"name": "q"}, earlier=earlier)


def read(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


@pytest.fixture
def written(tmp_path):
    open_outputs(tmp_path / "out").write(OLD)
    return tmp_path / "out"


def test_what_was_written_is_replaced_or_removed_and_the_rest_stays(written):
    (written / "a" / "mine.csv").write_text("mine")
    open_outputs(written).write(NEW)
    assert read(written) == {**NEW, "a/mine.csv": b"mine"}
    assert sorted(json.loads((written / MANIFEST).read_text())["files"]) == sorted(NEW)


def test_writing_the_same_again_changes_no_byte(written):
    before = (written / MANIFEST).read_bytes()
    open_outputs(written).write(OLD)
    assert (written / MANIFEST).read_bytes() == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("page.html", "page.html was changed since it was written"),
        ("three.csv", "three.csv is not a file that fcn-bench wrote"),
    ],
)
def test_a_file_of_somebodys_in_the_way_is_a_refusal_and_nothing_is_written(written, name, why):
    (written / name).write_text("by hand")
    before = read(written)
    with pytest.raises(InputError, match=f"{why}.* --out DIR, or move"):
        open_outputs(written).write({"first.csv": b"", **NEW, "three.csv": b""})
    assert read(written) == before


def test_the_way_out_of_a_refusal_works(written):
    (written / "page.html").write_text("by hand")
    (written / "page.html").rename(written / "mine.html")
    open_outputs(written).write(NEW)
    assert read(written) == {**NEW, "mine.html": b"by hand"}


def test_what_is_left_of_an_earlier_writing_stays_once_it_was_changed(written):
    (written / "a" / "two.csv").write_text("by hand")
    open_outputs(written).write(NEW)
    assert read(written) == {**NEW, "a/two.csv": b"by hand"}


def test_what_shows_something_else_is_not_replaced(written):
    with pytest.raises(InputError, match=r"page\.html is of another report, that of q"):
        open_outputs(written, of={"name": "other"}).require(["page.html"])
    with pytest.raises(InputError, match="of another report"):
        open_outputs(written, by="comparison").require(["page.html"])
    open_outputs(written, by="comparison").write({"compare.md": b""})
    open_outputs(written, of={"file": "q.yaml", "name": "q"}).write(NEW)
    assert read(written) == {**NEW, "compare.md": b""}
    open_outputs(written, of={"file": "q.yaml"}).write(OLD)  # moved on by one name in common


FOREIGN = {
    "text": "mine",
    "no object": "[1, 2]",
    "empty": "",
    "a bad byte": b"\xff\xfe{}",
    "other keys": '{"name": "web app", "icons": []}',
    "another version": '{"format": 2, "files": {}}',
    "a type changed": '{"format": 1, "files": {"page.html": {"by": 3, "of": {}, "sha256": []}}}',
    "cut": '{"format": 1, "files": {"page.html": {"by": "rep',
    "deep": "[" * 100_000,
    "a name that leads elsewhere": json.dumps(
        {"format": 1, "files": {"../x": {"by": "report", "of": {"name": "q"}, "sha256": []}}}
    ),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_manifest_that_is_not_ours_is_somebodys_file(written, content):
    text = content if isinstance(content, bytes) else content.encode()
    (written / MANIFEST).write_bytes(text)
    with pytest.raises(InputError, match=f"{MANIFEST} is not what .* or move {MANIFEST} away"):
        open_outputs(written).write(NEW)
    assert read(written) == OLD
    assert (written / MANIFEST).read_bytes() == text


def test_a_manifest_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(InputError, match="is not what"):
        open_outputs(tmp_path).write(NEW)


def test_without_a_manifest_only_what_an_earlier_version_wrote_is_ours(tmp_path):
    for name in ("page.html", "mine.html", "gone.csv"):
        (tmp_path / name).write_text("earlier")
    with pytest.raises(InputError, match=r"page\.html is not a file"):
        open_outputs(tmp_path).write(NEW)
    earlier = {name: {"name": "q"} for name in ("page.html", "gone.csv", "deleted.csv")}
    open_outputs(tmp_path, earlier=earlier).write(NEW)
    assert read(tmp_path) == {**NEW, "mine.html": b"earlier"}


def test_a_command_that_ended_on_its_way_does_not_lock_its_folder(written, monkeypatch):
    """Each content on its way was noted before it was written."""

    def full(path):
        if path.name == "page.html":
            raise OSError(28, "No space left on device", str(path))
        return replacing(path)

    replacing = module.replacing
    with monkeypatch.context() as patch:
        patch.setattr(module, "replacing", full)
        with pytest.raises(OSError, match="No space"):
            open_outputs(written).write(NEW)
    assert read(written) == {"page.html": b"old page", "a/one.csv": b"11"}
    open_outputs(written).write(NEW)
    assert read(written) == NEW


def test_two_that_write_one_report_at_a_time_leave_it_theirs(written, monkeypatch):
    other = [{"page.html": b"others"}, {"page.html": b"others again"}]

    def overtaken(path):
        if path.name == "page.html" and other:
            open_outputs(written).write(other.pop())
        return replacing(path)

    replacing = module.replacing
    monkeypatch.setattr(module, "replacing", overtaken)
    open_outputs(written).write(NEW)
    monkeypatch.undo()
    open_outputs(written).write(OLD)
    assert read(written) == OLD


@pytest.mark.parametrize("in_the_way", ["a", "page.html/x"])
def test_files_and_folders_in_each_others_way_are_refused(tmp_path, in_the_way):
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("mine")
    with pytest.raises(InputError, match=r"a is no folder|page\.html is not a file"):
        open_outputs(tmp_path).require(NEW)


def test_a_link_to_nowhere_is_somebodys(tmp_path):
    (tmp_path / "page.html").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"page\.html is not a file"):
        open_outputs(tmp_path).write(NEW)
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_written_is_said_beforehand_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file"):
        require_writable(tmp_path / "file" / "out" / "q")
    require_writable(tmp_path / "new" / "out")
    assert os.listdir(tmp_path) == ["file"]

    def read_only(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(OSError, match=r"Read-only file system: .*new/out"):
        require_writable(tmp_path / "new" / "out")
