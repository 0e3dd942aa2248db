"""Steps recorded once and replayed, beside steps made anew; a tape stands for a CUDA graph."""

import gc
import warnings
import weakref
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from tape import Tape
from torch.nn import functional as F

from bench.run import train as module
from bench.run.ema import ema_applied
from bench.run.losses import pixel_loss
from bench.run.optim import create_optimizer
from bench.run.rates import Rates, fuse
from bench.run.replay import WARM_UP, CudaRecorder, Replay, find_recorder
from bench.run.schedules import lr_at
from bench.run.train import fit
from bench.spec import TrainSpec
from fcn.constants import made_once
from fcn.model import create_model

CPU = torch.device("cpu")


class Drawn:
    """Batches that depend on their number alone."""

    def __init__(self, sizes=()):
        self.sizes = sizes

    def batch(self, index):
        generator = torch.Generator().manual_seed(index)
        size = self.sizes[index] if index < len(self.sizes) else (32, 40)
        images = torch.randn(2, 3, *size, generator=generator)
        return images, torch.randint(0, 5, (2, *size), generator=generator)


def train(recorder, monkeypatch, *, is_fused=True, sizes=(), peek=None, loss_of=None, **settings):
    """Return losses and all that training left, of a small network with everything in it."""
    monkeypatch.setattr(module, "find_recorder", lambda *_: recorder)
    spec = TrainSpec.model_validate(
        {"steps": 9, "batch_size": 2, "lr": 0.05, "warmup_steps": 4, "ema_decay": 0.9,
         "clip_grad_norm": 1.0, "groups": {"backbone": {"lr": 0.5}}, **settings}
    )  # fmt: skip
    torch.manual_seed(0)
    model = create_model(
        "test_resnet", num_classes=4, skip="fcn16s", score_init="random", dropout=0.2
    )
    optimizer = create_optimizer(model, spec)
    if is_fused:
        fuse(optimizer)

    def loss_fn(images, target):
        loss = pixel_loss(model.score(images), target, model.upsampling, ignore_index=4)
        return loss_of(loss) if loss_of else loss

    losses = []
    for log in fit(model, Drawn(sizes), loss_fn, optimizer, spec, seed=7):
        losses.append(log.loss)
        if peek == log.step:  # as a score along the way does
            with ema_applied(optimizer), torch.inference_mode():
                model.eval()(torch.zeros(1, 3, 32, 32))
    state = [value for own in optimizer.state.values() for value in own.values()]
    kept = [*model.state_dict().values(), *filter(torch.is_tensor, state)]
    return [torch.stack(losses), *kept]


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adamw", "lr": 0.001},
        {"grad_accum_steps": 3},
        {"precision": "bf16"},
        {"clip_grad_norm": None, "ema_decay": 0.0, "momentum": 0.0},
    ],
    ids=str,
)
def test_a_replayed_step_gives_the_bits_of_one_made_anew(settings, monkeypatch):
    tape = Tape()
    replayed = train(tape, monkeypatch, **settings)
    assert (tape.recorded, tape.replayed) == (1, 9 - WARM_UP)
    assert equal(replayed, train(None, monkeypatch, **settings))


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "lr": 0.001}], ids=str)
def test_it_is_the_step_of_a_cpu_but_for_the_rounding_of_rates(settings, monkeypatch):
    replayed = train(Tape(), monkeypatch, **settings)
    for ours, todays in zip(
        replayed, train(None, monkeypatch, is_fused=False, **settings), strict=True
    ):
        torch.testing.assert_close(ours, todays, rtol=1e-3, atol=1e-4)


def test_scores_along_the_way_leave_a_recorded_step_as_it_is(monkeypatch):
    tape = Tape()
    replayed = train(tape, monkeypatch, peek=6)
    assert tape.replayed == 6
    assert equal(replayed, train(None, monkeypatch, peek=6))


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_step_that_asks_for_a_value_is_made_anew_each_time(is_noticed, monkeypatch, capsys):
    """It is noticed before: a capture that fails leaves a GPU without what it had taken."""

    def look(loss):
        return loss * 2 if loss.item() > 1e9 else loss

    tape = Tape()
    if not is_noticed:
        monkeypatch.setattr(tape, "watch", lambda: nullcontext([]))
    monkeypatch.setattr(tape, "record", Mock(wraps=tape.record))
    found = train(tape, monkeypatch, loss_of=look)
    assert tape.record.called != is_noticed
    assert (tape.recorded, tape.replayed) == (0, 0)
    why = "_local_scalar_dense waits"
    if not is_noticed:
        why = "operation not permitted when stream is capturing"
    said = f"steps are made one by one, as they cannot be recorded: {why}\n"
    assert capsys.readouterr().err == said
    assert equal(found, train(None, monkeypatch, loss_of=look))


