"""Runs on their way from one store to another: a tar file with their folders, names and facts.

    fcn-bench-runs.json     format, the runs, their names, what is known of their datasets
    runs/<id>/...           the files of each run that make it whole
    evaluations/<id>/...    scores that were taken of it after training
    packs/<fingerprint>/... its decoded images, where they were asked for

What comes in is looked at before it is anybody's: only names that we give are unpacked, every run
is read under its id and hashed against its record, and appears by one rename.
"""

import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.data.catalog import key_of
from bench.data.facts import DatasetFacts
from bench.data.memory import read_memory, remember_dataset
from bench.data.packs.pack import find_damage
from bench.data.packs.packing import publish
from bench.plan import RunId
from bench.store.atomic import file_digest, replacing, sync_folder, umask
from bench.store.names import is_pack_dir
from bench.store.records import CLOSED, describe_fault
from bench.store.run_names import RunName
from bench.store.runs import Store
from bench.store.scored import COUNTS, FOLDER, RECORD, RUN, folder_of, list_scored, read_scored
from bench.store.scratch import scratch_prefix
from bench.upkeep import remove_evaluation, remove_run
from fcn.errors import InputError

MANIFEST = "fcn-bench-runs.json"
FILES = ("spec.yaml", "result.json", "env.json", "notes.json", "attempts.json")
"""Of a run, beside those of which its record has digests."""

_MEMBER = re.compile(
    r"runs/[0-9a-f]{16}/((spec\.yaml|(result|env|notes|attempts)\.json|metrics\.jsonl"
    r"|model\.safetensors)|eval/[^/]+\.npz)"
    r"|evaluations/[0-9a-f]{16}/(evaluation\.json|counts\.npz)"
    r"|packs/[0-9a-f]{16}/(index|groups)\.json|packs/[0-9a-f]{16}/[^/]+\.bin"
)


@dataclass(frozen=True, config=CLOSED)
class _Named:
    id: RunId
    ablation: str
    variant: str
    seed: int


@dataclass(frozen=True, config=CLOSED)
class _Manifest:
    """What a file of runs holds."""

    runs: list[RunId]
    names: list[_Named] = field(default_factory=list)
    datasets: dict[str, list[DatasetFacts]] = field(default_factory=dict)
    """By dataset and options, as `bench.data.catalog.key_of` writes them."""
    format: Literal[1] = 1


_MANIFEST = TypeAdapter(_Manifest)


def export_runs(
    store: Store, run_ids: Sequence[str], path: Path, *, with_data: bool = False
) -> int:
    """Write finished runs into a tar file and return its bytes.

    Args:
        store: Where they are.
        run_ids: Which.
        path: The file; nothing else may be there.
        with_data: Write the packs of their datasets too.

    Raises:
        InputError: A run is not finished or not what it wrote, or something is at `path`.
    """
    if os.path.lexists(path):
        raise InputError(f"{path} is there already; give --to another name, or move it away")
    known = read_memory(store.root).datasets
    datasets: dict[str, list[DatasetFacts]] = {}
    members: dict[str, Path] = {}
    for run_id in run_ids:
        run = store.run(run_id)
        members |= {f"runs/{run_id}/{name}": file for name, file in _files_of(store, run_id)}
        key = key_of(run.spec.data)
        facts = known.get(key, {}).get(run.fingerprint)
        if facts is not None and facts not in datasets.setdefault(key, []):
            datasets[key].append(facts)
        pack = store.packs_dir / run.fingerprint[:16]
        if with_data and not is_pack_dir(pack):
            raise InputError(
                f"the images of run {run_id} are not in this store any more ({pack} is missing); "
                "leave --with-data out"
            )
        if with_data:
            members |= {f"packs/{pack.name}/{f.name}": f for f in sorted(pack.iterdir())}
    members |= dict(_evaluations_of(store, run_ids))
    names = [
        _Named(run_id, name.ablation, name.variant, name.seed)
        for run_id in run_ids
        for name in reversed(store.names.by_id.get(run_id, ()))
    ]
    manifest = _MANIFEST.dump_json(_Manifest(list(run_ids), names, datasets), indent=1)
    with replacing(path) as temporary, tarfile.open(temporary, "w") as tar:
        head = tarfile.TarInfo(MANIFEST)
        head.size = len(manifest)
        tar.addfile(head, BytesIO(manifest))
        for name, file in members.items():
            if _MEMBER.fullmatch(name):
                tar.add(file, name, recursive=False, filter=_without_owner)
    return path.stat().st_size


