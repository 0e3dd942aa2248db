"""`fcn-bench init`: from a folder of images and masks to a question that runs as it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.data.intake.intake import Taken

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

LARGEST_CROP = 320
BATCH_SIZE = 8
EPOCHS = 30


@app.command()
def init(
    name: Annotated[Path, typer.Argument(help="Folder to write: NAME/question.yaml and the rest.")],
    images: Annotated[str, typer.Option(help="Folder of the images, or a glob in quotes.")],
    masks: Annotated[str, typer.Option(help="The same of the masks; may be the same folder.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="What --masks names: masks; folders, one a class; or an export of labelme, coco, "
            "cvat or label-studio.",
        ),
    ] = "masks",
    classes: Annotated[
        Path | None,
        typer.Option(help="Table of classes: name; name,value; or name,r,g,b on each line."),
    ] = None,
    groups: Annotated[
        str,
        typer.Option(
            help="What stays together in a split: auto, none, folder, prefix, or FILE.csv:COLUMN."
        ),
    ] = "auto",
    snap: Annotated[
        str,
        typer.Option(
            help="Take smeared masks (JPEG) for the nearest of: auto, table, or multiples of N."
        ),
    ] = "",
    split_seed: Annotated[int, typer.Option(help="Seed of splits that are drawn.", min=0)] = 0,
    draw_splits: Annotated[
        bool, typer.Option("--draw-splits", help="Draw splits even where lists are found.")
    ] = False,
) -> None:
    """Look at images and masks, and write a question about them that runs as it is."""
    from bench.cli.command import show, show_remarks
    from bench.cli.progress import image_progress
    from bench.data.intake.intake import Wishes, taken_in

    wishes = Wishes(images, masks, source, classes, groups, snap, split_seed, draw_splits)
    with image_progress("looking at images") as progress, taken_in(name, wishes, progress) as taken:
        text = write_question(name.resolve().name, taken)
        (taken.folder / "question.yaml").write_text(text, encoding="utf-8")
        show_remarks(taken.said)
        show(taken.report.rows(), as_json=False)
    page, question = name / "index.html", name / "question.yaml"
    typer.echo(f"{page}: images with their masks over them; look at these first")
    typer.echo(f"{name / 'classes.yaml'}: classes and void, as guessed; change what is not so")
    typer.echo(f"fcn-bench check {question}: every image, every model, the plan and its cost")
    typer.echo(f"fcn-bench run {question}: trains, evaluates, writes the report")


def write_question(name: str, taken: "Taken") -> str:
    """Write a question about images that were taken in.

    Raises:
        InputError: There is no split to train on, or none to judge by.
    """
    from bench.data.intake.writing import word

    judges = [split for split in ("test", "val") if split in taken.splits]
    if "train" not in taken.splits or not judges:
        raise InputError(
            f"splits are {', '.join(taken.splits)}; a question needs `train` and one to judge by: "
            "--draw-splits draws new ones"
        )
    sides = [min(p.height, p.width) for p in taken.report.images if p.split == "train"]
    crop = max(32, min(LARGEST_CROP, min(sides)) // 32 * 32)
    batch = min(BATCH_SIZE, len(taken.splits["train"]))
    see = "" if taken.inputs == ("rgb",) else f", inputs: [{', '.join(taken.inputs)}]"
    return f"""\
name: {word(name)}
question: How much mIoU do finer skips add over stride-32 prediction on these images?
expectation: fcn8s > fcn16s > fcn32s; most of it with the first skip.
claims:
  - fcn8s > fcn32s        # the report says whether this is held, not held or undecided
common:
  data: {{dataset: folder{see}}}        # classes.yaml, beside this file, says what is in it
  model: {{backbone: resnet18, score_init: random}}     # pretrained: true starts from ImageNet
  train:
    epochs: {EPOCHS}
    batch_size: {batch}
    crop: [{crop}, {crop}]
    scale: [0.7, 1.4]
    optimizer: adamw
    lr: 1e-3
  evaluate: {{split: {judges[0]}}}
variants:
  fcn32s: {{model.skip: fcn32s}}
  fcn16s: {{model.skip: fcn16s}}
  fcn8s: {{model.skip: fcn8s}}
seeds: [0, 1, 2]
baseline: fcn32s
"""
