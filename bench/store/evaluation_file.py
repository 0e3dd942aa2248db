"""A run's evaluation file, `eval/<split>.npz`: counts of each image, and some predictions.

In: the file, and what the run's record says of it. Out: arrays of checked kind and shape.
`bench.run.evaluate.save_evaluation` writes it.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.metrics import CALIBRATION, CALIBRATION_BINS, KINDS
from bench.store.records import TargetCounts
from bench.text import remaking
from fcn.errors import InputError

UNREADABLE = (
    *(OSError, EOFError, KeyError, ValueError, RuntimeError, MemoryError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy and zipfile raise over a file that is not what it should be."""


class UnusableCountsError(InputError):
    """A run's counts cannot be read, or are not those of its record.

    Args:
        path: The file.
        why: What is wrong with it, as the end of a sentence about counts.
        way_out: What to do.
    """

    def __init__(self, path: Path, why: str, way_out: str) -> None:
        super().__init__(f"the counts in {path} {why}; {way_out}")
        self.why = why


class Counted(Protocol):
    """A record of counts: that of a run, or of an evaluation after training."""

    @property
    def num_images(self) -> int:
        """Number of images."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of files."""

    def counted(self, target: str | None = None) -> TargetCounts:
        """Return the counts of a target."""


class EvaluationFile:
    """Counts and kept predictions of one split.

    Args:
        path: The file.
        result: Record of the run, which the file must be what it says.
        way_out: What to do where it is not; None for what one does of a run.

    Raises:
        UnusableCountsError: It is missing, damaged, of another run, or does not fit the record.
    """

    def __init__(self, path: Path, result: Counted, way_out: str | None = None) -> None:
        self.path, self._result, self._way_out = path, result, way_out
        try:
            content = path.read_bytes()
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror})") from None
        recorded = result.digests.get(f"eval/{path.name}", result.digests.get(path.name))
        if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
            raise self._unusable("are not what the run wrote: the checksum is another")
        try:
            self._arrays: Mapping[str, Any] = np.load(BytesIO(content), allow_pickle=False)
        except UNREADABLE as error:
            raise self._unusable(f"cannot be read ({type(error).__name__})") from None
        names = self._array("names", "U", 1)
        self.names = [str(name) for name in names]
        """Of the N images, in the order of the split."""
        if len(names) != result.num_images or len(set(self.names)) != len(names):
            raise self._unusable(
                f"are of {len(set(self.names))} images in {len(names)} rows, not of "
                f"{result.num_images} as the record of the run"
            )

    def confusions(self, target: str | None = None) -> NDArray[np.int32]:
        """Return pixel counts, (N, C, C), of a further target or, for None, of the first.

        Raises:
            UnusableCountsError: They have another shape, or do not add up to the record.
        """
        recorded = self._result.counted(target)["confusion"]
        counts = self._array("confusions" if target is None else f"confusions.{target}", "i", 3)
        if counts.shape != (len(self.names), len(recorded), len(recorded)):
            raise self._unusable(
                f"have shape {counts.shape}, not that of {len(self.names)} images and "
                f"{len(recorded)} classes"
            )
        if counts.size and (counts.min() < 0 or counts.sum(0, dtype=np.int64).tolist() != recorded):
            raise self._unusable("do not add up to the record of the run")
        return counts

    def boundaries(self) -> NDArray[np.int32] | None:
        """Return boundary counts, (N, 2, C): intersections, unions; None if they were not taken."""
        return self._pair("boundary", ("intersections", "unions"))

    def surfaces(self) -> NDArray[np.integer] | None:
        """Return distances between outlines and their pixels, (N, 2, C); None if not taken.

        Earlier versions wrote them as int32, which a large image with fine outlines overflowed.
        """
        return self._pair("surface", ("distances", "points"))

    def calibrations(self) -> NDArray[np.int64] | None:
        """Return pixels by confidence, (N, 4, B); None if they were not counted."""
        if "calibration" not in self._arrays:
            return None
        counts: NDArray[np.int64] = self._array("calibration", "i", 3)
        shape = (len(self.names), KINDS[CALIBRATION], CALIBRATION_BINS)
        if counts.shape != shape:
            raise self._unusable(f"of the calibration have shape {counts.shape}, not {shape}")
        return counts

    def _pair(self, kind: str, names: tuple[str, str]) -> NDArray[Any] | None:
        """Return two rows of counts for each image, (N, 2, C); None if they were not taken."""
        if f"{kind}_{names[1]}" not in self._arrays:
            return None
        parts = [self._array(f"{kind}_{name}", "i", 2) for name in names]
        shape = (len(self.names), len(self._result.class_names))
        if any(part.shape != shape for part in parts):
            raise self._unusable(f"of the {kind} have shape {parts[0].shape}, not {shape}")
        counts: NDArray[Any] = np.stack(parts, axis=1)
        return counts

    def groups(self) -> list[str]:
        """Return what each image belongs to, such as its clip; none where it was not known."""
        if "groups" not in self._arrays:
            return []
        groups = self._array("groups", "U", 1)
        if len(groups) != len(self.names):
            raise self._unusable(f"have groups of {len(groups)} images")
        return [str(group) for group in groups]

    def predictions(self) -> dict[str, NDArray[np.uint8]]:
        """Return the predictions that were kept: name -> classes (H, W)."""
        names = self._array("predicted_names", "U", 1)
        return {str(name): self._array(f"pred_{i}", "u", 2) for i, name in enumerate(names)}

    def _array(self, key: str, kind: str, ndim: int) -> NDArray[Any]:
        try:
            array: NDArray[Any] = self._arrays[key]
        except UNREADABLE as error:
            raise self._unusable(f"cannot be read ({key!r}: {type(error).__name__})") from None
        is_empty = array.size == 0  # an empty list of names is an array of floats
        if array.ndim != ndim or not (array.dtype.kind == kind or is_empty):
            raise self._unusable(f"have {key!r} of type {array.dtype} and shape {array.shape}")
        return array

    def _unusable(self, why: str) -> UnusableCountsError:
        if self._way_out is not None:
            return UnusableCountsError(self.path, why, self._way_out)
        run_id, root = self.path.parent.parent.name, self.path.parents[3]
        return UnusableCountsError(self.path, why, remaking(run_id, root))
