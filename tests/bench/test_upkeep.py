import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.run.execute import Options, execute
from bench.store.holder import Holder
from bench.store.lease import hold
from bench.store.runs import Failure, Store
from bench.store.scratch import OLD_SECONDS, scratch_prefix
from bench.upkeep import prune, verify
from fcn.errors import InputError

LEFT = ".tmp-env.json-abcd1234.json"
"""A write of an earlier version, whose names said nothing of the writer."""


def leave(path, days=2.0):
    """Write a file that nobody has touched for days."""
    path.write_text("half")
    changed = path.stat().st_mtime - days * 86_400
    os.utime(path, (changed, changed))


def by_killed_process(work):
    """Have a process do something and be killed; it leaves no time to tidy up."""
    pid = os.fork()
    if pid == 0:
        work()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def finished(tiny_run):
    store, run = tiny_run({"train.steps": 1, "evaluate.eval_every": 0})
    execute(store.run_dir(run.id), Options("cpu", 1))
    return store, store.run_dir(run.id)


def test_a_whole_store_has_no_findings(finished):
    store, _ = finished
    assert list(verify(store)) == []
    assert prune(store) == 0


@pytest.mark.parametrize(
    ("damage", "name", "kind"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "model.safetensors", "damaged"),
        (lambda f: (f / "eval" / "test.npz").unlink(), "test.npz", "missing"),
        (lambda f: (f / "result.json").write_text("{"), "", "unreadable"),
        (lambda f: leave(f / LEFT), LEFT, "leftover"),
        (lambda f: leave(f / ".tmp-x"), ".tmp-x", "foreign"),
        (lambda f: (f / "notes.txt").write_text("mine"), "notes.txt", "foreign"),
        (lambda f: (f / "eval" / "mine.png").write_text("mine"), "eval", "foreign"),
        (lambda f: (f / "checkpoint-000000001.json").write_text("{}"), "checkpoint", "leftover"),
    ],
)
def test_what_is_wrong_is_found(finished, damage, name, kind):
    store, folder = finished
    damage(folder)
    (finding,) = verify(store)
    assert finding.kind == kind
    assert name in str(finding.path)


def test_pruning_frees_leftovers_and_leaves_results(finished):
    store, folder = finished
    (folder / "checkpoint-000000001.safetensors").write_bytes(b"1234")
    (store.packs_dir / "0123456789abcdef").mkdir()
    assert prune(store, failed=True) == 4
    assert (folder / "result.json").exists()
    assert list(verify(store)) == []
    assert prune(store, run_ids=[folder.name]) > 1000
    assert not folder.exists()


@pytest.mark.parametrize(("reason", "goes"), [("stopped", False), ("error", True)])
def test_what_was_stopped_goes_on_and_is_not_pruned_as_failed(finished, reason, goes):
    store, folder = finished
    (folder / "result.json").unlink()
    store.record_failure(folder.name, Failure(reason, "why", step=1))
    (folder / "checkpoint-000000001.json").write_text("{}")
    prune(store, failed=True)
    assert folder.exists() != goes
    assert goes or (folder / "checkpoint-000000001.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(path.read_text().replace("steps: 1", "steps: 2")),
        lambda path: path.write_bytes(path.read_bytes()[:40] + b"\xff"),
        lambda path: path.write_text("a: &a [*a"),
        lambda path: path.unlink(),
    ],
)
def test_a_result_whose_run_cannot_be_read_is_found_and_stays(finished, damage):
    """So do the images that it may need; what is known to be left over goes."""
    store, folder = finished
    damage(folder / "spec.yaml")
    leave(folder / LEFT)
    kinds = {finding.kind for finding in verify(store)}
    assert kinds & {"unreadable", "missing"}
    assert "leftover" in kinds
    prune(store, failed=True)
    assert (folder / "result.json").exists()
    assert (folder / "model.safetensors").exists()
    assert not (folder / LEFT).exists()
    assert list(store.packs_dir.iterdir())


def test_a_folder_that_holds_no_run_is_found_and_pruned(finished):
    store, folder = finished
    orphan = folder.with_name(folder.name[:2] + "0" * 14)
    orphan.mkdir()
    (orphan / "checkpoint-000000001.safetensors").write_bytes(b"1234")
    (finding,) = verify(store)
    assert (finding.path, finding.kind) == (orphan, "leftover")
    assert prune(store) == 4
    assert not orphan.exists()
    assert list(verify(store)) == []


def test_what_a_killed_process_left_is_found_and_pruned(tiny_run):
    store, run = tiny_run()
    folder = store.run_dir(run.id)

    def write():
        with hold(folder):
            (next(folder.glob("lease-*/*/")) / ".tmp-half").touch()
            (store.root / f"{scratch_prefix('datasets.json')}abcd1234.json").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    by_killed_process(write)
    assert {finding.kind for finding in verify(store)} == {"leftover"}
    assert {finding.message for finding in verify(store)} == {
        "a write that was cut short",
        "the lease of a process that is gone",
    }
    prune(store)
    assert list(verify(store)) == []


FOREIGN = (
    "ca/photos/cat.txt",
    "ca/0123456789abcdef/cat.txt",  # a run's name, below another's digits
    "ca/ca0123456789abcd/cat.txt",  # a run's name, with something of somebody's in it
    "ca/cafe0123456789ab/checkpoint-of-mine/cat.txt",
    "ca/CA0123456789ABCD/spec.yaml",
    "packs/data/cat.txt",
    "packs/abba/index.json",
    "packs/0123456789abcdef/cat.txt",
    "packs/.tmp-mine/cat.txt",
    ".tmp-mine",
    "photos/.tmp-index-abcd1234",  # where we never write
)


