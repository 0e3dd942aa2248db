"""Long runs come first, seed by seed, and parents before their children."""

from dataclasses import replace

from pretend import plan_of, run_of

from bench.grid.order import longest_first
from bench.plan import PlannedRun


def variants(plan):
    return [planned.variant for planned in plan.runs]


def test_long_runs_come_first():
    plan = plan_of(run_of(0), run_of(0, "1" * 16), run_of(0, "2" * 16))
    assert variants(longest_first(plan, {"v0": 1.0, "v1": 3.0, "v2": 2.0})) == ["v1", "v2", "v0"]


def test_all_variants_of_a_seed_come_before_the_next_seed():
    plan = plan_of(run_of(5), run_of(5, "1" * 16), run_of(3), run_of(3, "1" * 16))
    ordered = longest_first(plan, {"v0": 1.0, "v1": 2.0, "v2": 1.0, "v3": 9.0})
    assert variants(ordered) == ["v1", "v0", "v3", "v2"]


def test_a_short_run_that_long_ones_wait_for_comes_before_them():
    root = run_of(0)
    child = run_of(0, root.id)
    grandchild = run_of(0, child.id)
    plan = plan_of(root, child, grandchild, run_of(0, "1" * 16))
    ordered = longest_first(plan, {"v0": 0.0, "v1": 0.0, "v2": 5.0, "v3": 4.0})
    assert variants(ordered) == ["v0", "v1", "v2", "v3"]


def test_how_long_is_left_counts_every_image():
    run = run_of(0)
    train = run.spec.train.model_copy(update={"steps": 10, "batch_size": 4, "grad_accum_steps": 3})
    longer = replace(run, spec=run.spec.model_copy(update={"train": train}))
    assert longer.num_images == 120
    plan = replace(plan_of(), runs=(PlannedRun("short", run), PlannedRun("long", longer)))
    assert variants(longest_first(plan, {"short": 2.0, "long": 1.0})) == ["long", "short"]
