"""Counts of a plan's finished runs, variant by variant, and why some are left out.

In: records of runs and the store. Out: counts by seed, one variant at a time, so that a grid of
any size fits in memory; what was read, where that is little enough to keep beside a report; and a
sentence for each run whose counts cannot be used.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from bench.store.evaluation_file import UnusableCountsError
from bench.store.runs import Result, Store
from reports.results.counts import Counts, keep_shared, read_counts
from reports.results.counts_file import MAX_BYTES, Counted
from reports.results.frame import Record, unique_names

OF_OTHERS = "are of different images than another seed's"


class CountsByVariant:
    """Counts of all finished runs, read as they are asked for.

    Args:
        records: Of all planned runs.
        store: Where their counts are.
    """

    def __init__(self, records: Sequence[Record], store: Store) -> None:
        self.store = store
        self.groups: dict[str, list[Record]] = {}
        """Finished runs by variant, in the order of the plan."""
        for record in records:
            if record.result is not None:
                self.groups.setdefault(record.planned.variant, []).append(record)
        self.results = [r.result for own in self.groups.values() for r in own if r.result]
        self.read: list[Counted] = []
        """All that was read, in the order of variants and seeds; none where it is too much to
        keep."""
        self.unusable: dict[str, str] = {}
        """By run, why its counts are left out."""
        self._looked: dict[str, Counts] = {}
        in_memory = sum(12 * one.num_images * len(one.class_names) for one in self.results)
        self._is_kept = in_memory <= MAX_BYTES

    def look(self, most: int) -> list[Counts]:
        """Read a run of each of some variants; one that cannot be read is passed over."""
        for records in self.groups.values():
            result = records[0].result
            if len(self._looked) < most and result is not None and _is_counted(result):
                with suppress(UnusableCountsError):
                    self._looked[result.run_id] = read_counts(self.store, result)
        return list(self._looked.values())

    def __iter__(self) -> Iterator[tuple[str, dict[int, Counts]]]:
        """Yield each variant with counts by seed, in the order of seeds, of the same images."""
        self.read.clear()
        for variant, found in self.groups.items():
            records = _by_seed(found)
            counts = self._read(records)
            if not counts:
                continue
            if self._is_kept:
                ids = {one.planned.run.spec.seed: one.planned.run.id for one in records}
                own = counts.items()
                self.read += [Counted(variant, seed, ids[seed], one) for seed, one in own]
            yield variant, counts

    def class_names(self, variant: str) -> list[str]:
        """Return the names of a variant's classes, each once."""
        result = self.groups[variant][0].result
        return unique_names(result.class_names) if result else []

    def say_left_out(self) -> Iterator[str]:
        """Yield a sentence for each run whose counts are left out, once they have been read."""
        for variant, records in self.groups.items():
            for record in _by_seed(records):
                if why := self.unusable.get(record.planned.run.id):
                    seed = record.planned.run.spec.seed
                    yield f"The counts of {variant}, seed {seed}, {why}: they are left out."

    def _read(self, records: Sequence[Record]) -> dict[int, Counts]:
        """Read the counts of one variant's runs by seed; why a run's cannot be is noted."""
        counts: dict[int, Counts] = {}
        for record in records:
            seed, result = record.planned.run.spec.seed, record.result
            try:
                if result is not None and _is_counted(result):
                    looked = self._looked.get(result.run_id)
                    counts[seed] = looked or read_counts(self.store, result)
            except UnusableCountsError as error:
                self.unusable[record.planned.run.id] = error.why
        if len({item.images for item in counts.values()}) > 1:
            ids = {record.planned.run.spec.seed: record.planned.run.id for record in records}
            self.unusable |= dict.fromkeys((ids[seed] for seed in counts), OF_OTHERS)
            return {}
        return keep_shared(counts)


def _by_seed(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: record.planned.run.spec.seed)


def _is_counted(result: Result) -> bool:
    return any(map(any, result.confusion))
