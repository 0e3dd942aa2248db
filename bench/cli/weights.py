"""`fcn-bench weights`: files of weights looked into, and converted from other frameworks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.command import AsJson, show, show_json
from bench.importing import importing
from bench.text import clean_block
from fcn.errors import InputError
from fcn.registry import unknown_name

if TYPE_CHECKING:
    from fcn.conversion.convert import Converted
    from fcn.conversion.folding import Preprocessing

weights_app = typer.Typer(no_args_is_help=True, help="Files of starting weights.")

File = Annotated[Path, typer.Argument(help="A .safetensors, .pth, .npz or .h5 file.")]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Leave out tensors of that name; * stands for anything; repeatable."),
]


@weights_app.command("show")
def show_file(file: File, without: Without = None, as_json: AsJson = False) -> None:
    """List the tensors of a file by layer, in the order in which they would be mapped."""
    with importing():
        from fcn.conversion.convert import read_layers
    rows = [
        {"layer": number, "tensor": name, "shape": _shape(tensor.shape)}
        for number, layer in enumerate(read_layers(file, without or ()), 1)
        for name, tensor in layer.tensors.items()
    ]
    show(rows, as_json)


@weights_app.command("convert")
def convert_file(
    file: File,
    backbone: Annotated[str, typer.Option(help="The network of timm that they are of.")],
    layout: Annotated[str, typer.Option(help="keras, caffe or torch: how tensors are stored.")],
    out: Annotated[Path, typer.Option(help="File to write, .safetensors.")],
    without: Without = None,
    bgr: Annotated[
        bool, typer.Option("--bgr", help="The source's channels are blue, green, red.")
    ] = False,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="What the source takes off its images' values."),
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="What it then divides them by.")
    ] = None,
    largest: Annotated[
        float | None,
        typer.Option("--range", help="Largest value of the source's images: 1, or 255, as usual."),
    ] = None,
    result_for: Annotated[
        str, typer.Option("--for", help="model.preprocessing that the result is for: timm, caffe.")
    ] = "timm",
    origin: Annotated[
        str | None, typer.Option(help="Where the weights are from, and what they learned.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Under which they are published.")] = None,
    as_json: AsJson = False,
) -> None:
    """Convert weights of another framework, prove them on an image, and write them.

    Without --bgr, --mean, --std and --range the source is taken to normalise images as timm does;
    with --for caffe, as Caffe's networks do.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: give the name of a .safetensors file")
    for taken in (out, out.with_suffix(".json")):
        if taken.exists():
            raise InputError(f"{taken} is there already, and stays; give another --out, or move it")
    with importing():
        from safetensors.torch import save_file

        from bench.store.atomic import replacing
        from fcn.conversion.convert import convert
        from fcn.conversion.folding import Preprocessing
        from fcn.conversion.proof import prove
        from fcn.weights_file import write_description
    source = None
    if result_for not in ("timm", "caffe"):
        raise InputError(
            f"--for {result_for}: {unknown_name('way', result_for, ('timm', 'caffe'))}"
        )
    folds = bool(bgr or mean or std or largest is not None)
    if result_for == "caffe" and folds:
        raise InputError(
            "--for caffe leaves the weights as they are, for model.preprocessing: caffe; give it "
            "alone, or --bgr, --mean, --std and --range, which fold a preprocessing into them"
        )
    if folds:
        zeros, ones = "0,0,0", "1,1,1"
        numbers = _numbers("--mean", mean or zeros), _numbers("--std", std or ones)
        source = Preprocessing(255.0 if largest is None else largest, *numbers, bgr)
    converted = convert(file, backbone, layout, source, without or ())
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        save_file(converted.state, temporary, metadata={"format": "pt"})
        apart = prove(backbone, converted, temporary, layout, source)
    about = _describe(file, layout, source, converted, without or (), origin, licence)
    if result_for == "caffe":
        about["preprocessing"] = result_for
    beside = write_description(out, about)
    rows = [
        {
            "tensor": one.name,
            "shape": _shape(one.tensor.shape),
            "from": one.source,
            "stored as": _shape(one.stored),
        }
        for one in converted.mapped
    ]
    if as_json:
        missing, strides = list(converted.missing), {str(k): v for k, v in apart.items()}
        show_json({"tensors": rows, "missing": missing, "apart": strides, "file": str(out)})
        return
    show(rows, as_json=False)
    for line in _tell(converted, apart, source, out, beside):
        typer.echo(clean_block(line))


def _tell(
    converted: "Converted",
    apart: dict[int, float],
    source: "Preprocessing | None",
    out: Path,
    beside: Path,
) -> list[str]:
    missing = converted.missing
    lines = [f"missing, to start at random: {', '.join(missing)}"] if missing else []
    if source is not None:
        lines.append(f"folded into the first convolution: {source}")
    listed = ", ".join(f"{far:.0e} at stride {stride}" for stride, far in apart.items())
    lines.append(
        "proven: features on an image are those of the source's arithmetic, within its border; "
        f"largest difference, as a fraction of the largest feature: {listed}"
    )
    lines.append(f"{out}, described in {beside}; give it as model.pretrained")
    return lines


def _describe(
    file: Path,
    layout: str,
    source: "Preprocessing | None",
    converted: "Converted",
    without: Any,
    origin: str | None,
    licence: str | None,
) -> dict[str, Any]:
    """Return what is written beside the file: for people, and for records of runs."""
    from bench.store.atomic import file_digest

    values: dict[str, Any] = {"origin": origin or f"converted from {file.name}"}
    values |= {"licence": licence} if licence else {}
    values["preprocessing"] = {"mean": list(converted.mean), "std": list(converted.std)}
    values["converted"] = {
        "from": file.name,
        "sha256": file_digest(file),
        "layout": layout,
        "preprocessing": None if source is None else vars(source),
        "without": list(without),
        "missing": list(converted.missing),
    }
    return values


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or (option == "--std" and not all(numbers)):
        raise InputError(
            f"{option} is {text!r}; give three numbers for red, green and blue, such as "
            "122.67892,116.66877,104.00699"
        )
    return numbers


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or "1"
