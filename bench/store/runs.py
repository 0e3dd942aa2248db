"""The run store: a folder per run, read without locks, understood with `less`.

store.json                     format version
datasets.json                  what was met outside: data, weights, plugins (`bench.data.memory`)
names.jsonl                    what questions call their runs (`bench.store.run_names`)
claims.json                    when claims were noted (`bench.store.noted`)
looks.json                     what was found when seeds were added (`bench.store.looks`)
trackers/                      what was told to trackers, and their files (`bench.tracking`)
packs/<fingerprint>/           decoded images, shared by all runs
<2 hex>/<id>/spec.yaml         the run, written once
             env.json          versions, device, threads of the last attempt
             metrics.jsonl     one line per logged step
             checkpoint-*      the last two: tensors, and a manifest with their checksum
             best-*            weights of the best steps so far, where a run chooses its step
             attempts.json     who began the run, and when
             lease-*           who makes it now, with files on their way (`bench.store.lease`)
             notes.json        what was met on the way: damage, inexact resumes
             model.safetensors weights after the last step, or of the best
             eval/<split>.npz  confusion matrix and prediction of each image
             failure.json      why the last attempt ended early
             result.json       written last, by rename: its presence means done
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.plan import Run
from bench.settings.yaml_file import dump_yaml, parse_stored
from bench.store.atomic import replacing, write_json
from bench.store.evaluation_file import EvaluationFile
from bench.store.names import list_run_dirs
from bench.store.records import (
    FAILURE,
    FORMAT,
    NOTES,
    RESULT,
    STORE_FORMAT,
    Failure,
    LogRow,
    Reason,
    Result,
    read_record,
    read_rows,
)
from bench.store.run_names import RunNames
from bench.text import our_command, remaking
from fcn.errors import InputError

__all__ = ["EXACT_KEYS", "FORMAT", "Failure", "Log", "Result", "Status", "Store"]

Status = Literal["done", "failed", "missing"]
EXACT_KEYS = ("device", "device_name", "processes", "threads", "torch")
"""What of `Result.environment` must be the same for a run to have the same bits."""


@dataclass(frozen=True)
class Log:
    """What a run wrote as it went."""

    rows: list[LogRow]
    problem: str | None = None
    """Why rows are missing; None where none is."""


class Store:
    """A folder of runs.

    Args:
        root: The folder; made on the first write.

    Raises:
        InputError: The folder was written by another version of the format.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.fspath(root)
        self._check_format()

    @property
    def packs_dir(self) -> Path:
        """Folder of the packed datasets."""
        return self.root / "packs"

    def run_dir(self, run_id: str) -> Path:
        """Return the folder of a run, whether or not it exists."""
        return Path(self._file(run_id, ""))

    def find(self, prefix: str) -> str:
        """Return the one run id that starts with `prefix`, or that `ablation/variant/seed` names.

        Raises:
            InputError: There is none, or more than one.
        """
        if "/" in prefix:
            return self._find_named(prefix)
        found = [run_id for run_id in self.run_ids() if run_id.startswith(prefix)]
        if len(found) != 1:
            what = "no run" if not found else f"{len(found)} runs"
            raise InputError(
                f"{what} in {self.root} with an id that starts with {prefix!r}; "
                f"{our_command('runs list', self.root)} shows the ids"
            )
        return found[0]

    def _find_named(self, name: str) -> str:
        run_id = self.names.find(name)
        if not self.has(run_id):
            raise InputError(f"{name} is run {run_id}, which {self.root} does not have (any more)")
        return run_id

    @property
    def names(self) -> RunNames:
        """What questions call the runs, as it stands now."""
        return RunNames(self.root)

    def run_ids(self) -> Iterator[str]:
        """Yield the ids of all runs with a folder, sorted."""
        yield from (f.name for f in list_run_dirs(self.root) if (f / "spec.yaml").exists())

    def begin(self) -> None:
        """Make the folder a store, unless it is one."""
        if not (self.root / "store.json").exists():
            write_json(self.root / "store.json", {"format": FORMAT})

    def has(self, run_id: str) -> bool:
        """Say whether a run was ever begun here."""
        return os.path.exists(self._file(run_id, "spec.yaml"))

    def prepare(self, run: Run) -> Path:
        """Make the run's folder with its spec and return it; keep what is there already."""
        self.begin()
        path = self.run_dir(run.id) / "spec.yaml"
        if not path.exists():
            values = {"format": FORMAT, "id": run.id, **run.to_json()}
            with replacing(path) as temporary:
                temporary.write_text(dump_yaml(values), encoding="utf-8")
        return path.parent

    def run(self, run_id: str) -> Run:
        """Read a run's spec back.

        Raises:
            InputError: There is no such run, or its folder is of another version or was edited.
        """
        path = self.run_dir(run_id) / "spec.yaml"
        if not path.exists():
            raise InputError(f"{path} does not exist: there is no such run in {self.root}")
        try:
            values = parse_stored(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} is damaged ({error}); {remaking(run_id, self.root)}"
            ) from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InputError(
                f"{path} is not of format {FORMAT}; {_OTHER_STORE}, or, if this version wrote it, "
                f"{remaking(run_id, self.root)}"
            )
        content = {key: value for key, value in values.items() if key not in ("format", "id")}
        return self._identified(run_id, content, path)

    def status(self, run_id: str) -> Status:
        """Say whether a run is done, failed, or has no outcome yet."""
        if os.path.exists(self._file(run_id, "result.json")):
            return "done"
        return "failed" if os.path.exists(self._file(run_id, "failure.json")) else "missing"

    def result(self, run_id: str) -> Result | None:
        """Read the record of a finished run; None if it is not finished.

        Raises:
            InputError: It is damaged, or of another run.
        """
        path = self._file(run_id, "result.json")
        result = read_record(path, RESULT, way_out=remaking(run_id, self.root))
        if result is not None:
            if result.run_id != run_id:
                raise InputError(
                    f"{path} is the record of run {result.run_id}, not of {run_id}; "
                    f"{remaking(run_id, self.root)}"
                )
            self._identified(run_id, result.run, path)
        return result

    def failure(self, run_id: str) -> Failure | None:
        """Read why a run's last attempt ended early; None if it did not."""
        path = self._file(run_id, "failure.json")
        try:
            return read_record(path, FAILURE, way_out="the next command tries the run again")
        except InputError as error:
            return Failure(Reason.UNREADABLE, str(error))

    def publish(self, result: Result) -> None:
        """Write the record that makes a run done."""
        folder = self.run_dir(result.run_id)
        write_json(folder / "result.json", asdict(result))
        (folder / "failure.json").unlink(missing_ok=True)

    def record_failure(self, run_id: str, failure: Failure) -> None:
        """Write why an attempt ended early."""
        write_json(self.run_dir(run_id) / "failure.json", asdict(failure))

    def forget_failure(self, run_id: str) -> None:
        """Clear the last failure, before a new attempt."""
        (self.run_dir(run_id) / "failure.json").unlink(missing_ok=True)

    def add_notes(self, run_id: str, notes: tuple[str, ...]) -> tuple[str, ...]:
        """Keep what a reader of the result must know; return the notes of all attempts.

        What earlier attempts noted is lost, and that is noted, where the file is damaged.
        """
        path = self.run_dir(run_id) / "notes.json"
        try:
            kept = read_record(path, NOTES, way_out="")
            all_notes = (*(kept.notes if kept else ()), *notes)
        except InputError:
            all_notes = ("the notes of earlier attempts were damaged, and are lost", *notes)
            notes = all_notes
        if notes:
            write_json(path, {"notes": all_notes})
        return all_notes

    def heartbeat(self, run_id: str) -> int:
        """Return a number that changes while a run is alive; 0 before its first step."""
        try:
            return (self.run_dir(run_id) / "heartbeat").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def logs(self, run_id: str) -> list[LogRow]:
        """Read the step logs as far as they can be; a last line cut by a kill is left out."""
        return self.log(run_id).rows

    def log(self, run_id: str) -> Log:
        """Read the step logs, and say what is wrong with them.

        Of a finished run all of them count or none: its record has their checksum.
        """
        try:
            content = (self.run_dir(run_id) / "metrics.jsonl").read_bytes()
        except FileNotFoundError:
            return Log([])
        except OSError as error:
            return Log([], f"its log cannot be read ({error.strerror})")
        try:
            result = self.result(run_id)
        except InputError:
            result = None
        recorded = result.digests.get("metrics.jsonl") if result else None
        if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
            return Log([], "its log is not what the run wrote: the checksum is another")
        rows, problem = read_rows(content)
        return Log(rows, None if problem is None else f"its log is damaged, {problem}")

    def evaluation(self, result: Result) -> EvaluationFile:
        """Open the counts and kept predictions of a finished run.

        Raises:
            UnusableCountsError: There are none, or they are not what the run's record says.
        """
        return EvaluationFile(self.run_dir(result.run_id) / "eval" / f"{result.split}.npz", result)

    def confusions(
        self, run_id: str, split: str, target: str | None = None
    ) -> tuple[list[str], NDArray[np.int32]]:
        """Read per-image counts: image names, and matrices (N, C, C).

        `target` names a further target; None is the first.

        Raises:
            InputError: The run is not finished, was scored on another split, or its counts are not
                what its record says.
        """
        file = self.evaluation(self._scored(run_id, split))
        return file.names, file.confusions(target)

    def predictions(self, run_id: str, split: str) -> dict[str, NDArray[np.uint8]]:
        """Read the predictions that were kept: image name -> classes (H, W).

        Raises:
            InputError: As `confusions`.
        """
        return self.evaluation(self._scored(run_id, split)).predictions()

    def _scored(self, run_id: str, split: str) -> Result:
        result = self.result(run_id)
        if result is None or result.split != split:
            raise InputError(f"run {run_id} has no counts of the split {split!r}")
        return result

    def _file(self, run_id: str, name: str) -> str:
        """Return a path in a run's folder, as text: of ten thousand, `Path`s cost half a second."""
        if not _RUN_ID.fullmatch(run_id):
            raise InputError(f"{run_id!r} is not a run id: sixteen hex digits are")
        return os.path.join(self._root, run_id[:2], run_id, name)

    def _identified(self, run_id: str, values: dict[str, Any], path: Path | str) -> Run:
        """Read a run's settings, and see that they are those its id stands for."""
        run = Run.from_json(values, where=str(path))
        named = run.under(run_id)
        if named is None:
            raise InputError(
                f"{path} describes run {run.id}, not {run_id}: it was edited, moved, or written by "
                f"a version that means something else by it; {_OTHER_STORE}, or, if this version "
                f"wrote it, {remaking(run_id, self.root)}"
            )
        return named

    def _check_format(self) -> None:
        path = self.root / "store.json"
        way_out = "delete it, if this version wrote the store, and it is written anew"
        found = read_record(path, STORE_FORMAT, way_out=way_out)
        if found is not None and found.format != FORMAT:
            raise InputError(f"{self.root} is not a store of format {FORMAT}; {_OTHER_STORE}")


_OTHER_STORE = "read it with the version that wrote it, or choose another folder with --runs DIR"
_RUN_ID = re.compile("[0-9a-f]{16}")
