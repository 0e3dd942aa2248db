"""Trackers: TensorBoard, Weights & Biases, MLflow and Trackio, each by its own library (an extra).

Each keeps files on this machine unless the user's own settings name a server, and none needs one.
"""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.tracking.contracts import DONE, TRACKERS, Sink, TrackedRun
from bench.tracking.scalars import Point
from fcn.errors import InputError

__all__ = ["TRACKERS", "Mlflow", "Tensorboard", "Trackio", "Wandb", "list_trackers"]

MOST_METRICS, MOST_SETTINGS = 1000, 100
"""That MLflow takes at once."""


@TRACKERS.register("tensorboard")
class Tensorboard:
    """Event files, in a folder for each run; time in TensorBoard is training time."""

    package: ClassVar[str] = "tensorboard"

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise not_installed(self.package) from None
        self._writer, self.place = Writer, str(folder)

    def open(self, run: TrackedRun) -> Sink:
        """Open a new event file; TensorBoard puts those of one folder together."""
        return self.open_folder(Path(self.place, _plain(run.ablation), *map(_plain, _parts(run))))

    def open_folder(self, folder: Path) -> Sink:
        """Open a new event file in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        return _Events(self._writer(str(folder)))


class _Events:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            for tag, value in point.values.items():
                self._writer.add_scalar(tag, value, point.step, wall_time=point.seconds)
        self._writer.flush()

    def finish(self, state: str, last: Point) -> None:
        self.log([last])

    def close(self) -> None:
        self._writer.close()


@TRACKERS.register("wandb")
class Wandb:
    """Weights & Biases: its server for who is logged in there, else files for `wandb sync`."""

    package: ClassVar[str] = "wandb"

    def __init__(self, folder: Path) -> None:
        try:
            import wandb
        except ImportError:
            raise not_installed(self.package) from None
        from huggingface_hub import constants

        # That no server is asked is the user's word for all of them.
        mode = "offline" if constants.HF_HUB_OFFLINE else os.environ.get("WANDB_MODE")
        if mode is None:
            mode = "online" if wandb.login(prompt=False) else "offline"
        self._wandb, self._mode, self._folder = wandb, mode, folder
        host = os.environ.get("WANDB_BASE_URL", "https://wandb.ai")
        self.place = str(folder) if self._mode != "online" else host

    def open(self, run: TrackedRun) -> Sink:
        """Open a run by its id, which is ours."""
        self._folder.mkdir(parents=True, exist_ok=True)
        opened = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", _plain(run.ablation)),
            group=run.variant,
            name=run.name,
            id=run.id,
            resume="allow",
            config=dict(run.settings),
            dir=str(self._folder),
            mode=self._mode,
            settings=self._wandb.Settings(
                reinit="create_new",  # several at a time
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,  # of this process, which trains nothing
                x_disable_meta=True,
            ),
        )
        return _WandbRun(opened)


class _WandbRun:
    def __init__(self, run: Any) -> None:
        self._run, self._code = run, 0

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self._run.log(timed(point), step=point.step)

    def finish(self, state: str, last: Point) -> None:
        self._run.summary.update(last.values)
        self._code = 0 if state == DONE else 1

    def close(self) -> None:
        self._run.finish(exit_code=self._code)


@TRACKERS.register("mlflow")
class Mlflow:
    """MLflow: where MLFLOW_TRACKING_URI says, else an SQLite file."""

    package: ClassVar[str] = "mlflow"

    def __init__(self, folder: Path) -> None:
        try:
            from mlflow import entities
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise not_installed(self.package) from None
        forbid_server("MLFLOW_TRACKING_URI", "sqlite:", "file:", "/")
        self.place = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not self.place:
            folder.mkdir(parents=True, exist_ok=True)
            self.place = f"sqlite:///{folder.resolve() / 'mlflow.db'}"
        self._entities, self._client = entities, MlflowClient(tracking_uri=self.place)
        self._artifacts = folder.resolve() / "artifacts"

    def open(self, run: TrackedRun) -> Sink:
        """Open the run of an experiment that bears our id as a tag."""
        found = self._client.get_experiment_by_name(run.ablation)
        is_here = self.place.startswith("sqlite:")
        experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(
                run.ablation, artifact_location=self._artifacts.as_uri() if is_here else None
            )
        )
        tag = "fcn-bench.run"
        runs = self._client.search_runs([experiment], f"tags.`{tag}` = '{run.id}'", max_results=1)
        if runs:
            run_id = runs[0].info.run_id
            self._client.update_run(run_id, "RUNNING")
        else:
            tags = {tag: run.id, "variant": run.variant, "seed": str(run.seed)}
            run_id = self._client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
            settings = [
                self._entities.Param(_key(key), str(value)[:500])
                for key, value in run.settings.items()
            ]
            for at in range(0, len(settings), MOST_SETTINGS):
                self._client.log_batch(run_id, params=settings[at : at + MOST_SETTINGS])
        return _MlflowRun(self._client, self._entities.Metric, run_id)


class _MlflowRun:
    def __init__(self, client: Any, metric: Any, run_id: str) -> None:
        self._client, self._metric, self._run_id = client, metric, run_id

    def log(self, points: Sequence[Point]) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._metric(_key(key), value, now, point.step)
            for point in points
            for key, value in timed(point).items()
        ]
        for at in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[at : at + MOST_METRICS])

    def finish(self, state: str, last: Point) -> None:
        self.log([last])
        self._client.set_terminated(self._run_id, "FINISHED" if state == DONE else "FAILED")

    def close(self) -> None:
        pass


@TRACKERS.register("trackio")
class Trackio:
    """Trackio: its own files on this machine, which `trackio show` reads."""

    package: ClassVar[str] = "trackio"

    def __init__(self, folder: Path) -> None:
        forbid_server("TRACKIO_SPACE_ID")
        forbid_server("TRACKIO_SERVER_URL")
        # Read when it is imported; the user's own choice stands.
        self.place = os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))
        try:
            import trackio
        except ImportError:
            raise not_installed(self.package) from None
        self._trackio = trackio

    def open(self, run: TrackedRun) -> Sink:
        """Open a run by its name, which is unique in its project."""
        opened = self._trackio.init(
            project=_plain(run.ablation),
            name=_plain(run.name),
            group=run.variant,
            config={_key(key): value for key, value in run.settings.items()},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return _TrackioRun(opened)


class _TrackioRun:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self._run.log(timed(point), step=point.step)

    def finish(self, state: str, last: Point) -> None:
        self._run.log(last.values, step=last.step)

    def close(self) -> None:
        self._run.finish()


def list_trackers() -> list[str]:
    """Return the names of all trackers."""
    return list(TRACKERS)


def not_installed(package: str) -> InputError:
    """Return the error for a library that is not installed."""
    return InputError(f"the package {package} is not installed; pip install 'fcn-bench[{package}]'")


def forbid_server(variable: str, *here: str) -> None:
    """Refuse a server that a variable names where the user's word is that none is asked.

    Raises:
        InputError: It names one, and HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants

    value = os.environ.get(variable, "")
    if constants.HF_HUB_OFFLINE and value and not value.startswith(here):
        raise InputError(f"HF_HUB_OFFLINE forbids to ask {value}, which {variable} names")


def timed(point: Point) -> dict[str, float]:
    """Return the values of a point with its seconds of training, for who has no time of its own."""
    return {**point.values, "train/seconds": point.seconds}


def _parts(run: TrackedRun) -> tuple[str, str]:
    return run.variant, f"seed-{run.seed}"


def _plain(name: str) -> str:
    """Return a name as all of them take it, for a folder or a project."""
    return re.sub(r"[^\w.+=-]", "-", name).strip(".-")[:100] or "-"


def _key(key: str) -> str:
    """Return a key of letters that MLflow takes."""
    return re.sub(r"[^\w.\-/ ]", "_", key)
