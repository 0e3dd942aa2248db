"""A report's folder read as a store is: from its records and counts the same report follows.

In: a folder with `records.json` and `counts.npz`. Out: a `ReportFolder`, which gives plan, records
and counts. Logs, images and predictions are none of a report's; what was drawn of them is there.
"""

from collections.abc import Iterator
from pathlib import Path

from bench.plan import Run
from bench.store.evaluation_file import UnusableCountsError
from bench.store.runs import Failure, Log, Result, Status
from fcn.errors import InputError
from reports.results.beside import COUNTS, RECORDS
from reports.results.counts import CondensedStore, Counts
from reports.results.counts_file import unpack_counts
from reports.results.records_file import read_records_file

AGAIN = "write the report again from its store: fcn-bench report SPEC --runs DIR"


class ReportFolder(CondensedStore):
    """A published report, which can be read and not written.

    Args:
        folder: The folder.

    Raises:
        InputError: It is none of a report, or of one that holds less than it takes.
    """

    def __init__(self, folder: Path) -> None:
        if (folder / "store.json").is_file():
            raise InputError(f"{folder} is a store, not a report; give it with --runs, and a spec")
        if not (folder / RECORDS).is_file():
            raise InputError(
                f"{folder} holds no {RECORDS}, from which a report is made again; give the folder "
                f"of a report (of --out), or, if an earlier version wrote it, {AGAIN}"
            )
        super().__init__(folder)
        contents = read_records_file(folder / RECORDS)
        self.plan, self.kept, self.figures = contents.plan, contents.kept, contents.figures
        self._records = {record.planned.run.id: record for record in contents.records}
        path = folder / COUNTS
        found = unpack_counts(path) if path.is_file() else []
        self._counts = {(one.run_id, one.target): one.counts for one in found}
        if not found and any(self._has_pixels(run_id) for run_id in self._records):
            raise InputError(
                f"{folder} holds no {COUNTS}: it was left out, or was too large to be kept beside "
                f"the page; {AGAIN}"
            )

    def counts(self, result: Result, target: str | None) -> Counts:
        """Return the counts of a finished run.

        Raises:
            UnusableCountsError: They were left out, or are not what the record says.
        """
        counts = self._counts.get((result.run_id, target or ""))
        if counts is None:
            why = self.kept.unusable.get(result.run_id, "are not beside the report")
            raise UnusableCountsError(self.root / COUNTS, why, AGAIN)
        C = counts.num_classes
        recorded = result.counted(target)["confusion"]
        if counts.values[:, C : 2 * C].sum(0).tolist() != [sum(row) for row in recorded]:
            raise UnusableCountsError(
                self.root / COUNTS, "do not add up to the record of the run", AGAIN
            )
        return counts

    def run_ids(self) -> Iterator[str]:
        """Yield the ids of all planned runs, sorted."""
        yield from sorted(self._records)

    def has(self, run_id: str) -> bool:
        """Say whether a run is planned."""
        return run_id in self._records

    def run(self, run_id: str) -> Run:
        """Return a run's settings.

        Raises:
            InputError: It is none of the report's.
        """
        if run_id not in self._records:
            raise InputError(f"{self.root} is no report of run {run_id}")
        return self._records[run_id].planned.run

    def status(self, run_id: str) -> Status:
        """Say how a run stood when the report was written."""
        return self._records[run_id].status if run_id in self._records else "missing"

    def result(self, run_id: str) -> Result | None:
        """Return the record of a finished run."""
        return self._records[run_id].result if run_id in self._records else None

    def failure(self, run_id: str) -> Failure | None:
        """Return why a run ended early."""
        return self._records[run_id].failure if run_id in self._records else None

    def log(self, run_id: str) -> Log:
        """Return no rows: logs are not beside a report."""
        return Log([])

    def _has_pixels(self, run_id: str) -> bool:
        result = self.result(run_id)
        return (
            result is not None
            and run_id not in self.kept.unusable
            and any(any(row) for row in result.confusion)
        )
