"""Tables of scores taken after training: of runs elsewhere, of models and masks of other tools."""

import pandas as pd

from bench.text import clean
from reports.formats import Table
from reports.sides import name_direction
from reports.style import between, label, percent, points, with_spread
from reports.tables.sides import say_verdict


def evaluations_table(frame: pd.DataFrame) -> Table:
    """Show what `compare_evaluations` found, or without differences `evaluations_frame`."""
    cells = pd.DataFrame({"scored": [clean(name) for name in frame["name"]]})
    for column, head in (("kind", "kind"), ("split", "on"), ("views", "seen")):
        cells[head] = [clean(text) for text in frame[column]]
    cells["n"] = [
        f"{seeds} × {images}"
        for seeds, images in zip(frame["num_seeds"], frame["num_images"], strict=True)
    ]
    for score in ("miou", "pixel_acc"):
        spreads = zip(frame[f"{score}_mean"], frame[f"{score}_std"], strict=True)
        cells[label(score)] = [with_spread(percent(mean), std) for mean, std in spreads]
    ends = zip(frame["miou_low"], frame["miou_high"], strict=True)
    cells["mIoU, 95 %"] = [between(low, high, percent) for low, high in ends]
    caption = "Scores after training, in percent; n: seeds × images."
    if "word" not in frame:
        caption += (
            " Intervals are over images, and seeds where there are several; what differs, "
            "fcn-bench evaluations compare says."
        )
        return Table(cells, frozenset(cells.columns[4:]), caption=caption)
    cells["Δ mIoU"] = [points(value) for value in frame["miou_diff"]]
    ends = zip(frame["miou_diff_low"], frame["miou_diff_high"], strict=True)
    cells["Δ, 95 %"] = [between(low, high, points) for low, high in ends]
    found = zip(frame["word"], frame["miou_diff"], strict=True)
    cells["verdict"] = [say_verdict(word, name_direction(word, diff), "") for word, diff in found]
    caption += (
        " Δ: points of mIoU to the first row, on the same images; with one seed its interval is "
        "over images alone, and no verdict."
    )
    return Table(cells, frozenset(cells.columns[4:]) - {"verdict"}, caption=caption)
