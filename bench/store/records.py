"""Records: what the small files of a store hold, each kind read through one schema.

In: a file that our own code wrote, or anybody. Out: a typed record; None where there is no file; an
`InputError` of one sentence where it holds something else.
"""

from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar, final

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
    with_config,
)
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from bench.plan import RunId
from fcn.errors import InputError

FORMAT = 1
"""Of the store."""

CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Milliseconds = Annotated[float, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""sha256, in hex."""
Channel = Annotated[int, Field(ge=0, le=255)]


def _require_square(counts: list[list[int]]) -> list[list[int]]:
    if not counts or any(len(row) != len(counts) for row in counts):
        raise ValueError(f"{len(counts)} rows are not of as many counts each")
    return counts


Confusion = Annotated[list[list[Count]], AfterValidator(_require_square)]
"""Pixel counts, C x C; rows are target, columns are prediction."""
Palette = tuple[tuple[Channel, Channel, Channel], ...]
ClassNames = Annotated[tuple[str, ...], Field(min_length=1)]


@with_config(CLOSED)
class TargetCounts(TypedDict):
    """Counts of one target over a split."""

    class_names: ClassNames
    palette: Palette
    confusion: Confusion


Environment = TypedDict(
    "Environment",
    {
        "device": str,
        "device_name": str,
        "gpus": str,
        "tf32_convolutions": bool,
        "tf32_products": bool,
        "cudnn_benchmark": bool,
        "processes": int,
        "threads": int,
        "cpus": int | None,
        "python": str,
        "platform": str,
        "torch": str,
        "torchvision": str,
        "timm": str,
        "numpy": str,
        "fcn-bench": str,
        "commit": str | None,
        "plugins": str,
    },
    total=False,
)
"""Where a run was made; runs of earlier versions say less."""


@with_config(CLOSED)
class FileWeights(TypedDict, total=False):
    """Starting weights that are random, or of a file."""

    pretrained: bool | str
    """As `model.pretrained` has it."""
    source: str
    """Address of the file, or its path if it was given by path."""
    sha256: Digest
    num_tensors: Count
    """Tensors that the file gave."""
    missing: list[str]
    """Tensors of a classifier that the file lacks, and that started at random."""
    origin: str
    """Where the weights are from, as is written beside the file."""
    licence: str
    """Likewise; of published weights as timm has it."""


@with_config(CLOSED)
class CopiedWeights(TypedDict):
    """Names of tensors, where a network starts from another's weights."""

    copied: list[str]
    new: list[str]
    """Only in the network."""
    unused: list[str]
    """Only in the weights."""


@with_config(CLOSED)
class ParentWeights(TypedDict):
    """Starting weights of a run that goes on from another."""

    parent: RunId
    copied: list[str]
    new: list[str]
    unused: list[str]
    zeroed: NotRequired[list[str]]
    """Score layers of `new`; earlier versions left them as they were made."""


def _require_streams(weights: dict[str, Any]) -> dict[str, Any]:
    if set(weights) != {"streams", *weights.get("streams", ())}:
        raise ValueError("streams are not those that weights were copied into")
    return weights


StreamWeights = Annotated[
    dict[str, CopiedWeights | dict[str, RunId]], AfterValidator(_require_streams)
]
"""Starting weights of late fusion: under `streams` a run for each input, by its name, and under
the input's name what was copied."""

Weights = FileWeights | ParentWeights | StreamWeights


@with_config(CLOSED)
class InputLayer(TypedDict):
    """What a network saw, as `bench.data.layers.Input`."""

    name: str
    channels: Count
    mean: tuple[int | float, ...]
    std: tuple[int | float, ...]
    log_range: tuple[int | float, int | float] | None
    value_range: NotRequired[tuple[int | float, int | float]]


@dataclass(frozen=True, config=CLOSED)
class Result:
    """Record of a finished run. Counts, not scores: `bench.metrics` derives those."""

    run_id: RunId
    run: dict[str, Any]
    """The run as `Run.to_json` gives it."""
    split: str
    num_images: Count
    class_names: ClassNames
    palette: Palette
    confusion: Confusion
    """Over the split."""
    num_parameters: Count
    train_seconds: Seconds
    evaluate_seconds: Seconds
    environment: Environment
    digests: dict[str, Digest]
    """sha256 of each file of the run, by its path in the run's folder."""
    finished: str
    """Time of the end, ISO 8601, UTC."""
    weights: Weights = field(default_factory=FileWeights)
    """Where the starting weights came from."""
    boundary: list[list[Count]] | None = None
    """Boundary pixels over the split, 2 x C: intersections and unions; None unless asked for."""
    surface: list[list[Count]] | None = None
    """Distances between outlines over the split and their pixels, 2 x C; None unless asked for."""
    calibration: list[list[Count]] | None = None
    """Pixels, those that are right, confidence and loss by bin, 4 x B; None unless asked for."""
    notes: tuple[str, ...] = ()
    """What a reader must know: resumed inexactly, a damaged checkpoint set aside."""
    gmacs: Annotated[float, Field(ge=0)] | None = None
    """Billions of multiply-adds of one forward pass of an image of the split."""
    latency_ms: Milliseconds | None = None
    """Median time of that pass on the device, one image at a time."""
    latency_quartiles_ms: tuple[Milliseconds, Milliseconds] | None = None
    """First and third quartile of it."""
    timed_size: tuple[Count, Count] | None = None
    """Height and width of the image that it was timed on, as the network sees it."""
    timed_beside: Count | None = None
    """Other runs of the store that were at work on the device meanwhile."""
    step_memory_mib: Annotated[float, Field(ge=0)] | None = None
    """Most that tensors took in a training step, in MiB."""
    peak_memory_mib: Annotated[float, Field(ge=0)] | None = None
    """Of earlier versions: tensors on a GPU, the whole process with its libraries on a CPU."""
    selected_step: Count | None = None
    """Step whose weights were kept, the best along the way; None for the last."""
    num_trained: Count | None = None
    """Images that were trained on; None in records of earlier versions."""
    others: dict[str, TargetCounts] = field(default_factory=dict)
    """Further targets by name."""
    inputs: tuple[InputLayer, ...] = ()
    """What the network saw beside or instead of images, in the order of `data.inputs`."""
    format: Literal[1] = 1

    def counted(self, target: str | None = None) -> TargetCounts:
        """Return the counts of a further target by name, or of the first for None."""
        if target is not None:
            return self.others[target]
        own = (self.class_names, self.palette, self.confusion)
        return TargetCounts(class_names=own[0], palette=own[1], confusion=own[2])

    @model_validator(mode="after")
    def _fitting_together(self) -> "Result":
        for counted in (self.counted(), *self.others.values()):
            if len(counted["confusion"]) != len(counted["class_names"]):
                raise ValueError(f"confusion is not of {len(counted['class_names'])} classes")
        C = len(self.class_names)
        for name in ("boundary", "surface"):
            rows = getattr(self, name)
            if rows is not None and [len(row) for row in rows] != [C, C]:
                raise ValueError(f"{name} is not 2 x {C}")
        return self


class Reason(StrEnum):
    """Why a run ended early, in the words that records and reports have for it."""

    INPUT = "spec or data"
    NONFINITE = "nonfinite"
    MEMORY = "memory"
    DISK = "disk"
    ERROR = "error"
    KILLED = "killed"
    HUNG = "hung"
    LOST = "lost"
    """Its machine is gone, and what happened there is not known."""
    STOPPED = "stopped"
    BLOCKED = "blocked"
    """A run that it starts from failed."""
    UNREADABLE = "unreadable"
    """The record of its end is damaged; written to no file."""


@dataclass(frozen=True, config=CLOSED)
class Failure:
    """Why a run ended early."""

    reason: Reason
    message: str
    step: int | None = None
    details: str = ""
    """End of the log or traceback."""


@dataclass(frozen=True, config=CLOSED)
class Notes:
    """What the attempts at a run met on their way."""

    notes: tuple[str, ...] = ()


@with_config(CLOSED)
class Attempt(TypedDict):
    """Who began a run: as `bench.store.holder.Holder`, without what is secret while it lasts."""

    attempt: Count
    host: str
    machine: str
    pid: int
    process: str
    since: str


@with_config(CLOSED)
class Attempts(TypedDict):
    """Everybody who began a run."""

    attempts: list[Attempt]


@dataclass(frozen=True)
class StoreFormat:
    """What makes a folder a store."""

    format: int


@final
@with_config(CLOSED)
class StepRow(TypedDict):
    """A line of a run's log: a step that was made."""

    step: Count
    loss: float
    lr: float
    seconds: Seconds


@final
@with_config(CLOSED)
class EvalRow(TypedDict):
    """A line of a run's log: a split that was scored along the way."""

    step: Count
    split: str
    confusion: Confusion


LogRow = StepRow | EvalRow


T = TypeVar("T")


def read_record(path: Path | str, schema: TypeAdapter[T], *, way_out: str) -> T | None:
    """Read a JSON file of a store.

    Args:
        path: The file.
        schema: What it must hold.
        way_out: What to do where it does not, as the end of a sentence.

    Returns:
        None where there is no file.

    Raises:
        InputError: It cannot be read, or holds something else.
        NotADirectoryError: A file is in the place of a folder that it should be in.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.readall()
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise  # nothing is wrong with the record, but with the place of its folder
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {way_out}") from None
    try:
        return schema.validate_json(content, strict=True)
    except ValidationError as error:
        why = f"{path} is damaged or foreign: {describe_fault(error)}"
        raise InputError(f"{why}; {way_out}") from None


def read_rows(content: bytes) -> tuple[list[LogRow], str | None]:
    """Read the lines of a log; one that a kill cut short has no end, and is left out.

    Returns:
        The rows before the first that is damaged, and what is wrong with it; None if none is.
    """
    lines = content.split(b"\n")[:-1]
    try:
        return _ROWS.validate_json(b"[%b]" % b",".join(lines), strict=True), None
    except ValidationError:
        pass
    rows: list[LogRow] = []
    for number, line in enumerate(lines, start=1):
        row = read_row(line)
        if row is None:
            return rows, f"line {number} is no row of a log"
        rows.append(row)
    return rows, None


def read_row(line: bytes | str) -> LogRow | None:
    """Read a line of a log; None where it holds something else."""
    try:
        return _ROW.validate_json(line, strict=True)
    except ValidationError:
        return None


def describe_fault(error: ValidationError) -> str:
    """Say in a few words what is wrong with a record, the first thing of several."""
    first, *more = error.errors(include_url=False, include_context=False, include_input=False)
    place = ".".join(map(str, first["loc"]))
    text = " ".join(first["msg"].removeprefix("Value error, ").split())
    return (f"{place}: {text}" if place else text) + (f" (and {len(more)} more)" if more else "")


RESULT = TypeAdapter(Result)
FAILURE = TypeAdapter(Failure)
ENVIRONMENT = TypeAdapter(Environment)
NOTES = TypeAdapter(Notes)
STORE_FORMAT = TypeAdapter(StoreFormat)
ATTEMPTS = TypeAdapter(Attempts)
_ROW: TypeAdapter[LogRow] = TypeAdapter(LogRow)
_ROWS = TypeAdapter(list[LogRow])
