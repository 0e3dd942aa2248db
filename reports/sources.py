"""What a report can be made of again, without its store: files beside the page.

In: a `Study` and its figures. Out: contents by name: `counts.npz`; `recompute.py`, which computes
the summary from that alone; and `records.json`, from which, with the counts, the whole follows.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.resources import files

from bench.store.evaluation_file import UnusableCountsError
from reports.figures.illustration import Illustration
from reports.figures.taken import describe_drawn
from reports.results.beside import COUNTS, RECOMPUTE, RECORDS
from reports.results.counts import read_counts
from reports.results.counts_file import Counted, list_sets, pack_counts
from reports.results.records_file import Contents, pack_records
from reports.stats.recomputing import list_arrays
from reports.study import Study


def list_sources(study: Study, figures: Sequence[Illustration] = ()) -> dict[str, bytes]:
    """Return the content of each file by its name; of a study without counts there are fewer."""
    contents = Contents(study.plan, study.records, study.kept, describe_drawn(figures))
    sources = {RECORDS: pack_records(contents)}
    if counts := study.intervals.counts:
        more = list_arrays(study.intervals, study.summary, study.plan.baseline, study.plan.scoring)
        packed = pack_counts(list_sets([*counts, *_read_others(study)]), more)
        script = files("reports").joinpath(RECOMPUTE).read_bytes()
        sources |= {COUNTS: packed, RECOMPUTE: script}
    return sources


def _read_others(study: Study) -> Iterator[Counted]:
    """Yield the counts of further targets, after those of all first ones."""
    finished = [(one.planned, one.result) for one in study.records if one.result is not None]
    for planned, result in finished:
        for target in result.others:
            with suppress(UnusableCountsError):
                counts = read_counts(study.store, result, target)
                yield Counted(
                    planned.variant, planned.run.spec.seed, planned.run.id, counts, target
                )
