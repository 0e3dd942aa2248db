"""The limit of the device, and ours: the code that runs are made of, step by step.

Each loop is a generator that makes one step when it is asked for one.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.optim import Optimizer

from bench.data.batches import Batches
from bench.run.compiling import compiled
from bench.run.evaluate import Evaluation
from bench.run.evaluate_split import evaluate_split
from bench.run.life import Life
from bench.run.log import RunLog
from bench.run.losses import network_loss
from bench.run.optim import create_optimizer
from bench.run.rates import Rates
from bench.run.replay import Batch, Recorder, Replay
from bench.run.train import autocast, fit
from bench.speed.workload import Workload
from bench.store.lease import hold
from fcn.model import Network


def limit(workload: Workload, recorder: Recorder | None = None) -> Iterator[None]:
    """Make steps on one batch that lies on the device: forward, loss, backward, update alone.

    Args:
        workload: What is trained.
        recorder: What makes one graph of them; None makes them anew each time.
    """
    model, train = workload.create_network().train(), workload.spec.train
    optimizer = create_optimizer(model, train)
    Rates(optimizer, train, workload.device).set(1)
    images, target = create_batches(workload, model).batch(0)
    loss_fn = partial(network_loss, model, targets=workload.targets)

    def step(given: Iterable[Batch]) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        for images, target in given:
            with autocast(images.device, train.precision):
                loss = loss_fn(images, target)
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    replay = Replay(step, recorder)
    with compiled(model, train):
        while True:
            replay(iter([(images, target)]))
            yield


def ours(
    workload: Workload,
    folder: Path,
    model: Network | None = None,
    optimizer: Optimizer | None = None,
) -> Iterator[None]:
    """Make the steps of a run: packed images, augmentation, loss, lease, log and heartbeat.

    Args:
        workload: What is trained.
        folder: Where the run's files go.
        model: Its network; made if it is None.
        optimizer: Of that network; likewise.
    """
    train = workload.spec.train
    model = workload.create_network() if model is None else model
    for index in workload.pack.indices(train.split):
        # Checks their bytes, as a run does in its first epoch alone.
        workload.pack.image(index)
        workload.pack.target(index)
    steps = fit(
        model,
        create_batches(workload, model),
        partial(network_loss, model, targets=workload.targets),
        create_optimizer(model, train) if optimizer is None else optimizer,
        train,
        seed=workload.spec.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder) as lease, compiled(model, train):
        log, life = RunLog(folder / "metrics.jsonl", after=0), Life(lease, folder)
        for step_log in steps:
            life.show()
            log.add(step_log)
            yield


def evaluate_ours(workload: Workload, model: Network) -> Evaluation:
    """Score the split as a run does: one confusion matrix per image, at the label's size."""
    return evaluate_split(
        model,
        workload.pack,
        workload.spec.evaluate.split,
        workload.spec,
        workload.device,
        targets=workload.targets,
    )


def create_batches(workload: Workload, model: Network) -> Batches:
    """Open the training batches of a run."""
    return Batches(
        workload.pack,
        workload.spec.train,
        input_scale=1.0,
        seed=workload.spec.seed,
        mean=model.mean,
        std=model.std,
        device=workload.device,
    )
