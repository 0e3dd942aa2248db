"""What a report can be made of again, without its store: files beside the page.

In: a `Study`. Out: contents by name: `counts.npz`, and `recompute.py`, which computes the summary
from that alone.
"""

from importlib.resources import files

from reports.files import COUNTS, RECOMPUTE
from reports.results.counts_file import list_sets, pack_counts
from reports.stats.recomputing import list_arrays
from reports.study import Study


def list_sources(study: Study) -> dict[str, bytes]:
    """Return the content of each file by its name; of a study without counts there are fewer."""
    counts = study.intervals.counts
    if not counts:
        return {}
    more = list_arrays(study.intervals, study.summary, study.plan.baseline)
    script = files("reports").joinpath(RECOMPUTE).read_bytes()
    return {COUNTS: pack_counts(list_sets(counts), more), RECOMPUTE: script}
