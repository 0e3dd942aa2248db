"""A tracker of one's own: a line of JSON for whatever it is told, as `--log lines`.

`fcn-bench runs log --to lines --plugin docs/examples/tracker.py` tells it of the runs of a store,
and `fcn-bench run SPEC --log lines --plugin docs/examples/tracker.py` of runs as they are made.
"""

import json
from pathlib import Path

from bench.tracking.contracts import TRACKERS


@TRACKERS.register("lines")
class Lines:
    """A file for each run, in the folder that trackers have in the store."""

    package = "json"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.place = str(folder)

    def open(self, run):
        """Open a run's file, for the first time or again."""
        return Told(Path(self.place, f"{run.id}.jsonl"))


class Told:
    """One run, open to be told more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, points) -> None:
        """Write what was logged since it was told last, in the order of steps."""
        with self._path.open("a") as file:
            for point in points:
                file.write(json.dumps({"step": point.step, **point.values}) + "\n")

    def finish(self, state, last) -> None:
        """Write the scores of a run that is done."""
        self.log([last])

    def close(self) -> None:
        """See that all has arrived; each line is."""
