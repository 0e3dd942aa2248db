"""The run store: a folder per run, read without locks, understood with `less`.

store.json                     format version
datasets.json                  fingerprint of each dataset seen, by its settings
packs/<fingerprint>/           decoded pictures, shared by all runs
<2 hex>/<id>/spec.yaml         the run, written once
             env.json          versions, device, threads of the last attempt
             metrics.jsonl     one line per logged step
             checkpoint-*      the last two: tensors, and a manifest with their checksum
             attempts.json     who began the run, and when
             lease-*           who makes it now, with files on their way (`bench.lease`)
             notes.json        what was met on the way: damage, inexact resumes
             model.safetensors weights after the last step
             eval/<split>.npz  confusion matrix and prediction of each picture
             failure.json      why the last attempt ended early
             result.json       written last, by rename: its presence means done
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic_core import from_json

from bench.atomic import replacing, write_json
from bench.plan import Run
from fcn.errors import InputError

FORMAT = 1
Status = Literal["done", "failed", "missing"]
EXACT_KEYS = ("device", "device_name", "processes", "threads", "torch")
"""What of `Result.environment` must be the same for a run to have the same bits."""


@dataclass(frozen=True)
class Result:
    """Record of a finished run. Counts, not scores: `bench.metrics` derives those."""

    run_id: str
    run: dict[str, Any]
    """The run as `Run.to_json` gives it."""
    split: str
    num_images: int
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    confusion: list[list[int]]
    """Pixel counts over the split, C x C; rows are target, columns are prediction."""
    num_parameters: int
    train_seconds: float
    evaluate_seconds: float
    environment: dict[str, Any]
    digests: dict[str, str]
    """sha256 of each file of the run, by its path in the run's folder."""
    finished: str
    """Time of the end, ISO 8601, UTC."""
    weights: dict[str, Any] = field(default_factory=dict)
    """Where the starting weights came from."""
    boundary: list[list[int]] | None = None
    """Boundary pixels over the split, 2 x C: intersections and unions; None unless asked for."""
    notes: tuple[str, ...] = ()
    """What a reader must know: resumed inexactly, a damaged checkpoint set aside."""
    gmacs: float | None = None
    """Billions of multiply-adds of one forward pass of a picture of the split."""
    latency_ms: float | None = None
    """Median time of that pass on the device, in milliseconds."""
    peak_memory_mib: float | None = None
    """Most memory held at once: tensors on a GPU, the whole process on a CPU."""
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further label maps by name: `class_names`, `palette`, `confusion`."""
    inputs: tuple[dict[str, Any], ...] = ()
    """What the network saw beside or instead of pictures, in the order of `data.inputs`."""
    format: int = FORMAT


@dataclass(frozen=True)
class Failure:
    """Why a run ended early."""

    reason: str
    """One word: spec, data, nonfinite, memory, disk, error, killed, lost, stopped, blocked."""
    message: str
    step: int | None = None
    details: str = ""
    """End of the log or traceback."""


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
        """Return the one run id that starts with `prefix`."""
        found = [run_id for run_id in self.run_ids() if run_id.startswith(prefix)]
        if len(found) != 1:
            what = "no run" if not found else f"{len(found)} runs"
            raise InputError(
                f"{what} in {self.root} with an id that starts with {prefix!r}; "
                "`fcn-bench runs list` shows the ids"
            )
        return found[0]

    def run_ids(self) -> Iterator[str]:
        """Yield the ids of all runs with a folder, sorted."""
        for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*/spec.yaml")):
            yield path.parent.name

    def prepare(self, run: Run) -> Path:
        """Make the run's folder with its spec and return it; keep what is there already."""
        self._write_format()
        path = self.run_dir(run.id) / "spec.yaml"
        if not path.exists():
            values = {"format": FORMAT, "id": run.id, **run.to_json()}
            text = yaml.dump(values, Dumper=_DUMPER, sort_keys=False)
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
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
            values = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
        except (yaml.YAMLError, UnicodeDecodeError):
            why = f"{path} is damaged; `fcn-bench runs prune {run_id}` has the run made again"
            raise InputError(why) from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InputError(f"{path} is not of format {FORMAT}; {_OTHER_STORE}")
        run = Run.from_json(values, where=str(path))
        if run.id != run_id:
            raise InputError(
                f"{path} describes run {run.id}, not {run_id}: it was edited, moved, or written by "
                f"a version that means something else by it; {_OTHER_STORE}"
            )
        return run

    def status(self, run_id: str) -> Status:
        """Say whether a run is done, failed, or has no outcome yet."""
        if os.path.exists(self._file(run_id, "result.json")):
            return "done"
        return "failed" if os.path.exists(self._file(run_id, "failure.json")) else "missing"

    def result(self, run_id: str) -> Result | None:
        """Read the record of a finished run; None if it is not finished."""
        values = _read_json(self._file(run_id, "result.json"))
        return None if values is None else Result(**values)

    def failure(self, run_id: str) -> Failure | None:
        """Read why a run's last attempt ended early; None if it did not."""
        values = _read_json(self._file(run_id, "failure.json"))
        return None if values is None else Failure(**values)

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
        """Keep what a reader of the result must know; return the notes of all attempts."""
        path = self.run_dir(run_id) / "notes.json"
        kept = (_read_json(path) or {}).get("notes", [])
        if notes:
            kept = [*kept, *notes]
            write_json(path, {"notes": kept})
        return tuple(kept)

    def heartbeat(self, run_id: str) -> int:
        """Return a number that changes while a run is alive; 0 before its first step."""
        try:
            return (self.run_dir(run_id) / "heartbeat").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def logs(self, run_id: str) -> list[dict[str, Any]]:
        """Read the step logs; a last line cut by a kill is left out."""
        path = self.run_dir(run_id) / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def confusions(
        self, run_id: str, split: str, target: str | None = None
    ) -> tuple[list[str], NDArray[np.int32]]:
        """Read per-image counts: image names, and matrices (N, C, C).

        `target` names a further label map; None is the first.
        """
        # Opened here: numpy leaves a damaged file open.
        path = self._eval_path(run_id, split)
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            key = "confusions" if target is None else f"confusions.{target}"
            return [str(name) for name in file["names"]], file[key]

    def boundaries(self, run_id: str, split: str) -> NDArray[np.int32] | None:
        """Read per-image boundary counts, (N, 2, C): intersections, unions; None if not taken."""
        path = self._eval_path(run_id, split)
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if "boundary_unions" not in file:
                return None
            return np.stack([file["boundary_intersections"], file["boundary_unions"]], axis=1)

    def predictions(self, run_id: str, split: str) -> dict[str, NDArray[np.uint8]]:
        """Read the predictions that were kept: image name -> classes (H, W)."""
        with np.load(self._eval_path(run_id, split), allow_pickle=False) as file:
            names = file["predicted_names"]
            return {str(name): file[f"pred_{i}"] for i, name in enumerate(names)}

    def remember_dataset(self, key: str, facts: dict[str, Any]) -> None:
        """Keep a dataset's fingerprint and sizes, so that a report needs no data folder."""
        self._write_format()
        known = _read_json(self.root / "datasets.json") or {}
        if known.get(key) != facts:
            write_json(self.root / "datasets.json", {**known, key: facts})

    def recall_dataset(self, key: str) -> dict[str, Any] | None:
        """Return what `remember_dataset` kept."""
        known = _read_json(self.root / "datasets.json") or {}
        facts: dict[str, Any] | None = known.get(key)
        return facts

    def _file(self, run_id: str, name: str) -> str:
        """Return a path in a run's folder, as text: of ten thousand, `Path`s cost half a second."""
        if not _RUN_ID.fullmatch(run_id):
            raise InputError(f"{run_id!r} is not a run id: sixteen hex digits are")
        return os.path.join(self._root, run_id[:2], run_id, name)

    def _eval_path(self, run_id: str, split: str) -> Path:
        return self.run_dir(run_id) / "eval" / f"{split}.npz"

    def _check_format(self) -> None:
        values = _read_json(self.root / "store.json")
        if values is not None and values.get("format") != FORMAT:
            raise InputError(f"{self.root} is not a store of format {FORMAT}; {_OTHER_STORE}")

    def _write_format(self) -> None:
        if not (self.root / "store.json").exists():
            write_json(self.root / "store.json", {"format": FORMAT})


_OTHER_STORE = "read it with the version that wrote it, or choose another folder with --runs DIR"
_RUN_ID = re.compile("[0-9a-f]{16}")

# The same language, and safe too; written in C where PyYAML was built with it.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read_json(path: Path | str) -> dict[str, Any] | None:
    try:
        with open(path, "rb", buffering=0) as file:
            values: dict[str, Any] = from_json(file.readall(), allow_inf_nan=False)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(
            f"{path} is not JSON ({error}); move it away to have it made again"
        ) from None
    return values
