"""What `--slurm` says of jobs: partition, time, devices and the rest, read before anything is sent.

In: `KEY=VALUE`, or YAML files of them. Out: settings with their types. Names are those of sbatch
with `_` for `-`; what is not among them goes to sbatch as it is, below `sbatch:` in a file.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.grid.slots import Slot
from bench.settings.yaml_file import load_yaml
from fcn.errors import InputError
from fcn.registry import unknown_name

MINUTES = 240
"""Time of a job where none is given; a run that takes longer is requeued, and goes on."""
CLUSTERS = ("slurm", "local")


@dataclass(frozen=True)
class SlurmSettings:
    """How jobs are sent."""

    cluster: str = "slurm"
    """`local` starts the jobs on this machine, by submitit's local executor: to try it."""
    minutes: int = MINUTES
    """Time that each job has."""
    patience: float = 60.0
    """Seconds without a sign of the command after which a job leaves."""
    generic: dict[str, Any] = field(default_factory=dict)
    """What submitit gives all clusters."""
    own: dict[str, Any] = field(default_factory=dict)
    """What it gives Slurm alone."""

    @property
    def num_gpus(self) -> int | None:
        """GPUs of each job; None where it is not said, or said in words of Slurm's (`gres`)."""
        return self.generic.get("gpus_per_node")

    @property
    def asks_for_gpus(self) -> bool:
        """Whether jobs have GPUs."""
        return bool(self.num_gpus) or "gpu" in str(self.own.get("gres", ""))

    def parameters(self) -> dict[str, Any]:
        """Return submitit's parameters."""
        named = {f"slurm_{key}": value for key, value in self.own.items()}
        return {**self.generic, **named, "timeout_min": self.minutes}


def read_settings(texts: Sequence[str]) -> SlurmSettings:
    """Read what a command was given.

    Args:
        texts: `KEY=VALUE`, or names of YAML files; what comes later wins.

    Raises:
        InputError: A name is unknown, a value none of its kind, or a file unreadable.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        values |= {key.strip().replace("-", "_"): value.strip()} if sign else _read_file(Path(text))
    for key, value in values.items():
        if key not in _KINDS:
            raise InputError(
                f"--slurm: {unknown_name('setting', key, _KINDS)}; what else sbatch knows goes "
                "below `sbatch:` in a YAML file, as in `sbatch: {switches: 1}`"
            )
        values[key] = _KINDS[key](key, value)
    cluster = values.pop("cluster", "slurm")
    if cluster not in CLUSTERS:
        raise InputError(f"--slurm cluster: {unknown_name('cluster', cluster, CLUSTERS)}")
    if "sbatch" in values:
        values["additional_parameters"] = values.pop("sbatch")
    return SlurmSettings(
        cluster=cluster,
        minutes=values.pop("time", MINUTES),
        patience=values.pop("patience", 60.0),
        generic={key: values.pop(key) for key in _GENERIC if key in values},
        own=values,
    )


def place_jobs(
    settings: SlurmSettings, devices: Sequence[str], devices_per_run: int
) -> tuple[Slot, SlurmSettings]:
    """Return the devices of a run on its node, and settings that ask for them.

    Args:
        settings: As they were given.
        devices: `auto` (GPUs where the settings ask for some), `cuda` or `cpu`.
        devices_per_run: GPUs of each run, or processes on the CPU.

    Raises:
        InputError: Devices are named one by one, or jobs have another number of GPUs than a run.
    """
    named = set(devices)
    if named - {"auto", "cuda", "cpu"} or len(named) != 1:
        raise InputError(
            f"--devices {', '.join(devices)}: which devices a job gets is Slurm's to say; give "
            "cuda or cpu, and how many with --devices-per-run"
        )
    if named == {"cpu"} or (named == {"auto"} and not settings.asks_for_gpus):
        if settings.asks_for_gpus:
            raise InputError("--devices cpu, and GPUs are asked for with --slurm: leave one out")
        further = ("cpu",) * (devices_per_run - 1)
        threads = settings.generic.get("cpus_per_task", 0) // devices_per_run
        return Slot("cpu", threads, further), settings
    count = settings.num_gpus or devices_per_run
    if count != devices_per_run:
        raise InputError(
            f"--slurm gpus_per_node={count}: a job is one run, over {devices_per_run} of them; "
            f"give gpus_per_node={devices_per_run}, or --devices-per-run {count} to spread it"
        )
    if "gres" not in settings.own:
        settings = replace(settings, generic={**settings.generic, "gpus_per_node": count})
    threads = settings.generic.get("cpus_per_task", 0) // devices_per_run
    return Slot("cuda:0", threads, tuple(f"cuda:{i}" for i in range(1, count))), settings


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"--slurm {path}: give KEY=VALUE, such as partition=gpu, or a YAML file of such lines"
        )
    found = load_yaml(path)
    if not isinstance(found, dict):
        raise InputError(f"--slurm {path}: the file holds no settings; write lines as `time: 90`")
    return {str(key).replace("-", "_"): value for key, value in found.items()}


def _text(key: str, value: Any) -> str:
    if isinstance(value, list | dict) or str(value) == "":
        raise InputError(f"--slurm {key}: {value!r} is no name")
    return str(value)


def _whole(key: str, value: Any) -> int:
    text = str(value)
    if not text.isdigit() or (int(text) == 0 and key != "gpus_per_node"):
        raise InputError(f"--slurm {key}={value}: give a whole number")
    return int(text)


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise InputError(f"--slurm {key}={value}: give a number above zero")
    return number


def _switch(key: str, value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise InputError(f"--slurm {key}={value}: give true or false")
    return str(value).lower() == "true"


def _lines(key: str, value: Any) -> list[str]:
    """One line of shell, or several."""
    lines = value if isinstance(value, list) else [value]
    return [_text(key, line) for line in lines]


def _table(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"--slurm {key}: give it in a YAML file, as in `{key}: {{switches: 1}}`")
    return value


def _time(key: str, value: Any) -> int:
    """Read minutes as sbatch does: 90, 1:30:00, 2-00, 2-12:30."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d\d))?(?::(\d\d))?", str(value))
    if match is None:
        raise InputError(f"--slurm time={value}: give minutes, H:MM:SS or D-HH:MM:SS, as sbatch")
    days, *parts = match.groups()
    first, second, third = (int(part) if part else 0 for part in parts)
    if days is not None:  # D-HH[:MM[:SS]]
        minutes = int(days) * 1440 + first * 60 + second + (third > 0)
    elif parts[2] is not None:  # H:MM:SS
        minutes = first * 60 + second + (third > 0)
    else:  # M[:SS]
        minutes = first + (second > 0)
    if minutes == 0:
        raise InputError(f"--slurm time={value}: that is no time at all")
    return minutes


_GENERIC = ("name", "mem_gb", "cpus_per_task", "gpus_per_node")
_KINDS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("cluster", "name", "partition", "account", "qos", "constraint"), _text),
    **dict.fromkeys(("gres", "nodelist", "exclude", "comment", "dependency"), _text),
    **dict.fromkeys(("mail_type", "mail_user", "mem_per_cpu", "mem_per_gpu"), _text),
    **dict.fromkeys(("cpus_per_task", "gpus_per_node", "array_parallelism"), _whole),
    **dict.fromkeys(("signal_delay_s",), _whole),
    **dict.fromkeys(("mem_gb", "patience"), _number),
    **dict.fromkeys(("exclusive", "use_srun"), _switch),
    **dict.fromkeys(("setup", "teardown", "srun_args"), _lines),
    "time": _time,
    "sbatch": _table,
}