def test_what_a_recorded_step_reads_outlives_its_cache(monkeypatch):
    """Images of many sizes, scored along the way, have many matrices; age would end the step's."""
    made = []

    @made_once(1)
    def constant(number):
        made.append(torch.full((), float(number)))
        return made[-1]

    steps = []

    def step(batches):
        steps.append(None)
        return sum(images.sum() for images, _ in batches) * constant(3)

    class Bare:
        """As a graph, it knows where a tensor lay, and does not hold it."""

        watch = staticmethod(lambda: nullcontext([]))

        def record(self, launches):
            launches()
            return lambda: None

    replay = Replay(step, Bare())
    for _ in range(WARM_UP + 1):
        replay(iter([(torch.ones(2), torch.zeros(1))]))
    assert (len(steps), len(made)) == (WARM_UP + 1, 1)
    read = weakref.ref(made.pop())
    constant(4)  # there is room for one
    gc.collect()
    assert read() is not None
    replay.forget()
    gc.collect()
    assert read() is None


def test_what_the_host_decides_is_not_decided_again(monkeypatch):
    """Else the tests above could not fail."""
    calls = []

    def count(loss):
        calls.append(loss)
        return loss * len(calls)

    replayed = train(Tape(), monkeypatch, loss_of=count)
    calls.clear()
    assert not equal(replayed, train(None, monkeypatch, loss_of=count))


def test_a_batch_of_another_size_is_made_by_itself(monkeypatch):
    tape, sizes = Tape(), [(32, 40)] * 5 + [(48, 32)]
    replayed = train(tape, monkeypatch, sizes=sizes)
    assert (tape.recorded, tape.replayed) == (1, 9 - WARM_UP - 1)
    assert equal(replayed, train(None, monkeypatch, sizes=sizes))


def test_another_part_that_trains_is_recorded_anew(monkeypatch):
    tape, freeze = Tape(), {"freeze": {"backbone": 4}}
    replayed = train(tape, monkeypatch, **freeze)
    assert (tape.recorded, tape.replayed) == (2, 9 - 2 * WARM_UP)
    assert equal(replayed, train(None, monkeypatch, **freeze))


def test_a_part_that_trains_later_begins_its_momentum_beside_others_that_have_theirs(monkeypatch):
    """All in one group: torch's kernel takes the momentum of all or of none."""
    thawed = {"freeze": {"backbone": 4}, "groups": {}, "ema_decay": 0.0}
    fused, plain = (train(None, monkeypatch, is_fused=fused, **thawed) for fused in (True, False))
    for ours, todays in zip(fused, plain, strict=True):
        torch.testing.assert_close(ours, todays, rtol=1e-3, atol=1e-4)


def test_a_shape_is_recorded_once_it_has_been_there_in_a_row(monkeypatch):
    """Else kernels for it might first be compiled while launches are recorded."""
    small, large = (32, 40), (48, 32)
    tape, sizes = Tape(), [small, large, small, small, large, large, large, large, large]
    replayed = train(tape, monkeypatch, sizes=sizes)
    assert (tape.recorded, tape.replayed) == (1, 2)
    assert tape.watched == [[]]
    assert equal(replayed, train(None, monkeypatch, sizes=sizes))


def test_rates_are_numbers_or_stay_where_a_recorded_step_reads_them():
    spec = TrainSpec(steps=10, lr=0.1, ema_decay=0.9, groups={"*": {"lr": 0.5}})
    for is_fused in (False, True):
        model = torch.nn.Conv2d(1, 1, 1)
        optimizer = create_optimizer(model, spec.model_copy(update={"groups": {}}))
        if is_fused:
            fuse(optimizer)
        optimizer.param_groups[0]["lr_scale"] = 0.5
        rates = Rates(optimizer, spec, CPU)
        first = optimizer.param_groups[0]["lr"]
        assert [rates.set(step) for step in (1, 2)] == [lr_at(1, spec), lr_at(2, spec)]
        kept = optimizer.param_groups[0]["lr"]
        assert (kept is first) == is_fused == isinstance(kept, torch.Tensor)
        assert float(kept) == pytest.approx(0.5 * lr_at(2, spec))


