"""The table of what networks score on targets beside the first."""

import pandas as pd

from bench.text import clean
from reports.formats import Table
from reports.marks import name_variants
from reports.stats.other_targets import SHOWN
from reports.style import label, percent, with_interval, with_spread


def other_targets_table(frame: pd.DataFrame) -> Table:
    """Show further targets: means ± deviation over seeds, and 95 % intervals."""
    cells = pd.DataFrame({"variant": name_variants(frame)})
    cells["target"] = [clean(name) for name in frame["target"]]
    cells["seeds"] = [str(n) for n in frame["num_done"]]
    for score in SHOWN:
        columns = [frame[f"{score}_{kind}"] for kind in ("mean", "std", "low", "high")]
        cells[label(score)] = [
            with_interval(with_spread(percent(mean), std), low, high)
            for mean, std, low, high in zip(*columns, strict=True)
        ]
    caption = (
        "Targets that a network learns beside the first, which all other tables are about. In "
        "percent, mean ± sample standard deviation over seeds [95 % interval]."
    )
    return Table(cells, frozenset(cells.columns[2:]), caption=caption)
