"""bench's commands: exec, predict, heatmap, profile, runs, data. Heavy imports wait."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bench.cli.command import (
    AsJson,
    Device,
    Plugins,
    RunName,
    RunsDir,
    WeightsDir,
    end_at_once,
    open_store,
    show,
    show_json,
)
from bench.cli.data import data_app
from bench.cli.evaluations import Overlap, Tile, Tta
from bench.cli.evaluations import app as evaluations_app
from bench.cli.exports import app as exports_app
from bench.cli.runs import runs_app
from bench.cli.weights import weights_app
from bench.grid.slots import Slot, share_threads
from bench.importing import importing
from bench.plugins import load_plugins
from bench.text import clean_block, number_of
from fcn.errors import InputError
from fcn.registry import unknown_name

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(evaluations_app)
app.add_typer(exports_app)
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")


@app.command("exec")
def exec_run(
    run_dir: Path,
    device: Annotated[
        list[str] | None,
        typer.Option(help="auto, cpu, mps, cuda or cuda:N; repeated, the run is spread over them."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each process.")] = None,
    plugin: Plugins = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Leave when standard input closes.")
    ] = False,
    lease_seconds: Annotated[
        float | None, typer.Option(help="Time after which a holder without a beat is turned out.")
    ] = None,
    memory_share: Annotated[
        float, typer.Option(help="Part of a GPU's memory that the run may take.", min=0, max=1)
    ] = 1.0,
    member: Annotated[bool, typer.Option("--member", hidden=True)] = False,
) -> None:
    """Execute the run of one folder; the engines call this."""
    from bench.run.signals import leave_with_parent
    from bench.store.lease import LEASE_SECONDS

    lease_seconds = lease_seconds or LEASE_SECONDS
    devices = device or ["auto"]
    if len(devices) > 1 and not member:
        slot = Slot(
            devices[0],
            threads or share_threads(len(devices)),
            tuple(devices[1:]),
            share=memory_share,
        )
        _leave(run_dir, _launch(run_dir, slot, plugin, with_parent, lease_seconds))
    if with_parent:
        leave_with_parent(sys.stdin.fileno())  # before torch is imported, which takes seconds
    with importing():
        from bench.run.execute import Options, execute
    load_plugins(plugin)
    # torchrun tells the processes that it starts who they are.
    rank, processes = (int(os.environ[name]) for name in _WHO) if member else (0, 1)
    options = Options(
        device=devices[rank],
        threads=threads,
        lease_seconds=lease_seconds,
        rank=rank,
        processes=processes,
        memory_share=memory_share,
    )
    code = execute(run_dir, options)
    if member:
        end_at_once(code)  # taking a group down can mean to wait for those who are gone
    # Torch takes seconds to be torn down on a busy machine, longer than an orphan may live.
    _leave(run_dir, code, at_once=with_parent)


_WHO = ("RANK", "WORLD_SIZE")


def _launch(
    run_dir: Path, slot: Slot, plugins: list[str] | None, with_parent: bool, lease_seconds: float
) -> int:
    from bench.grid.launch import launch

    words = ["--lease-seconds", str(lease_seconds)]
    return launch(run_dir, slot, plugins or [], words, with_parent=with_parent)


def _leave(run_dir: Path, code: int, *, at_once: bool = False) -> NoReturn:
    """Say why a run ended early, and end with its exit code."""
    if code:
        failure = open_store(run_dir.parent.parent).failure(run_dir.name)
        typer.echo(
            f"{failure.reason}: {failure.message}\n{failure.details}" if failure else code, err=True
        )
    if at_once:
        end_at_once(code)
    raise typer.Exit(code)


@app.command()
def predict(
    run: RunName,
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Images of any size, folders, globs, videos, or - for a list on stdin."
        ),
    ],
    runs: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder for masks and overlays.")] = Path("predictions"),
    more: Annotated[
        list[str] | None,
        typer.Option("--input", help="depth=FOLDER: files of a further input, of the same stems."),
    ] = None,
    tta: Tta = "",
    tile: Tile = "",
    overlap: Overlap = None,
    probabilities: Annotated[
        str, typer.Option(help="Write NAME-probabilities.npz too: float, 16 or 8 (bits).")
    ] = "",
    overlays: Annotated[bool, typer.Option(help="Write overlays beside the masks.")] = True,
    device: Device = "auto",
    plugin: Plugins = None,
) -> None:
    """Predict images with a run's network: a mask and an overlay of each.

    Folders are walked, and kept in --out. What cannot be read is named, and the rest is done.
    """
    images = [path for given in images for path in _read_list(given)]
    store = open_store(runs)
    run_id = store.find(run)
    load_plugins(plugin)
    folders = _input_folders(more or [])
    with importing():
        from bench.cli.predictions import PROBABILITIES, predict_files
        from bench.run.environment import choose_device
        from bench.run.views import Views
    if probabilities and probabilities not in PROBABILITIES:
        raise InputError(unknown_name("form of --probabilities:", probabilities, PROBABILITIES))
    views, chosen = Views.read(tta, tile, overlap), choose_device(device)
    num_failed = 0
    words = (store, run_id, images, out, chosen, folders, views, probabilities)
    for told in predict_files(*words, overlays=overlays):
        num_failed += isinstance(told, InputError)
        typer.echo(clean_block(told), err=isinstance(told, InputError))
    if num_failed:
        said = f"{number_of(num_failed, 'image')} could not be predicted; the rest is done"
        typer.echo(said, err=True)
        raise typer.Exit(1)


def _read_list(given: Path) -> list[Path]:
    """Return a path, or those that are listed on standard input for `-`, one a line."""
    if str(given) != "-":
        return [given]
    paths = [Path(line) for line in sys.stdin.read().splitlines() if line.strip()]
    if not paths:
        raise InputError("- stands for a list of images on standard input, and there is none")
    return paths


def _input_folders(texts: list[str]) -> dict[str, Path]:
    """Read `--input NAME=FOLDER`."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder or name in folders:
            raise InputError(f"--input {text}: give NAME=FOLDER, such as depth=DIR, each name once")
        folders[name] = Path(folder)
    return folders