def test_recorded_are_steps_on_one_gpu_whose_rates_lie_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=torch.tensor(0.1))
    plain, cuda = TrainSpec(), torch.device("cuda")
    assert find_recorder(optimizer, plain, cuda, 1) is not None
    assert find_recorder(optimizer, plain, CPU, 1) is None
    assert find_recorder(optimizer, plain, cuda, 2) is None
    assert find_recorder(torch.optim.SGD([torch.zeros(1)], lr=0.1), plain, cuda, 1) is None
    for key, value in {
        "precision": "fp16",
        "batch_norm_groups": 2,
        "checkpoint_activations": True,
    }.items():
        other = plain.model_copy(update={key: value})
        assert find_recorder(optimizer, other, cuda, 1) is None


class Cuda:
    """What a recorder asks of torch.cuda, and what a capture that fails leaves behind."""

    def __init__(self, monkeypatch):
        self.done, self.stream, self.is_capturing, self.mode = [], "own", False, 0
        for name in ("Stream", "CUDAGraph", "graph", "current_stream", "set_stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: self.mode)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", self.set_mode)

    def Stream(self, device):  # noqa: N802
        return f"side of {device}"

    def CUDAGraph(self):  # noqa: N802
        return SimpleNamespace(replay=lambda: self.done.append("replayed"))

    def current_stream(self, device):
        return self.stream

    def set_stream(self, stream):
        self.stream = stream

    @contextmanager
    def graph(self, graph, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        self.stream, self.is_capturing = stream, True
        yield
        self.stream, self.is_capturing = "own", False
        self.done.append(f"captured on {stream}")

    def set_mode(self, mode):
        self.mode = mode
        if mode:
            warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=1)

    def wait(self):
        if self.mode:
            warnings.warn("called a synchronizing CUDA operation (in a file)", stacklevel=1)


def test_a_cuda_graph_is_captured_on_a_stream_of_its_device(monkeypatch):
    cuda = Cuda(monkeypatch)
    CudaRecorder(CPU).record(lambda: cuda.done.append("launched"))()
    assert cuda.done == ["launched", "captured on side of cpu", "replayed"]


def test_a_capture_that_fails_leaves_stream_and_generator_as_they_were(monkeypatch):
    """With dropout, too: a second capture ends well, and sets the generator free."""
    cuda = Cuda(monkeypatch)

    def refuse():
        raise torch.AcceleratorError("operation not permitted when stream is capturing")

    with pytest.raises(torch.AcceleratorError, match="not permitted"):
        CudaRecorder(CPU).record(refuse)
    assert (cuda.stream, cuda.is_capturing) == ("own", False)
    assert cuda.done == ["captured on side of cpu"]


def test_what_waits_for_the_device_is_noticed_and_other_warnings_are_shown(monkeypatch):
    cuda = Cuda(monkeypatch)
    recorder = CudaRecorder(CPU)
    with recorder.watch() as found:
        pass
    assert found == []

    def watch():
        with recorder.watch() as found:
            cuda.wait()
            warnings.warn("another", stacklevel=1)
            cuda.wait()
        return found

    with pytest.warns(UserWarning, match="another") as shown:
        found = watch()
    assert found == ["called a synchronizing CUDA operation"] * 2
    assert len(shown) == 1
    assert cuda.mode == 0
    cuda.mode = 2
    with recorder.watch():
        assert cuda.mode == 2  # what somebody has asked for stays
    assert cuda.mode == 2


def test_the_loss_of_a_step_is_its_own(monkeypatch):
    weight = torch.ones((), requires_grad=True)

    def step(batches):
        return sum((F.relu(images).sum() * weight).detach() for images, _ in batches)

    replay = Replay(step, Tape())
    losses = [replay(iter([(torch.full((2,), float(i)), torch.zeros(1))])) for i in range(6)]
    assert [float(loss) for loss in losses] == [0, 2, 4, 6, 8, 10]
