"""`fcn-bench export`: a run's network for other programs, and for model hubs."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.command import Plugins, RunName, RunsDir, open_store
from bench.importing import importing
from bench.plugins import load_plugins
from bench.text import clean_block
from fcn.errors import InputError, foreign_code
from fcn.registry import unknown_name

if TYPE_CHECKING:
    from bench.store.runs import Store

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

NUM_COMPARED = 3
"""Images on which an exported program is compared."""
ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": "", "hf": ""}


@app.command()
def export(
    run: RunName,
    to: Annotated[str, typer.Option(help="onnx, torch-export, safetensors or hf.")],
    out: Annotated[
        Path | None, typer.Option(help="File or folder; the run's id with an ending by default.")
    ] = None,
    runs: RunsDir = Path("runs"),
    image: Annotated[
        list[Path] | None,
        typer.Option(help="Images to compare programs on; by default some of the run's own split."),
    ] = None,
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="Take uint8 images, and normalise them inside.")
    ] = False,
    size: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH of images, for a program of that size alone.")
    ] = "",
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="With --to hf: send it there.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Export a finished run; a program is compared with the network on real images first.

    onnx (extra fcn-bench[onnx]) and torch-export take images of any size. safetensors is a folder
    for fcn.from_pretrained, hf the same with a model card made from the run's record.
    """
    if to not in ENDINGS:
        raise typer.BadParameter(unknown_name("format", to, ENDINGS))
    if push_to_hub is not None and to != "hf":
        raise InputError("--push-to-hub sends a folder with a model card; give --to hf with it")
    load_plugins(plugin)
    with importing():
        from bench.cli.profiles import parse_size
        from bench.run.export import describe_io, export_run
    store = open_store(runs)
    run_id = store.find(run)
    place = out or Path(f"{run_id}{ENDINGS[to]}")
    is_program = to in ("onnx", "torch-export")
    images = _find_images(store, run_id, image or []) if is_program else []
    said = export_run(
        store, run_id, to, place, images,
        preprocess=preprocess, size=parse_size(size) if size else None,
    )  # fmt: skip
    typer.echo(clean_block(f"{place}: {said}"))
    if is_program:
        typer.echo(describe_io(preprocess))
    if push_to_hub is not None:
        typer.echo(clean_block(_push(place, push_to_hub)))


def _find_images(store: "Store", run_id: str, paths: list[Path]) -> list[Any]:
    """Return images to compare on; of one size, the first once more, grown: any size is tried."""
    import numpy as np

    from bench.data.catalog import open_data
    from bench.data.files import read_image
    from bench.data.roles import judged_by

    run = store.run(run_id)
    if paths:
        found = [read_image(path) for path in paths]
    else:
        try:
            pack = judged_by(open_data(store, run), run.spec)
        except InputError as error:
            raise InputError(f"{error}; or give images to compare on, with --image") from None
        found = [pack.image(i) for i in pack.indices(run.spec.evaluate.split)[:NUM_COMPARED]]
    if len({one.shape for one in found}) == 1:
        height, width = found[0].shape[:2]
        more = ((0, height // 8 + 1), (0, width // 16 + 1), (0, 0))
        found.append(np.pad(found[0], more, mode="reflect"))
    return found


def _push(folder: Path, name: str) -> str:
    """Send a folder to a hub, as whom huggingface_hub knows this user."""
    if find_spec("huggingface_hub") is None:
        raise InputError("--push-to-hub needs huggingface_hub: pip install huggingface_hub")
    hub = import_module("huggingface_hub").HfApi()
    before = f"{folder} is written, and could not be sent to {name}: "
    after = "; `hf auth login` makes the hub know you, and the same command sends it again"
    with foreign_code(before, after):
        hub.create_repo(name, exist_ok=True)
        return f"sent: {hub.upload_folder(repo_id=name, folder_path=folder)}"
