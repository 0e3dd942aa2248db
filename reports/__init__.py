"""From a plan and the records of its runs to a page one can publish. Never loads torch.

    runs = reports.read_results("runs")  # a store, or the folder of a report: a row for each run
    steps = reports.read_table("runs", "steps")  # or runs with all they hold, classes, images
    reports.summarize(runs)              # a row for each variant: mean and standard deviation

Importing this package loads no pandas; the first use of a name does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.results.everything import read_table
    from reports.results.reading import read_results
    from reports.stats.summary import summarize_variants as summarize

__all__ = ["read_results", "read_table", "summarize"]

_HOMES = {
    "read_table": "reports.results.everything",
    "read_results": "reports.results.reading",
    "summarize": "reports.stats.summary:summarize_variants",
}

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        from fcn.lazy import import_public

        return import_public(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return __all__
