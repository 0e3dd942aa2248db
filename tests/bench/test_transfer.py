"""Runs sent from one store to another: whole, checked, over nothing."""

import io
import tarfile

import numpy as np
import pytest

from bench.data.memory import read_memory
from bench.run.execute import Options, execute
from bench.run.predict import predict
from bench.store.lease import hold
from bench.store.run_names import RunName
from bench.store.runs import Store
from bench.transfer import MANIFEST, export_runs, import_runs
from bench.upkeep import verify
from fcn.errors import InputError


@pytest.fixture
def sent(tiny_run, tmp_path):
    """A store with a finished run, and a file with that run and its images."""
    store, run = tiny_run({"train.steps": 1, "evaluate.eval_every": 0})
    execute(store.run_dir(run.id), Options("cpu", 1))
    store.names.add([(run.id, RunName("q", "a", 0))])
    file = tmp_path / "runs.tar"
    export_runs(store, [run.id], file, with_data=True)
    return store, run, file


def test_a_run_is_the_same_in_another_store(sent, tmp_path):
    store, run, file = sent
    other = Store(tmp_path / "other")
    said = list(import_runs(other, file))
    assert said[0] == f"{run.id} (q/a/0): imported"
    assert other.find("q/a/0") == run.id
    assert other.result(run.id) == store.result(run.id)
    assert other.logs(run.id) == store.logs(run.id)
    assert list(verify(other)) == []
    _, ours = store.confusions(run.id, "test")
    _, theirs = other.confusions(run.id, "test")
    assert np.array_equal(ours, theirs)
    # A report of the question needs no images there: the facts of the data came along.
    assert read_memory(other.root).datasets == read_memory(store.root).datasets
    assert [path.name for path in other.packs_dir.iterdir()] == [run.fingerprint[:16]]
    assert not list(other.root.glob(".tmp-*"))
    again = list(import_runs(other, file))
    assert again[0].endswith("was here already")


def test_what_came_predicts(sent, tmp_path):
    import torch
    from PIL import Image

    store, run, file = sent
    other = Store(tmp_path / "other")
    list(import_runs(other, file))
    Image.fromarray(np.full((40, 50, 3), 99, np.uint8)).save(tmp_path / "a.png")
    paths = [tmp_path / "a.png"]
    masks = [
        next(predict(one, run.id, paths, torch.device("cpu"))).preds[""] for one in (store, other)
    ]
    assert np.array_equal(*masks)


def test_a_begun_run_is_replaced_unless_somebody_makes_it(sent, tmp_path):
    _, run, file = sent
    other = Store(tmp_path / "other")
    folder = other.prepare(run)
    with hold(folder), pytest.raises(InputError, match="is being made"):
        list(import_runs(other, file))
    assert other.status(run.id) == "missing"
    list(import_runs(other, file))
    assert other.status(run.id) == "done"


def test_nothing_is_written_over_and_nothing_unfinished_is_sent(sent, tmp_path, tiny_run):
    store, run, file = sent
    before = file.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        export_runs(store, [run.id], file)
    assert file.read_bytes() == before
    _, begun = tiny_run({"train.steps": 2})
    with pytest.raises(InputError, match="not finished"):
        export_runs(store, [begun.id], tmp_path / "more.tar")
    (store.run_dir(run.id) / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match=r"model.safetensors is missing or not what"):
        export_runs(store, [run.id], tmp_path / "more.tar")
    assert not (tmp_path / "more.tar").exists()


def changed(file, change):
    """Write a file of runs again, with each member's name and content as `change` has them."""
    out = file.with_name("changed.tar")
    with tarfile.open(file) as tar, tarfile.open(out, "w") as other:
        for member in tar:
            name, content = change(member.name, tar.extractfile(member).read())
            member.name, member.size = name, len(content)
            other.addfile(member, io.BytesIO(content))
    return out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, c: (n, c + b"x" if n.endswith("safetensors") else c), "not what the run wrote"),
        (lambda n, c: (n, c.replace(b"steps: 1", b"steps: 2")), "cannot be read"),
        (lambda n, c: (n.replace("env.json", "../../../env.json"), c), "no file of a run"),
        (lambda n, c: (n.replace("env.json", "env.sh"), c), "no file of a run"),
        (lambda n, c: ("/tmp/env.json" if "env" in n else n, c), "no file of a run"),
        (lambda n, c: (n.replace(MANIFEST, "other.json"), c), "no file of runs"),
        (lambda n, c: (n, c + b"x" if n.endswith("images.bin") else c), "damaged on their way"),
        (lambda n, c: (n, b"{" if n == MANIFEST else c), MANIFEST),
    ],
)  # fmt: skip
def test_a_file_that_was_changed_is_refused(sent, tmp_path, change, said):
    _, _, file = sent
    other = Store(tmp_path / "other")
    with pytest.raises(InputError, match=said):
        list(import_runs(other, changed(file, change)))
    assert not list(other.root.glob(".tmp-*"))
    assert not (tmp_path / "env.json").exists()
    if "images" not in said and "damaged" not in said:
        assert list(other.run_ids()) == []


@pytest.mark.parametrize("content", [b"", b"no tar", b"PK\3\4"])
def test_what_is_no_file_of_runs_is_refused(tmp_path, content):
    (tmp_path / "mine").write_bytes(content)
    with pytest.raises(InputError, match="no file of runs"):
        list(import_runs(Store(tmp_path / "runs"), tmp_path / "mine"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_files_of_holes_are_refused_whatever_their_name(sent, tmp_path, kind):
    """A link leads elsewhere, and a file of holes comes to any number of bytes."""
    _, _, file = sent
    out = tmp_path / "changed.tar"
    with tarfile.open(file) as tar, tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as other:
        for member in tar:
            content = tar.extractfile(member).read()
            if member.name.endswith("env.json"):
                member = tarfile.TarInfo(member.name)
                member.type, member.linkname, content = kind, "../../../env.json", b""
            other.addfile(member, io.BytesIO(content))
    with pytest.raises(InputError, match=r'env.json", which is no file of a run'):
        list(import_runs(Store(tmp_path / "other"), out))
