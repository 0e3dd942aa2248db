"""Costs are measurements: what differs by less than runs of one network do is not told apart."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_contrasts import make_arm

from reports.stats.contrasts import find_contrasts
from reports.stats.costs import add_costs, describe_timing, find_front, measure_costs


def make_runs(latencies, **more):
    """A frame of runs: by variant, the latency of each seed."""
    rows = [
        {
            "variant": name,
            "seed": seed,
            "status": "done",
            "latency_ms": value,
            "num_parameters": 7.0,
        }
        for name, values in latencies.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**more)


def test_the_spread_is_pooled_over_variants_on_logarithms():
    runs = make_runs({"a": [10.0, 20.0], "b": [5.0, 5.0, 5.0]})
    cost = measure_costs(runs)["latency_ms"]
    assert cost.typical["a"] == pytest.approx(math.sqrt(200))
    assert cost.freedom == 3
    assert cost.spread**2 == pytest.approx(2 * (math.log(2) / 2) ** 2 / 3)
    assert (cost.low["a"], cost.high["a"]) == (10, 20)
    quartiles = measure_costs(runs.assign(latency_low_ms=4.0, latency_high_ms=30.0))["latency_ms"]
    assert (quartiles.low["a"], quartiles.high["b"]) == (4, 30)


def test_two_variants_are_apart_where_a_t_test_of_logarithms_says_so():
    rng = np.random.default_rng(0)
    agreed = []
    for shift in np.linspace(0, 1, 30):
        values = {"a": np.exp(rng.normal(0, 0.2, 5)), "b": np.exp(rng.normal(shift, 0.2, 5))}
        cost = measure_costs(make_runs(values))["latency_ms"]
        p = stats.ttest_ind(np.log(values["a"]), np.log(values["b"])).pvalue
        assert cost.are_apart("a", "b") == (p < 0.05)
        agreed.append(p < 0.05)
    assert 0 < sum(agreed) < 30


def test_runs_of_one_network_tie_in_nearly_every_table():
    """A/A: twelve variants that are one network, three runs each; any pair apart is false."""
    rng = np.random.default_rng(1)
    names = [f"v{k}" for k in range(12)]
    false = 0
    for _ in range(200):
        cost = measure_costs(make_runs({n: np.exp(rng.normal(0, 0.3, 3)) for n in names}))
        one = cost["latency_ms"]
        false += any(one.are_apart(a, b) for a in names for b in names if a < b)
    assert false / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


def test_one_run_each_is_never_told_apart_by_time_but_by_what_is_counted():
    runs = make_runs({"a": [1.0], "b": [50.0]}).assign(
        num_parameters=[5.0, 6.0], step_memory_mib=[100.0, 100.5]
    )
    costs = measure_costs(runs)
    assert not costs["latency_ms"].are_apart("a", "b")
    assert costs["num_parameters"].are_apart("a", "b")
    assert not costs["step_memory_mib"].are_apart("a", "b")
    summary = add_costs(pd.DataFrame({"variant": ["a", "b"]}), costs, "a").set_index("variant")
    assert summary.loc["b", "latency_ms_ratio"] == pytest.approx(50)
    assert not summary.loc["b", "latency_ms_apart"]
    assert summary.loc["b", "num_parameters_apart"]


def test_a_front_is_what_nothing_beats_beyond_the_spread():
    arms = {
        "cheap": make_arm([0.500, 0.502, 0.499]),
        "dear": make_arm([0.501, 0.500, 0.503]),
        "good": make_arm([0.600, 0.603, 0.601]),
    }
    findings = find_contrasts(arms)
    means = {name: float(arm.points[:, 2].mean()) for name, arm in arms.items()}
    quick = [1.0, 1.02, 0.99]
    runs = make_runs({"cheap": quick, "dear": [9.0, 9.1, 9.0], "good": [9.1, 9.0, 9.05]})
    cost = measure_costs(runs)["latency_ms"]
    assert find_front(cost, means, findings) == ["cheap", "good"]  # good beats dear, at its cost
    same = measure_costs(make_runs(dict.fromkeys(arms, quick)))["latency_ms"]
    assert find_front(same, means, findings) == ["good"]
    alike = find_contrasts({"a": arms["cheap"], "b": arms["dear"]})
    tied = measure_costs(make_runs({"a": quick, "b": quick}))["latency_ms"]
    assert find_front(tied, {"a": 0.5, "b": 0.501}, alike) == []


def test_one_seed_has_no_front():
    arms = {"a": make_arm([0.1]), "b": make_arm([0.9])}
    cost = measure_costs(make_runs({"a": [9.0], "b": [1.0]}))["latency_ms"]
    assert find_front(cost, {"a": 0.1, "b": 0.9}, find_contrasts(arms)) == []


def test_what_was_timed_and_beside_what_is_said():
    runs = make_runs({"a": [1.0, 2.0]}, timed_size="180x240", timed_beside=[0, 1], threads=1)
    assert describe_timing(runs) == (
        "Latency: median of 30 passes of one image of 180x240 pixels, 1 thread, beside up to 1 "
        "other run of this store on the device."
    )
    assert describe_timing(make_runs({"a": [1.0]})) == ""
    unknown = runs.assign(threads=float("nan"), timed_beside=0)
    assert "of 180x240 pixels, with no other run of this store" in describe_timing(unknown)
