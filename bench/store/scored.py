"""Scores taken after training: of a run on another split, of a model or masks of another tool.

    evaluations/<id>/evaluation.json   what was scored, on what, and how: counts, no scores
                     counts.npz        confusion matrix and prediction of each image, as of a run

An evaluation is its content as a run is: its id is the hash of what was scored, of the images and
of the way. `bench.run.evaluate_other` writes it; it is read as a record of its own kind.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from bench.store.atomic import write_json
from bench.store.evaluation_file import EvaluationFile
from bench.store.records import (
    CLOSED,
    ClassNames,
    Confusion,
    Count,
    Digest,
    Environment,
    Palette,
    Seconds,
    TargetCounts,
    read_record,
)
from fcn.errors import InputError

FOLDER, RECORD, COUNTS = "evaluations", "evaluation.json", "counts.npz"
RUN, MODEL, MASKS, ONNX = "run", "model folder", "masks", "ONNX file"


@dataclass(frozen=True, config=CLOSED)
class Scored:
    """Record of one evaluation."""

    id: str
    kind: Literal["run", "model folder", "masks", "ONNX file"]
    label: str
    """What is scored, as it is shown: `ablation/variant` of a run, else what somebody named it."""
    source: str
    """Id of the run, or path."""
    content: Digest
    """Of its weights or masks."""
    seed: int
    """Of the run; 0 of anything else."""
    dataset: str
    options: dict[str, int | float | str | bool]
    fingerprint: Digest
    split: str
    views: str
    """How images were looked at: `whole`, or flips, sizes and tiles."""
    input_scale: float | None
    """Resize of the images for the network; None of masks."""
    num_images: Count
    class_names: ClassNames
    palette: Palette
    confusion: Confusion
    seconds: Seconds
    environment: Environment
    digests: dict[str, Digest]
    finished: str
    target: str = ""
    """Name of the target; empty for the data set's first."""
    format: Literal[1] = 1

    def counted(self, target: str | None = None) -> TargetCounts:
        """Return the counts of the target, as `Result.counted` does."""
        return TargetCounts(
            class_names=self.class_names, palette=self.palette, confusion=self.confusion
        )


_SCORED = TypeAdapter(Scored)


def name_evaluation(content: dict[str, Any]) -> str:
    """Return the id of an evaluation: sixteen hex digits of what decides it."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def name_place(dataset: str, split: str, target: str) -> str:
    """Return where something was scored, as it is shown; the target where it is not the first."""
    return " ".join(filter(None, (dataset, split, target)))


def folder_of(root: Path, evaluation_id: str) -> Path:
    """Return the folder of an evaluation, whether or not it is there."""
    return root / FOLDER / evaluation_id


def write_scored(root: Path, scored: Scored) -> None:
    """Write a record, which makes an evaluation done; its counts are there already."""
    write_json(folder_of(root, scored.id) / RECORD, asdict(scored))


def read_scored(root: Path, evaluation_id: str) -> Scored | None:
    """Read an evaluation; None where there is none.

    Raises:
        InputError: It is damaged.
    """
    folder = folder_of(root, evaluation_id)
    way_out = f"delete {folder}, and evaluate again"
    found = read_record(folder / RECORD, _SCORED, way_out=way_out)
    if found is not None and found.id != evaluation_id:
        raise InputError(f"{folder / RECORD} is of evaluation {found.id}; {way_out}")
    return found


def list_scored(root: Path) -> Iterator[Scored]:
    """Yield all evaluations of a store, the oldest first.

    Raises:
        InputError: One is damaged.
    """
    folders = (path.parent.name for path in (root / FOLDER).glob(f"*/{RECORD}"))
    found = [read_scored(root, name) for name in sorted(folders)]
    yield from sorted((one for one in found if one is not None), key=lambda one: one.finished)


def find_scored(root: Path, text: str) -> Scored:
    """Return the one evaluation whose id starts with a text.

    Raises:
        InputError: There is none, or more than one.
    """
    found = [one for one in list_scored(root) if one.id.startswith(text)]
    if len(found) != 1:
        what = "no evaluation" if not found else f"{len(found)} evaluations"
        raise InputError(
            f"{what} in {root} with an id that starts with {text!r}; `fcn-bench evaluations list` "
            "shows the ids"
        )
    return found[0]


def counts_file(root: Path, scored: Scored) -> EvaluationFile:
    """Open the counts of an evaluation.

    Raises:
        UnusableCountsError: They are not what its record says.
    """
    folder = folder_of(root, scored.id)
    return EvaluationFile(folder / COUNTS, scored, f"delete {folder}, and evaluate again")
