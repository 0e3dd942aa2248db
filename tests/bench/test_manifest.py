"""Only what a maker wrote itself, and nobody changed since, may be written over."""

import hashlib
import json

import pytest

from bench.outputs.stream import Manifest, find_manifests
from fcn.errors import InputError


def test_what_was_written_is_known_by_name_content_and_source(tmp_path):
    manifest = Manifest(tmp_path / "out", "run-1")
    path = tmp_path / "out/sub/a.png"
    assert manifest.may_write(path)
    manifest.write(path, b"first", of="a.jpg")
    manifest.write(path, b"second", of="a.jpg")
    assert path.read_bytes() == b"second"
    again = Manifest(tmp_path / "out", "run-1")
    assert again.is_ours(path)
    assert again.may_write(path, "a.jpg")
    assert not again.may_write(path, "b.jpg")
    assert not Manifest(tmp_path / "out", "run-2").may_write(path)
    path.write_bytes(b"first")  # an older one of ours, put back
    assert again.is_ours(path)
    path.write_bytes(b"by hand")
    assert not again.may_write(path)
    with pytest.raises(InputError, match="move it away"):
        again.write(path, b"third", of="a.jpg")
    assert path.read_bytes() == b"by hand"


def test_a_line_for_each_content_is_all_there_is(tmp_path):
    manifest = Manifest(tmp_path, "run-1")
    for _ in range(3):
        manifest.write(tmp_path / "a.png", b"same", of="x")
    (line,) = manifest.path.read_text().splitlines()
    digest = hashlib.sha256(b"same").hexdigest()
    assert json.loads(line) == {"file": "a.png", "of": "x", "sha256": digest}
    assert [m.path for m in find_manifests(tmp_path)] == [manifest.path]


def test_a_damaged_manifest_speaks_for_nothing_that_it_does_not_name(tmp_path):
    manifest = Manifest(tmp_path, "run-1")
    for name in "ab":
        manifest.write(tmp_path / name, name.encode())
    text = manifest.path.read_bytes()
    manifest.path.write_bytes(b'\xff[1]\n{"file": 3}\nnull\n' + text[:-20])
    damaged = Manifest(tmp_path, "run-1")
    assert damaged.is_ours(tmp_path / "a")
    assert not damaged.is_ours(tmp_path / "b")


def test_what_is_written_behind_a_line_that_was_cut_is_known(tmp_path):
    manifest = Manifest(tmp_path, "run-1")
    for name in "ab":
        manifest.write(tmp_path / name, name.encode())
    manifest.path.write_bytes(manifest.path.read_bytes()[:-20])
    Manifest(tmp_path, "run-1").write(tmp_path / "c", b"c")
    damaged = Manifest(tmp_path, "run-1")
    assert [damaged.is_ours(tmp_path / name) for name in "abc"] == [True, False, True]


def test_links_and_folders_in_the_way_are_nobodys(tmp_path):
    manifest = Manifest(tmp_path, "run-1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert not manifest.may_write(tmp_path / "folder")
    assert not manifest.may_write(tmp_path / "gone")


def test_a_kill_between_line_and_file_leaves_the_way_free(tmp_path, monkeypatch):
    manifest = Manifest(tmp_path, "run-1")
    manifest.write(tmp_path / "a", b"old")

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bench.outputs.stream.replacing", killed)
        for name, content in (("a", b"new"), ("b", b"first")):
            with pytest.raises(KeyboardInterrupt):
                manifest.write(tmp_path / name, content)
    again = Manifest(tmp_path, "run-1")
    for name in "ab":
        assert again.may_write(tmp_path / name)
        again.write(tmp_path / name, b"at last")
