"""Commands over data sets: data fetch, check, prepare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.command import AsJson, DataDir, Plugins, RunsDir, open_store, show, show_remarks
from bench.cli.progress import file_progress, image_progress
from bench.plugins import load_plugins
from bench.text import number_of
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.spec import DataSpec
data_app = typer.Typer(no_args_is_help=True, help="Fetch, check and pack images.")


@data_app.command("fetch")
def fetch_data(
    dataset: Annotated[str, typer.Argument(help="Name of a published dataset.")],
    data: Annotated[Path, typer.Option("--data", help="Folder into which it goes.")],
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep what was downloaded, beside it.")
    ] = False,
) -> None:
    """Download a published dataset, compare it with its digest, and unpack it."""
    from bench.data.fetching.fetch import fetch_dataset
    from bench.data.fetching.published import PUBLISHED
    from bench.data.registry import DATASETS, open_dataset

    if dataset in DATASETS and dataset not in PUBLISHED:
        raise InputError(
            f"dataset {dataset!r} is not fetched: its publisher asks for a login, serves no https, "
            f"or gives no digest; `fcn-bench data check {dataset} --data {data}` says what to put "
            f"where. Fetched are {', '.join(PUBLISHED)}"
        )
    published = PUBLISHED[dataset]
    typer.echo(f"{dataset}, of {published.page} ({published.terms})")
    with file_progress() as progress:
        place = fetch_dataset(dataset, data, keep_archives=keep_archives, progress=progress)
    typer.echo(f"{dataset} is in {place}")
    missing = [o for o in published.beside if not (data / PUBLISHED[o].folder).exists()]
    for other in missing:
        typer.echo(f"it goes with {other}: `fcn-bench data fetch {other} --data {data}`")
    if dataset in DATASETS and not missing:
        splits = open_dataset(data_spec(dataset, []), data).splits
        sizes = (f"{split}: {number_of(len(names), 'image')}" for split, names in splits.items())
        typer.echo(", ".join(sizes))


@data_app.command("check")
def check_data(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset.")],
    data: DataDir = None,
    option: Annotated[list[str] | None, typer.Option(help="key=value of the dataset.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Name every unusable file, and not three of a kind.")
    ] = False,
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """Read every image and label; say which cannot be used, and why."""
    load_plugins(plugin)
    from bench.data.check import check
    from bench.data.registry import open_dataset

    opened = open_dataset(data_spec(dataset, option or []), data)
    with image_progress() as progress:
        report = check(opened, progress=progress)
    if not report.problems:
        show_remarks(report.remarks(), as_json)
    show(report.rows(), as_json)
    if every and report.problems:
        raise InputError("\n".join(report.problems))
    report.raise_problems()


@data_app.command("prepare")
def prepare_data(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset.")],
    data: DataDir = None,
    runs: RunsDir = Path("runs"),
    option: Annotated[list[str] | None, typer.Option(help="key=value of the dataset.")] = None,
    plugin: Plugins = None,
) -> None:
    """Check a dataset and decode it into the store, so that runs start at once."""
    load_plugins(plugin)
    from bench.data.catalog import Catalog
    from bench.data.remarks import remarks

    catalog = Catalog(open_store(runs), data)
    with image_progress() as progress:
        packed = catalog.pack(data_spec(dataset, option or []), progress)
    show_remarks(remarks(packed))
    size = number_of(len(packed), "image")
    typer.echo(f"{packed.folder}: {size}, fingerprint {packed.fingerprint[:16]}")


def data_spec(dataset: str, options: list[str]) -> "DataSpec":
    """Build a `DataSpec` from a name and key=value texts."""
    from bench.settings.yaml_file import parse_setting
    from bench.spec import DataSpec, parse

    values = dict(parse_setting(option, option="--option") for option in options)
    return parse(DataSpec, {"dataset": dataset, "options": values}, where="--option")
