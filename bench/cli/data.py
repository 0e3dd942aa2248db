"""Commands over data sets: data check, prepare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.command import AsJson, DataDir, Plugins, RunsDir, open_store, show, show_remarks
from bench.cli.progress import image_progress
from bench.plugins import load_plugins
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.spec import DataSpec
data_app = typer.Typer(no_args_is_help=True, help="Check and pack images.")


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
    typer.echo(f"{packed.folder}: {len(packed)} images, fingerprint {packed.fingerprint[:16]}")


def data_spec(dataset: str, options: list[str]) -> "DataSpec":
    """Build a `DataSpec` from a name and key=value texts."""
    from bench.settings.yaml_file import parse_setting
    from bench.spec import DataSpec, parse

    values = dict(parse_setting(option, option="--option") for option in options)
    return parse(DataSpec, {"dataset": dataset, "options": values}, where="--option")
