"""`fcn-bench evaluate`: scores after training, of runs, model folders, ONNX files and masks."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.command import (
    AsJson,
    DataDir,
    Device,
    Plugins,
    RunsDir,
    complete_run,
    open_store,
    show,
    show_remarks,
)
from bench.cli.data import data_spec
from bench.importing import importing
from bench.plugins import load_plugins
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.spec import DataSpec
    from bench.store.runs import Store
    from bench.store.scored import Scored

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

Tta = Annotated[
    str, typer.Option(help="Views to average: flip, and factors of size, as in flip,0.75,1.25.")
]
Tile = Annotated[str, typer.Option(help="Cut images into tiles, HEIGHTxWIDTH or one number.")]
Overlap = Annotated[
    int | None, typer.Option(help="Pixels that tiles share; a quarter of a side by default.")
]


@app.command()
def evaluate(
    what: Annotated[
        list[str],
        typer.Argument(
            help="Runs (id, ABLATION/VARIANT/SEED), model folders, ONNX files, folders of masks.",
            autocompletion=complete_run,
        ),
    ],
    runs: RunsDir = Path("runs"),
    dataset: Annotated[
        str | None, typer.Option(help="Name of a dataset; that of the run by default.")
    ] = None,
    data: DataDir = None,
    option: Annotated[list[str] | None, typer.Option(help="key=value of the dataset.")] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="A run: what else is given is scored on its images, and on its split.",
            autocompletion=complete_run,
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split; the run's own by default.")] = None,
    limit_images: Annotated[
        int | None, typer.Option(help="Only so many images of the split.", min=1)
    ] = None,
    size: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH that a network sees of each image, or one number.")
    ] = "",
    input_scale: Annotated[
        float | None,
        typer.Option(help="Resize of images by a factor, in place of that of training."),
    ] = None,
    mean: Annotated[
        str, typer.Option(help="Of an ONNX file of others: R,G,B on 0..1; ImageNet's by default.")
    ] = "",
    std: Annotated[str, typer.Option(help="Likewise.")] = "",
    tta: Tta = "",
    tile: Tile = "",
    overlap: Overlap = None,
    name: Annotated[
        str | None, typer.Option(help="What a model or masks are called in tables.")
    ] = None,
    device: Device = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Score what was trained, here or elsewhere, on any split with the same classes.

    The records stay in the store, beside the runs' own; `evaluations` shows and compares them.
    """
    load_plugins(plugin)
    with importing():
        from bench.data.catalog import Catalog, open_data
        from bench.data.draws import Draw
        from bench.data.roles import with_drawn
        from bench.run.environment import choose_device
        from bench.run.evaluate_other import evaluate_subject
        from bench.run.views import Views
    if input_scale is not None and not 0.05 <= input_scale <= 8:
        raise InputError(f"--input-scale {input_scale} is not between 0.05 and 8")
    statistics = _read_statistics(mean, std)
    store, views = open_store(runs), Views.read(tta, tile, overlap, size)
    chosen = choose_device(device)
    if like is not None and (dataset or data or option):
        raise InputError("--like takes a run's own images; leave --dataset, --data, --option out")
    like_id = None if like is None else store.find(like)
    rows = []
    for text in what:
        kind, run_id = _find_subject(store, text)
        source = like_id or run_id  # whose images
        spec, own_split = _choose_data(store, source, dataset, option, data)
        if limit_images is not None:
            spec = spec.model_copy(update={"limit_images": limit_images})
        at = split or own_split
        if at is None:
            raise InputError(f"{text} is no run, so that no split is its own; give --split")
        run = store.run(source) if source and dataset is None and data is None else None
        whole = open_data(store, run) if run else Catalog(store, data).pack(spec)
        pack = whole.seen_by(
            spec.model_copy(update={"inputs": ("rgb",), "targets": spec.targets[:1]})
        )
        if run is not None:  # of a split parted into folds, it was trained on the others
            pack = with_drawn(pack, run.spec.train.split, Draw.of(run.spec.data), judges=True)
        label = name or Path(text).name
        subject = _make_subject(
            store, kind, run_id, Path(text), pack, at, chosen, views, input_scale, label, statistics
        )
        progress = _progress(text) if sys.stderr.isatty() else (lambda done, total: None)
        scored, _ = evaluate_subject(store, subject, pack, spec, at, views, chosen, progress)
        rows.append(evaluation_row(scored))
    show_evaluations(rows, as_json)
    if len(rows) > 1 and not as_json:
        ids = " ".join(str(row["evaluation"]) for row in rows)
        show_remarks([f"`fcn-bench evaluations compare {ids}` says what differs, with intervals"])