def test_what_has_no_name_of_ours_stays_and_is_listed(finished):
    store, _ = finished
    for name in FOREIGN:
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        leave(path)
    before = names_below(store.root)
    assert prune(store, failed=True) == 0
    assert names_below(store.root) == before
    found = {f.path.relative_to(store.root).as_posix(): f.kind for f in verify(store)}
    assert set(found.values()) == {"foreign"}
    assert {name for name in FOREIGN if not any(name.startswith(path) for path in found)} == {
        ".tmp-mine",
        "photos/.tmp-index-abcd1234",
    }
    assert len(list(store.run_ids())) == 1


def test_a_link_is_not_followed(finished, tmp_path):
    store, folder = finished
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    leave(elsewhere / "checkpoint-000000001.json")
    (store.packs_dir / "0123456789abcdef").symlink_to(elsewhere)
    (folder / "quarantine").symlink_to(elsewhere)
    (folder.parent / f"{folder.name[:2]}00112233445566").symlink_to(elsewhere)
    prune(store)
    assert names_below(elsewhere) == ["checkpoint-000000001.json"]


def test_a_run_with_something_of_somebodys_is_not_removed(finished):
    store, folder = finished
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt.*move it away"):
        prune(store, run_ids=[folder.name])
    (folder / "result.json").unlink()
    store.record_failure(folder.name, Failure("error", "why"))
    prune(store, failed=True)
    assert (folder / "notes.txt").exists()
    assert (folder / "model.safetensors").exists()


def test_a_run_that_is_made_is_refused_and_nothing_of_it_goes(tiny_run):
    store, run = tiny_run()
    folder = store.run_dir(run.id)
    store.record_failure(run.id, Failure("error", "of the last attempt"))
    (folder / "quarantine").mkdir()
    with hold(folder):
        (folder / f"{scratch_prefix('env.json')}abcd1234.json").touch()
        before = names_below(folder)
        with pytest.raises(InputError, match=rf"being made by process {os.getpid()} of .*Ctrl-C"):
            prune(store, run_ids=[run.id])
        assert prune(store, failed=True) == 0
        assert names_below(folder) == before
    prune(store, run_ids=[run.id])
    assert not folder.exists()


def test_a_holder_of_another_machine_is_left_until_a_day_has_passed(tiny_run, monkeypatch):
    store, run = tiny_run()
    folder = store.run_dir(run.id)
    store.record_failure(run.id, Failure("error", "why"))
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "another")
        with hold(folder) as lease:
            lease.folder.rename(kept := folder.parent / "kept")
        kept.rename(lease.folder)  # as if its machine had been lost
    prune(store, failed=True)
    assert lease.folder.exists()
    for path in (lease.folder, *lease.folder.rglob("*")):
        os.utime(path, (0, 0))
    prune(store)
    assert folder.exists()
    assert not lease.folder.exists()


def test_a_scratch_of_a_living_process_stays_however_old(tmp_path):
    store = Store(tmp_path)
    store.packs_dir.mkdir()
    living = store.packs_dir / f"{scratch_prefix('0123456789abcdef')}abcd1234"
    unknown = store.packs_dir / ".tmp-0123456789abcdef-abcd1234"
    recent = store.packs_dir / ".tmp-0123456789abcdef-recent12"
    for path in (living, unknown):
        leave(path, days=3)
    leave(recent, days=0.9 * OLD_SECONDS / 86_400)
    prune(store)
    assert sorted(store.packs_dir.iterdir()) == sorted([living, recent])


def test_a_recycled_process_number_is_another_process(tmp_path):
    store = Store(tmp_path)
    here = Holder.here(0, "")
    name = f"{scratch_prefix('store.json')}abcd1234"
    (tmp_path / name.replace(f"-{here.process}-", f"-{int(here.process) - 1}-")).touch()
    prune(store)
    assert list(tmp_path.iterdir()) == []


PACK = """
import sys
from pathlib import Path
from bench.data.catalog import Catalog
from bench.spec import DataSpec
from bench.store.runs import Store

options = {"size": 32, "num_train": 2, "num_val": 1, "num_test": 1}
Catalog(Store(Path(sys.argv[1])), None).pack(DataSpec(dataset="shapes", options=options))
print("packed", flush=True)
input()
"""


def test_a_pack_stays_while_a_process_needs_it_that_has_written_no_run_yet(tmp_path):
    store = Store(tmp_path)
    command = [sys.executable, "-c", PACK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"packed\n"
        prune(store)
        assert len(list(store.packs_dir.iterdir())) == 1
        process.stdin.close()
        process.wait()
    prune(store)
    assert list(store.packs_dir.iterdir()) == []


def test_a_pack_on_its_way_stays(tiny_run, monkeypatch):
    """Of another command's prune the packer notices nothing, however long it takes."""
    from bench.data.packs import pack as module

    pruned = []

    def write_and_prune(dataset, fingerprint, folder, *settings):
        write_pack(dataset, fingerprint, folder, *settings)
        store = Store(folder.parent.parent)
        pruned.append(prune(store))

    write_pack = module.write_pack
    monkeypatch.setattr(module, "write_pack", write_and_prune)
    store, _ = tiny_run()
    assert pruned == [0]
    assert len(list(store.packs_dir.iterdir())) == 1


def test_a_store_that_can_only_be_read_is_said_to_be_so(finished, monkeypatch):
    """Freed bytes are bytes that are free."""
    store, folder = finished
    leave(folder / LEFT)

    def refuse(path, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only"):
        prune(store)
