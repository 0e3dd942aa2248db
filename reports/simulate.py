"""False findings and coverage, by simulation: `python -m reports.simulate > docs/statistics.md`.

Grids of variants whose truth is known are put through what reports are made of: pages, looks of
sequential designs, and beside these the methods of others. Nothing here trains.
"""

import argparse

from reports.simulations import looks, pages, peers
from reports.simulations.worlds import WORLDS

SECTIONS = ("pages", "looks", "peers")
"""Of the page that is printed."""


def main() -> None:
    """Print the page of all worlds."""
    parser = argparse.ArgumentParser(description="False findings of reports, by simulation.")
    parser.add_argument("--grids", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worlds", nargs="*", default=[world.name for world in WORLDS])
    designs = [design.name for design in looks.DESIGNS]
    parser.add_argument("--designs", nargs="*", choices=designs, default=designs)
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=SECTIONS)
    given = parser.parse_args()
    rows = {
        "pages": pages.list_rows(given.worlds, given.grids, given.processes),
        "looks": looks.list_rows(given.designs, given.grids, given.processes),
        "peers": peers.list_rows(given.grids),
    }
    for section in given.sections:
        for row in rows[section]:
            print(row, flush=True)


if __name__ == "__main__":
    main()
