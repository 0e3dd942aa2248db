import dataclasses

import pytest
from streets import finish

from bench.store.runs import Failure
from reports.results.frame import read_records, runs_frame
from reports.tables.provenance import list_facts, list_footnotes


def test_every_run_leads_to_its_making(make_plan, small_store):
    plan = make_plan(["a", "b"], (0, 1), command="fcn-bench run heads")
    result = finish(small_store, plan.runs[0], log=False)
    more = {"commit": "c0ffee", "timm": "1.0.20", "threads": 2}
    note = "resumed inexactly at step 4: threads 1 -> 2"
    environment = {**result.environment, **more}
    small_store.publish(dataclasses.replace(result, environment=environment, notes=(note,)))
    blocked = Failure("blocked", "its parent failed")
    small_store.record_failure(plan.runs[1].run.id, blocked)
    facts = list_facts(plan, read_records(plan, small_store))
    assert {name: len(runs) for name, runs in facts.items()} == {"a": 2, "b": 2}
    first, second = (dict(run.facts) for run in facts["a"])
    run_id = plan.runs[0].run.id
    assert first["run"] == run_id
    assert first["folder in the store"] == f"{run_id[:2]}/{run_id}/"
    assert first["commit"] == "c0ffee"
    assert first["versions"] == "torch 2.11.0, timm 1.0.20"
    assert first["device"] == "cuda, NVIDIA H100, 2 threads"
    assert first["note"] == note
    one = {**environment, "threads": 1}
    small_store.publish(dataclasses.replace(result, environment=one))
    again = list_facts(plan, read_records(plan, small_store))["a"][0]
    assert dict(again.facts)["device"] == "cuda, NVIDIA H100, 1 thread"
    small_store.publish(dataclasses.replace(result, environment=environment, notes=(note,)))
    runs = runs_frame(plan, small_store)
    assert runs.loc[runs["run_id"] == run_id, "reason"].item() == note
    assert first["command"] == "fcn-bench run heads"
    assert second["state"] == "failed (blocked): its parent failed"
    assert dict(facts["b"][0].facts)["state"] == "missing"
    assert facts["b"][1].settings == "model.head: head-1\nseed: 1"


@pytest.mark.parametrize(
    ("key", "values", "device", "is_said"),
    [
        ("device_name", ("EPYC (AVX2)", "EPYC (AVX512)"), "cpu", True),
        ("device_name", ("EPYC (AVX2)", "EPYC (AVX2)"), "cpu", False),
        ("torch", ("2.11.0", "2.12.0"), "cuda", True),
        ("threads", (1, 2), "cpu", True),
        ("threads", (1, 2), "cuda", False),
        ("commit", ("c1", "c2"), "cpu", False),
    ],
)
def test_machines_that_were_mixed_are_said(make_plan, small_store, key, values, device, is_said):
    plan = make_plan(["a", "b"])
    for planned, value in zip(plan.runs, values, strict=True):
        result = finish(small_store, planned, log=False)
        environment = {**result.environment, "device": device, key: value}
        small_store.publish(dataclasses.replace(result, environment=environment))
    notes = list_footnotes(read_records(plan, small_store))
    assert len(notes) == is_said
    assert all(f"{value} (1 run)" in notes[0] for value in values if is_said)