@app.command()
def heatmap(
    image: Annotated[Path, typer.Argument(help="An image, at least one window large.")],
    backbone: Annotated[str, typer.Option(help="alexnet, caffenet or a VGG.")] = "vgg16",
    pretrained: Annotated[str, typer.Option(help="true, a timm tag, or a file.")] = "true",
    label: Annotated[
        int | None, typer.Option("--class", help="Class to draw; the highest one by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("heatmap.png"),
    plugin: Plugins = None,
    folder: WeightsDir = None,
    as_json: AsJson = False,
) -> None:
    """Slide a classifier over an image: the figure that opens the FCN paper."""
    load_plugins(plugin)
    with importing():
        from bench.cli.heatmaps import draw_heatmap
    weights = {"true": True, "false": False}.get(pretrained, pretrained)
    show(draw_heatmap(image, backbone, weights, label, out), as_json)


@app.command("profile")
def profile_backbones(
    backbones: Annotated[list[str], typer.Argument(help="Any names of timm.")],
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the image, in pixels.")] = "500x500",
    skip: Annotated[str, typer.Option(help="Skip strategy.")] = "fcn32s",
    head: Annotated[
        str | None,
        typer.Option(help="Head; by default linear, and the paper's for its FCN-32s."),
    ] = None,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 21,
    device: Device = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Say what networks cost and how far they see, beside the paper's numbers."""
    load_plugins(plugin)
    with importing():
        from bench.cli.profiles import parse_size, to_json, to_rows
        from bench.run.environment import choose_device
        from fcn.profile import profile
    profiles = [
        profile(
            name,
            size=parse_size(size),
            skip=skip,
            head=head,
            num_classes=classes,
            device=choose_device(device),
        )
        for name in backbones
    ]
    if as_json:
        show_json([to_json(one) for one in profiles])
    else:
        show(to_rows(profiles), as_json=False)
