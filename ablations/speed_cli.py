"""`fcn-bench speed`: what is measured, at which sizes, on which machine. Heavy imports wait."""

import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablations.planning import Set
from bench.cli.command import AsJson, DataDir, Device, WeightsDir, show, show_json
from fcn.errors import InputError
from fcn.registry import unknown_name

if TYPE_CHECKING:
    from bench.speed.request import Request
    from bench.speed.section import Section

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

PARTS = (
    *("train", "compiled", "evaluate", "memory", "growth", "reading", "startup", "grid", "store"),
)
REACH = "reach"
"""A part that trains to a score, which is not among all."""


@dataclass(frozen=True)
class _Scale:
    """What is measured without a workload: grids, and stores by their number of runs."""

    spec: str
    engine: str
    settings: Sequence[str]
    slots: Sequence[int]
    numbers: Sequence[int]
    most_reported: int


@dataclass(frozen=True)
class _Goal:
    """What is trained to a score, and for how long."""

    run: str
    settings: Sequence[str]
    target: float
    every: int
    most_minutes: float


@app.command()
def speed(
    what: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(PARTS)}, all of these (the default), or {REACH}."),
    ] = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help="Any timm name; repeatable. Four by default.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Skip strategy; repeatable. fcn8s by default.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="HEIGHTxWIDTH of crops; repeatable. 120x160 on a CPU, else 360x480."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Images in a batch; 4 on a CPU, else 16.", min=1)
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16; fp32 on a CPU, else bf16.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Number of classes; the data's by default.", min=2)
    ] = None,
    device: Device = "auto",
    data: DataDir = None,
    dataset: Annotated[str | None, typer.Option(help="shapes; with --data, camvid.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; torch's by default.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Loaders of the usual loop; one per core.", min=0)
    ] = None,
    rounds: Annotated[int, typer.Option(help="Timed blocks of each side.", min=1)] = 5,
    block: Annotated[float, typer.Option(help="Seconds of a block.", min=0.0)] = 1.0,
    spec: Annotated[str, typer.Option(help="Spec whose grid is run.")] = "quickstart",
    engine: Annotated[str, typer.Option(help="Engine of the grid.")] = "auto",
    slots: Annotated[
        list[int] | None,
        typer.Option(help="Runs at a time in the grid; repeatable. 1, and what fits.", min=1),
    ] = None,
    settings: Set = None,
    run: Annotated[
        str, typer.Option(help="Variant that is trained to a score: ABLATION/VARIANT.")
    ] = "camvid/pretrained/scratch-or-pretrained/lite0",
    weights: WeightsDir = None,
    target: Annotated[
        float, typer.Option(help="Score that is reached, a fraction of mIoU.", min=0.0, max=1.0)
    ] = 0.5,
    every: Annotated[int, typer.Option(help="Steps between two looks at it.", min=1)] = 50,
    most: Annotated[
        float, typer.Option(help="Minutes of training to reach it, on each side.", min=0.0)
    ] = 45.0,
    runs: Annotated[
        list[int] | None, typer.Option(help="Runs in a store; repeatable. 1, 1000, 10000.", min=1)
    ] = None,
    reported: Annotated[int, typer.Option(help="Most runs that are reported on.")] = 10_000,
    out: Annotated[
        Path | None, typer.Option(help="Page to write, such as docs/performance.md.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which no further row is begun; what is measured stays.", min=0.0
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure training, memory, reading, start-up, grids and stores against limits."""
    until = None if budget is None else time.monotonic() + budget
    parts = _choose(what or ["all"])
    if out:
        from bench.speed.page import require_page

        require_page(out, parts)
    import torch

    from bench.cli.profiles import parse_size
    from bench.speed.request import Request

    if threads:
        torch.set_num_threads(threads)
    request = Request(
        backbones=tuple(backbone) if backbone else None,
        skips=tuple(skip) if skip else ("fcn8s",),
        sizes=tuple(map(parse_size, size)) if size else None,
        batch=batch,
        precision=precision,
        classes=classes,
        device=device,
        data=data,
        dataset=dataset,
        workers=workers,
        rounds=rounds,
        block_seconds=block,
    )
    scale = _Scale(spec, engine, settings or (), slots or (), runs or (1, 1000, 10_000), reported)
    goal = _Goal(run, settings or (), target, every, most)
    sections: dict[str, Section] = {}
    for section in _measure(parts, request, scale, goal, until):
        sections[section.name] = section
        if out:
            _write(out, section, device)
        newest = (f"{key} {text}" for key, text in section.rows()[-1].items())
        typer.echo(f"{section.title}: {', '.join(newest)}", err=True)
    if as_json:
        show_json([section.to_json() for section in sections.values()])
        return
    for section in sections.values():
        typer.echo(f"\n{section.title}")
        show(section.rows(), as_json=False)


def _choose(what: Sequence[str]) -> tuple[str, ...]:
    for name in what:
        if name not in (*PARTS, REACH, "all"):
            raise InputError(unknown_name("part of speed", name, (*PARTS, REACH, "all")))
    return (*(REACH,) * (REACH in what), *(p for p in PARTS if p in what or "all" in what))


def _measure(
    parts: Sequence[str], request: "Request", scale: _Scale, goal: _Goal, until: float | None
) -> Iterator["Section"]:
    """Yield each part with each row that it gets; what it leaves on the disk is removed."""
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="fcn-bench-speed-") as name:
            if until is not None and time.monotonic() > until:
                typer.echo(f"{part}: not begun, the budget is spent", err=True)
                continue
            for section in _measure_part(part, request, scale, goal, Path(name)):
                yield section
                if until is not None and time.monotonic() > until:
                    typer.echo(f"{part}: no further row, the budget is spent", err=True)
                    break


def _measure_part(
    part: str, request: "Request", scale: _Scale, goal: _Goal, scratch: Path
) -> Iterator["Section"]:
    from ablations.speed_store import store_section
    from bench.speed import compare, grid, memory, reading, startup

    if part == "train":
        return compare.train_section(request.workloads(scratch), scratch, request.effort)
    if part == "compiled":
        return compare.compiled_section(request.workloads(scratch), scratch, request.effort)
    if part == "evaluate":
        return compare.evaluate_section(request.workloads(scratch), scratch, request.effort)
    if part == "growth":
        return compare.growth_section(request.growing(scratch), scratch, request.effort)
    if part == "memory":
        return memory.memory_section(request.by_classes(scratch), scratch)
    if part == "reading":
        return iter([reading.reading_section(scratch, request.rounds)])
    if part == "startup":
        return iter([startup.startup_section(scratch, request.rounds)])
    if part == "grid":
        return grid.grid_section(scale.spec, scale.engine, scale.settings, scale.slots, scratch)
    if part == REACH:
        return _reach(request, goal, scratch)
    return iter([store_section(scale.numbers, scratch, most_reported=scale.most_reported)])


def _reach(request: "Request", goal: _Goal, scratch: Path) -> Iterator["Section"]:
    from ablations.speed_reach import reach_variant
    from bench.settings.yaml_file import parse_setting
    from bench.speed.reach import Goal

    return reach_variant(
        goal.run,
        dict(parse_setting(text, option="--set") for text in goal.settings),
        request.data,
        scratch,
        Goal(goal.target, goal.every, 60 * goal.most_minutes),
        workers=request.effort.workers,
        device=request.device,
    )


def _write(out: Path, section: "Section", device: str) -> None:
    """Put a section into the page at once: what comes later may take long, or fail."""
    from datetime import UTC, datetime

    from bench.run.environment import choose_device, describe_environment
    from bench.speed.page import write_page

    facts = describe_environment(choose_device(device))
    names = ("device_name", "cpus", "threads", "python", "torch", "torchvision", "timm", "commit")
    provenance: dict[str, Any] = {name.replace("_", " "): facts.get(name) for name in names}
    provenance["measured"] = datetime.now(UTC).strftime("%Y-%m-%d")
    provenance["command"] = _without_folder(sys.argv[1:])
    write_page(out, [section], provenance)


_FOLDERS = ("--data", "--weights")


def _without_folder(words: list[str]) -> str:
    """Return the command as anybody would give it: where images lie here is nobody's concern."""
    shown = [
        "DIR"
        if before in _FOLDERS
        else f"{word.partition('=')[0]}=DIR"
        if word.startswith(tuple(f"{one}=" for one in _FOLDERS))
        else word
        for before, word in zip(["fcn-bench", *words], words, strict=False)
    ]
    return shlex.join(["fcn-bench", *shown])