def import_runs(store: Store, path: Path) -> Iterator[str]:
    """Put the runs of a file into a store; yields a line about each.

    A run that is there and done stays as it is; one that is not is replaced.

    Raises:
        InputError: It is no such file, or a run in it is not what its record says: that run and
            those after it are not taken.
    """
    store.begin()
    scratch = Path(tempfile.mkdtemp(dir=store.root, prefix=scratch_prefix("import")))
    try:
        manifest = _unpack(path, scratch)
        incoming = _Incoming(scratch)
        for run_id in manifest.runs:
            incoming.check(run_id, path)
            is_new = _take(store, incoming.run_dir(run_id), run_id)
            own = [n for n in manifest.names if n.id == run_id]
            store.names.add((n.id, RunName(n.ablation, n.variant, n.seed)) for n in own)
            called = "".join(f" ({n.ablation}/{n.variant}/{n.seed})" for n in own[-1:])
            yield f"{run_id}{called}: {'imported' if is_new else 'was here already'}"
        for key, found in manifest.datasets.items():
            for facts in found:
                remember_dataset(store.root, key, facts)
        for folder in sorted((scratch / FOLDER).glob("*")):
            yield _take_evaluation(store, folder, manifest.runs)
        for pack in sorted((scratch / "packs").glob("*")):
            yield _take_pack(store, pack)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Incoming(Store):
    """Runs as they lie in the scratch of an import: a folder each, not yet of a store."""

    def _file(self, run_id: str, name: str) -> str:
        return os.path.join(self._root, "runs", run_id, name)

    def check(self, run_id: str, path: Path) -> None:
        """See that a run is whole and what its record says."""
        try:
            self.run(run_id)
            result = self.result(run_id)
        except InputError as error:
            raise InputError(f"{path}: run {run_id} cannot be read: {error}") from None
        if result is None:
            raise InputError(f"{path}: run {run_id} is not finished; have it exported again")
        for name, digest in result.digests.items():
            file = self.run_dir(run_id) / name
            if not file.is_file() or file_digest(file) != digest:
                raise InputError(
                    f"{path}: {name} of run {run_id} is missing or not what the run wrote; have "
                    "it exported again"
                )


def _files_of(store: Store, run_id: str) -> Iterator[tuple[str, Path]]:
    """Yield name and path of what makes a finished run whole, each hashed."""
    result, folder = store.result(run_id), store.run_dir(run_id)
    if result is None:
        raise InputError(
            f"run {run_id} is not finished, and only finished runs are exported; `fcn-bench run` "
            "with its spec goes on with it"
        )
    for name in (*FILES, *(name for name in result.digests if name not in FILES)):
        file, digest = folder / name, result.digests.get(name)
        if digest is not None and (not file.is_file() or file_digest(file) != digest):
            raise InputError(
                f"{file} is missing or not what the run wrote; `fcn-bench runs verify` looks at "
                "the whole store"
            )
        if file.is_file():
            yield name, file


def _evaluations_of(store: Store, run_ids: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield name and path of the files of what was evaluated of some runs."""
    for scored in list_scored(store.root):
        if scored.kind == RUN and scored.source in run_ids:
            folder = folder_of(store.root, scored.id)
            for name in (RECORD, COUNTS):
                yield f"{FOLDER}/{scored.id}/{name}", folder / name


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who wrote a file, and when: a colleague's machine knows neither."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def _unpack(path: Path, scratch: Path) -> _Manifest:
    """Unpack a file of runs; nothing in it that has a name which we do not give."""
    foreign = InputError(
        f"{path} is no file of runs, or is damaged; give what `fcn-bench runs export` wrote"
    )
    try:
        with tarfile.open(path, "r:") as tar:
            head = tar.next()
            content = tar.extractfile(head) if head and head.name == MANIFEST else None
            if content is None:
                raise foreign
            manifest = _MANIFEST.validate_json(content.read())
            for member in tar:
                name = PurePosixPath(member.name).as_posix()
                if name == MANIFEST:
                    continue
                # A sparse file has holes: a few bytes of it come to any number.
                is_plain = member.isreg() and not member.issparse()
                content = tar.extractfile(member) if is_plain else None
                if content is None or not _MEMBER.fullmatch(name):
                    raise InputError(
                        f"{path} holds {json.dumps(member.name)}, which is no file of a run; "
                        "nothing was taken from it"
                    )
                target = scratch / name
                target.parent.mkdir(parents=True, exist_ok=True)
                # By hand: the filters of `extract` came with 3.11.4.
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except ValidationError as error:
        raise InputError(f"{path}: {MANIFEST}: {describe_fault(error)}") from None
    except (tarfile.TarError, EOFError):
        raise foreign from None
    return manifest


def _take(store: Store, folder: Path, run_id: str) -> bool:
    """Give a run its place, unless it is done there; say whether it was taken."""
    if store.status(run_id) == "done":
        return False
    place = store.run_dir(run_id)
    if place.exists():
        remove_run(store, run_id)  # refused where somebody makes it
    place.parent.mkdir(exist_ok=True)
    folder.chmod(0o777 & ~umask())
    folder.rename(place)
    sync_folder(place.parent)
    return True


def _take_evaluation(store: Store, folder: Path, run_ids: Sequence[str]) -> str:
    """Give an evaluation of one of the runs its place, unless it is there."""
    scored = read_scored(folder.parent.parent, folder.name)
    counts = folder / COUNTS
    is_whole = scored is not None and counts.is_file() and scored.source in run_ids
    if scored is None or not is_whole or file_digest(counts) != scored.digests.get(COUNTS):
        raise InputError(f"evaluation {folder.name} was damaged on its way; have it exported again")
    place = folder_of(store.root, scored.id)
    said = f"evaluation {scored.id} ({scored.label} on {scored.dataset} {scored.split})"
    if (place / RECORD).exists():
        return f"{said}: was here already"
    if place.exists():
        remove_evaluation(store, scored.id)
    place.parent.mkdir(exist_ok=True)
    folder.chmod(0o777 & ~umask())
    folder.rename(place)
    sync_folder(place.parent)
    return f"{said}: imported"


def _take_pack(store: Store, folder: Path) -> str:
    place = store.packs_dir / folder.name
    if place.is_dir():
        return f"images {folder.name}: were here already"
    # Read as a pack under its own name, which its index must have.
    damage = next(find_damage(folder), None)
    if damage:
        raise InputError(f"the images {folder.name} were damaged on their way: {damage[1]}")
    place.parent.mkdir(exist_ok=True)
    publish(folder, place)
    return f"images {folder.name}: imported"
