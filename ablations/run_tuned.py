"""Values chosen before the rest is run: plan, tune, plan.

In: a plan whose variants get their best of some values, what plans it again, how runs are made.
Out: the plan with what was chosen. The store alone says how far that got: an interrupted command
goes on, and another question's runs of the same settings count.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ablations.names import list_names
from bench.text import number_of
from bench.tuning import Tried, Tuning, spell_values

if TYPE_CHECKING:
    from bench.plan import Plan


def tune_first(
    plan: "Plan",
    replan: Callable[[], "Plan"],
    make: Callable[["Plan"], int],
    say: Callable[[str], None],
    *,
    retry_failed: bool = False,
) -> "Plan":
    """Make the runs by which values are chosen, variants before those that start from them.

    Args:
        plan: As the store stands.
        replan: Plans the question again, as the store stands then.
        make: Makes what is missing of a plan; returns how many of its runs are not done.
        say: Told what was chosen, or why nothing is.
        retry_failed: Whether what failed for good is made again, in a choice that was made too.

    Returns:
        The latest plan; `Plan.unsettled` is empty where everything was chosen.
    """
    tuning = plan.tuning
    if tuning is None:
        return plan
    again = retry_failed and any(one.state == "failed" for one in tuning.tried)
    while tuning.open or again:
        before = tuning.open
        make(plan.choosing(again=again))
        plan, again = replan(), False
        assert plan.tuning is not None  # the question is the same
        tuning = plan.tuning
        if tuning.open and tuning.open == before:
            say(_why_not(tuning))
            return plan
        if not tuning.open:
            say(describe_choice(tuning))
    return plan


def describe_choice(tuning: Tuning) -> str:
    """Say what was chosen for each variant, and what that took."""
    told = [f"{name} {spell_values(one.values)}" for name, one in tuning.chosen.items()]
    return f"chosen by split {tuning.split}: {'; '.join(told)} ({tell_budget(tuning.budget)})"


def tell_budget(tried: Iterable[Tried]) -> str:
    """Say how many runs were tried, and what they took, over all of their devices."""
    tried = list(tried)
    known = [one.device_seconds for one in tried if one.device_seconds is not None]
    return number_of(len(tried), "run") + f", {sum(known):.0f} device-seconds" * bool(known)


def _why_not(tuning: Tuning) -> str:
    """Say for which variants nothing could be chosen, and what the next command does."""
    left = [one for one in tuning.tried if one.state == "missing"]
    reasons = dict.fromkeys(f"{one.name}: {one.why}" for one in left if one.why)
    why = f" ({'; '.join(list(reasons)[:3])})" if reasons else ""
    return (
        f"nothing is chosen for {list_names(list(tuning.open))}: {len(left)} of the runs that "
        f"choose did not finish, for reasons that may pass{why}; the same command goes on with them"
    )
