"""`fcn-bench data show`: a training batch of a question's variant, drawn before anything is run."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from ablations.planning import Set, Spec, plan_spec
from ablations.report_cli import say
from bench.cli.command import DataDir, Plugins, RunsDir, WeightsDir, open_store
from bench.cli.data import data_app
from bench.importing import importing
from bench.plugins import load_plugins
from fcn.errors import InputError
from fcn.registry import unknown_name


@data_app.command("show")
def show_batch(
    spec: Spec,
    data: DataDir = None,
    runs: RunsDir = Path("runs"),
    weights: WeightsDir = None,
    settings: Set = None,
    variant: Annotated[str | None, typer.Option(help="Variant; the first by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, one of the question's.")] = None,
    batch: Annotated[int, typer.Option(help="Number of the batch.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("grid.png"),
    plugin: Plugins = None,
) -> None:
    """Draw a batch as the network sees it: scaled, cropped, augmented, with its masks below."""
    with importing():
        from ablations.registry import name_question
        from bench.outputs.drawing import Drawing
    load_plugins(plugin)
    question = hashlib.sha256(name_question(spec).encode()).hexdigest()
    drawing = Drawing(out, "batch", of=question, source="question")
    drawing.require()
    plan, catalog = plan_spec(spec, open_store(runs), data, settings)
    name = variant or plan.variants[0]
    if name not in plan.variants:
        raise InputError(unknown_name("variant", name, plan.variants))
    found = [one.run.spec for one in plan.runs if one.variant == name]
    seeds = [one.seed for one in found]
    if seed is not None and seed not in seeds:
        raise InputError(f"--seed {seed} is none of the question's seeds, {seeds}; choose one")
    chosen = found[0 if seed is None else seeds.index(seed)]
    with importing():
        from bench.cli.batch_grid import draw_batch
        from bench.data.augmentations import require_augment
    packed = catalog.pack(chosen.data)
    first = packed.choose(chosen.data.inputs, ()).inputs[0]
    require_augment(chosen.train, first)
    drawing.write(draw_batch(packed, chosen, batch))
    say(f"{out}: batch {batch} of variant {name}, seed {chosen.seed}")
