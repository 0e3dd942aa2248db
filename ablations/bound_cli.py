"""`fcn-bench bound`: what the masks of any data set allow at each stride, without any training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablations.report_cli import say
from bench.cli.command import AsJson, DataDir, Plugins, show, show_json
from bench.cli.data import data_spec
from bench.cli.progress import image_progress
from bench.plugins import load_plugins

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.dataset import Dataset
    from reports.formats import Table

SPLITS = ("test", "val", "train")
"""Which is taken where none is named: the first that the data set has."""
VOC = ("voc2011", "voc2012", "sbd")
"""Data sets whose masks the paper's table is about."""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@app.command()
def bound(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset.")],
    data: DataDir = None,
    option: Annotated[list[str] | None, typer.Option(help="key=value of the dataset.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Split; test by default, else val, else train.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Target, of data sets with several; the first by default.")
    ] = None,
    stride: Annotated[
        list[int] | None, typer.Option(help="Pixels of the mask; repeatable. 128, 64 ... 4.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for bound.csv, .md and .tex.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Make masks as coarse as a stride, and score them against themselves: the bound on mIoU.

    A cell takes the label nearest to its centre, or its most frequent one.
    """
    load_plugins(plugin)
    from bench.data.registry import open_dataset
    from bench.data.stride_bound import STRIDES, bound_dataset
    from bench.outputs.folder import Outputs
    from reports.formats import to_csv, to_latex, to_markdown

    opened = open_dataset(data_spec(dataset, option or []), data)
    chosen = split or next((name for name in SPLITS if opened.splits.get(name)), "")
    strides = sorted(set(stride or STRIDES))
    of = {"bound": f"{dataset} {chosen}"}
    folder = Outputs(out, by="bound", of=of, chosen=True) if out else None
    if folder:
        folder.require(("bound.csv", "bound.md", "bound.tex"))  # before all masks are read
    with image_progress("reading masks") as progress:
        counts = bound_dataset(opened, chosen, target=target, strides=strides, progress=progress)
    frame = _to_frame(counts, strides, _class_names(opened, target))
    table = _to_table(frame, opened, chosen)
    if folder and out:
        texts = {
            "bound.csv": to_csv(frame),
            "bound.md": to_markdown(table),
            "bound.tex": to_latex(table, "bound"),
        }
        folder.write({name: text.encode() for name, text in texts.items()})
    if as_json:
        show_json(frame.astype(object).where(frame.notna(), None).to_dict("records"))
        return
    show([{str(k): v for k, v in row.items()} for row in table.cells.to_dict("records")], False)
    say(table.caption)
    if out:
        say(f"bound: {out / 'bound.md'}")


def _class_names(dataset: "Dataset", target: str | None) -> tuple[str, ...]:
    known = {one.name: one.class_names for one in dataset.targets}
    return known[target or dataset.target_name]


def _to_frame(
    counts: "dict[str, Any]", strides: list[int], class_names: tuple[str, ...]
) -> "pd.DataFrame":
    """Return a row for each stride and way: scores as fractions, and the IoU of each class."""
    import pandas as pd

    from bench.metrics import SCORES, summarize

    rows: list[dict[str, Any]] = []
    for k, stride in reversed(list(enumerate(strides))):
        for way, own in counts.items():
            scores = summarize(own[k])
            row = {"stride": stride, "way": way, **{s: getattr(scores, s) for s in SCORES}}
            classes = zip(class_names, scores.iou, strict=True)
            rows.append(row | {f"IoU[{name}]": iou for name, iou in classes})
    return pd.DataFrame(rows)


def _to_table(frame: "pd.DataFrame", dataset: "Dataset", split: str) -> "Table":
    """Show a row for each stride, in percent; the paper's numbers beside, where they are of VOC."""
    import pandas as pd

    from bench.data.stride_bound import PUBLISHED
    from reports.formats import Table
    from reports.style import MISSING, label, percent

    rows = []
    for stride, own in frame.groupby("stride", sort=False):
        row = {"stride": str(stride)}
        for one in own.to_dict("records"):
            for score in ("miou", "pixel_acc"):
                row[f"{label(score)}, {one['way']}"] = percent(one[score])
        if dataset.name in VOC:
            published = PUBLISHED.get(int(str(stride)))
            row["paper"] = MISSING if published is None else percent(published)
        rows.append(row)
    cells = pd.DataFrame(rows)
    number = len(dataset.splits[split])
    caption = (
        f"{dataset.name}, {number:,} masks of split {split}, made as coarse as the stride and "
        "scored against themselves, in percent. Nearest: a cell takes the label nearest to its "
        "centre; majority: its most frequent one. Void has no say."
    )
    if dataset.name in VOC:
        caption += (
            " Paper: mIoU on PASCAL VOC as a review of arXiv 1411.4038v2 quotes it, whose way of "
            "making masks coarse is not told."
        )
    return Table(cells, frozenset(cells.columns), caption=caption)