def evaluation_row(scored: "Scored") -> dict[str, Any]:
    """Return the row of an evaluation: what was scored, on what, and the scores as fractions."""
    from bench.metrics import summarize

    scores = summarize(scored.confusion)
    return {
        "evaluation": scored.id,
        "of": scored.label,
        "kind": scored.kind,
        "source": scored.source,
        "seed": scored.seed,
        "dataset": scored.dataset,
        "split": scored.split,
        "target": scored.target,
        "images": scored.num_images,
        "seen": scored.views,
        "input_scale": scored.input_scale,
        "miou": scores.miou,
        "pixel_acc": scores.pixel_acc,
        "mean_acc": scores.mean_acc,
        "fw_iou": scores.fw_iou,
        "finished": scored.finished,
    }


def show_evaluations(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows of evaluations, for people in percent."""
    show(rows if as_json else [_show_row(row) for row in rows], as_json)


def _show_row(row: dict[str, Any]) -> dict[str, Any]:
    from bench.store.scored import name_place

    return {
        **{key: row[key] for key in ("evaluation", "of", "kind", "seed")},
        "on": name_place(row["dataset"], row["split"], row["target"]),
        "images": row["images"],
        "seen": row["seen"],
        "mIoU, %": f"{100 * row['miou']:.1f}",
        "pixel acc, %": f"{100 * row['pixel_acc']:.1f}",
        "mean acc, %": f"{100 * row['mean_acc']:.1f}",
    }


def _find_subject(store: "Store", text: str) -> tuple[str, str | None]:
    """Say what a text names: a model folder, a folder of masks, or a run, with its id."""
    from bench.store.scored import MASKS, MODEL, ONNX, RUN

    path = Path(text)
    if path.is_dir() and (path / "spec.yaml").is_file():
        return RUN, store.find(path.name)
    if path.is_dir() and (path / "config.json").is_file():
        return MODEL, None
    if path.is_dir():
        return MASKS, None
    if path.is_file() and path.suffix == ".onnx":
        return ONNX, None
    if path.exists():
        raise InputError(
            f"{path} is a file; give a run, a model folder (of fcn.save_pretrained or `fcn-bench "
            "export`), an ONNX file (NAME.onnx), or a folder of masks"
        )
    try:
        return RUN, store.find(text)
    except InputError as error:
        said = str(error).removesuffix(".")
        raise InputError(f"{said}; and there is no folder or file {text}") from None


def _read_statistics(mean: str, std: str) -> "tuple[tuple[float, ...], tuple[float, ...]] | None":
    """Read `--mean` and `--std`: three numbers each, or neither."""
    if not mean and not std:
        return None
    try:
        found = [tuple(float(word) for word in text.split(",")) for text in (mean, std)]
    except ValueError:
        found = []
    if [len(values) for values in found] != [3, 3] or min(found[1]) <= 0:
        raise InputError(
            f"--mean {mean or 'nothing'} --std {std or 'nothing'}: give three numbers each, on the "
            "scale 0..1, as in --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"
        )
    return found[0], found[1]


def _choose_data(
    store: "Store",
    run_id: str | None,
    dataset: str | None,
    options: Sequence[str] | None,
    data: Path | None,
) -> "tuple[DataSpec, str | None]":
    """Return which data set is meant, and the split that is a run's own."""
    if run_id is None:
        if dataset is None:
            raise InputError(
                "which images these are judged by is not said; give --dataset NAME, and --data DIR "
                "where it has a folder, or --like RUN for those of a run"
            )
        return data_spec(dataset, list(options or ())), None
    spec = store.run(run_id).spec
    if dataset is None:
        own = spec.data.model_copy(update={"limit_images": None})
        return own, spec.evaluate.split
    return data_spec(dataset, list(options or ())), spec.evaluate.split


def _make_subject(
    store: "Store",
    kind: str,
    run_id: str | None,
    path: Path,
    pack: Any,
    split: str,
    device: Any,
    views: Any,
    input_scale: float | None,
    label: str,
    statistics: Any,
) -> Any:
    from bench.run import evaluate_other as other
    from bench.store.scored import MASKS, ONNX

    if statistics and kind != ONNX:
        raise InputError(f"{path} is no ONNX file: what else there is knows its --mean and --std")
    if run_id is not None:
        return other.subject_of_run(store, run_id, pack, device, views, input_scale)
    if kind == MASKS:
        if not views.is_plain or input_scale is not None:
            raise InputError(
                f"{path} holds masks: --tta, --tile, --size and --input-scale are about networks"
            )
        return other.subject_of_masks(path, pack, split, label)
    if kind == ONNX:
        return other.subject_of_onnx(path, pack, device, views, input_scale, label, statistics)
    return other.subject_of_model(path, pack, device, views, input_scale, label)


def _progress(text: str) -> Any:
    def tell(done: int, total: int) -> None:
        end = "\n" if done == total else "\r"
        sys.stderr.write(f"{text}: {done} of {total} images{end}")

    return tell
