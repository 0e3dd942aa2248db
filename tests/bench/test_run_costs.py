"""Costs of a run: memory of tensors to the byte, latency with its spread, who else was at work."""

import json
import os

import pytest
import torch
from torch import nn

from bench.run.costs import MIB, count_others, count_peak, measure_costs, measure_step_memory
from bench.run.environment import describe_environment
from bench.store.lease import hold

CPU = torch.device("cpu")


def test_the_peak_is_what_was_alive_at_one_time():
    def work():
        one = torch.empty(3 * MIB, dtype=torch.uint8)
        del one
        two = [torch.empty(MIB, dtype=torch.uint8) for _ in range(2)]
        two.append(torch.empty(MIB // 2, dtype=torch.uint8))

    assert count_peak(work) == pytest.approx(3 * MIB, rel=1e-3)


def test_a_step_takes_weights_gradients_state_and_what_backward_needs():
    """Worked out by hand: a linear layer of 2 MiB, trained with momentum on 1 MiB of inputs."""
    layer = nn.Linear(1024, 512, bias=False)  # 2 MiB
    inputs = torch.ones(256, 1024)  # 1 MiB, there before
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, foreach=False)

    def step():
        optimizer.zero_grad(set_to_none=True)
        layer(inputs).square().sum().backward()
        optimizer.step()

    step()  # the state is there from now on: weights, momentum and the last gradient are 6 MiB
    # The last gradient goes before there is a new one, beside 0.5 MiB each of the output, its
    # square and gradients on the way.
    found = [measure_step_memory(step, layer, optimizer, CPU) for _ in range(2)]
    assert 6 <= found[0] <= 6 + 6 * 0.5
    assert found[0] == pytest.approx(found[1], abs=0.01)


def test_two_networks_that_are_one_have_the_same_memory(tiny_run):
    from bench.run import outcome
    from bench.run.execute import Options, execute

    results = []
    for seed in (0, 1):
        store, run = tiny_run({"seed": seed})
        assert execute(store.run_dir(run.id), Options("cpu", 1)) == outcome.DONE
        results.append(store.result(run.id))
    one, other = (result.step_memory_mib for result in results)
    assert 0.1 < one < 100
    assert one == pytest.approx(other, rel=0.01)
    for result in results:
        low, high = result.latency_quartiles_ms
        assert 0 < low <= result.latency_ms <= high
        assert result.timed_size == (32, 32)
        assert result.timed_beside == 0
        assert result.peak_memory_mib is None  # of earlier versions


def test_latency_has_quartiles_and_the_size_of_its_image():
    counted = iter([0, 3])
    model = nn.Conv2d(3, 4, 3, padding=1)
    costs = measure_costs(model, torch.ones(1, 3, 20, 30), lambda: next(counted))
    assert costs.gmacs == pytest.approx(20 * 30 * 4 * 3 * 9 / 1e9, abs=1e-4)
    low, high = costs.latency_quartiles_ms
    assert 0 < low <= costs.latency_ms <= high
    assert costs.timed_size == (20, 30)
    assert costs.timed_beside == 3
    assert not model.training


def test_other_runs_that_are_at_work_here_are_counted(tiny_run):
    store, run = tiny_run()
    here = describe_environment(CPU)
    folders = [store.root / f"a{k}" / f"a{k}{'0' * 14}" for k in range(4)]
    for folder in folders:
        folder.mkdir(parents=True)
    elsewhere = {**here, "device": "cuda", "gpus": "GPU-1"}
    (folders[1] / "env.json").write_text(json.dumps(elsewhere))
    (folders[2] / "env.json").write_text(json.dumps(here))
    assert count_others(store.root, run.id, here) == 0
    with hold(folders[0]), hold(folders[1]), hold(folders[2]):
        assert count_others(store.root, run.id, here) == 2  # the first has not said where
        assert count_others(store.root, folders[2].name, here) == 1
        assert count_others(store.root, run.id, elsewhere) == 2
        (lease,) = folders[2].glob("lease-*/holder.json")
        holder = json.loads(lease.read_text())
        lease.write_text(json.dumps({**holder, "host": "another", "pid": os.getpid()}))
        assert count_others(store.root, run.id, here) == 1
    assert count_others(store.root, run.id, here) == 0
