"""Seeds added to undecided claims, look by look: runs are made, claims judged, the look is kept.

In: a question with claims, a store, and how runs are made. Out: the plan of the last look, whose
report tells the verdicts. A look is kept before the next begins: an interrupted command goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Protocol

from ablations.looks import Grow, ask_next, cut_plan, describe_look, order_seeds, why_not
from bench.importing import importing
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.looks import Looks
    from bench.plan import Plan
    from bench.store.runs import Store


class Make(Protocol):
    """How runs are made."""

    def __call__(self, plan: "Plan", *, again: bool) -> int:
        """Make what is missing of a plan; return the number of its runs that are not done.

        `again`: whether the same variants were looked through and spoken of before.
        """


def require_number(until_decided: bool, max_seeds: int | None, only: Sequence[str] | None) -> int:
    """Return the most seeds of each variant that a command asks for.

    Raises:
        InputError: It says one of two options that belong together, or leaves variants out.
    """
    if not until_decided:
        raise InputError(
            f"--max-seeds {max_seeds} says how far --until-decided goes; give both, or write "
            "`seeds:` into the spec"
        )
    if max_seeds is None:
        raise InputError(
            "--until-decided adds seeds up to a number that is known before the first look; give "
            "--max-seeds N, such as --max-seeds 10"
        )
    if only:
        raise InputError(
            "--only leaves variants out, and claims are about all of them; give it or "
            "--until-decided, not both"
        )
    return max_seeds


def begin_looks(plan: "Plan", store: "Store", max_seeds: int) -> "Looks":
    """Return what is known of a question's claims: looks of an earlier command, or none yet.

    Args:
        plan: With the seeds of the question.
        store: Where looks are kept.
        max_seeds: Most seeds of each variant.

    Raises:
        InputError: There is nothing to decide, or too few seeds, or the claims, the margin, the
            seeds or their largest number are not those of earlier looks.
    """
    from bench.looks import FIRST_LOOK, Looks
    from bench.store.looks import digest_question, list_seeds, read_looks
    from reports.stats.sequential import SPENDING

    if not plan.claims:
        raise InputError(
            f"{plan.name} claims nothing that could be decided; write `claims:` into its spec, or "
            "leave --until-decided out"
        )
    if max_seeds < FIRST_LOOK:
        few = "one seed decides nothing, and " if max_seeds == 1 else ""
        raise InputError(
            f"--max-seeds {max_seeds}: {few}the first look is at {FIRST_LOOK} seeds of each "
            f"variant; give {FIRST_LOOK} or more"
        )
    looks = read_looks(store.root, plan)
    if looks is None:
        own = list_seeds(plan)
        seeds = tuple(order_seeds(own, max_seeds))
        return Looks(digest_question(plan), max_seeds, seeds, SPENDING)
    if looks.asked != digest_question(plan):
        raise InputError(f"{plan.name}: {why_not(looks)}")
    if looks.max_seeds != max_seeds:
        raise InputError(
            f"{plan.name} was asked with --max-seeds {looks.max_seeds}, over which its 5 % are "
            f"shared out; {max_seeds} would share them out anew after having looked. Give "
            f"--max-seeds {looks.max_seeds}, or ask under a new name, with seeds that nobody has "
            "looked at"
        )
    return looks


def plan_look(plan: "Plan", looks: "Looks", grow: Grow) -> "tuple[Plan, dict[str, int] | None]":
    """Return the plan of the look that is to be taken, and how many seeds each variant has in it.

    Where none is to be taken, the plan is that of the last, and there are no seeds.

    Raises:
        InputError: A variant cannot be made with a seed that is added.
    """
    whole = grow(looks.seeds)
    seeds = ask_next(whole, looks)
    if seeds is None:
        assert looks.last is not None
        return cut_plan(whole, looks, looks.last.seeds), None
    return cut_plan(whole, looks, seeds), seeds


def run_looks(
    plan: "Plan",
    store: "Store",
    looks: "Looks",
    grow: Grow,
    make: "Make",
    say: Callable[[str], None],
) -> "tuple[Plan, int]":
    """Make the runs of look after look, until all is decided, cannot be, or has all its seeds.

    Args:
        plan: With the seeds of the question.
        store: Where runs and looks are.
        looks: What `begin_looks` returned.
        grow: Expands the question with other seeds.
        make: Makes what is missing of a plan.
        say: Told what each look found.

    Returns:
        The plan of the latest look, and how many runs of it, or of the next, are not done.

    Raises:
        InputError: Another command took looks at the question meanwhile.
    """
    from bench.store.looks import write_looks

    for number in count():
        current, seeds = plan_look(plan, looks, grow)
        num_undone = make(current, again=number > 0)
        if seeds is None:
            say(_sum_up(looks))
            return current, num_undone
        if unfinished := _list_unfinished(current, store):
            say(
                f"look {len(looks.looks) + 1} is not taken: {len(unfinished)} runs did not finish, "
                "for reasons that may pass; the same command goes on with them"
            )
            return _latest(current, looks), num_undone
        with importing():
            from reports.looks import take_look
        look = take_look(current, store, seeds)
        looks = replace(looks, looks=(*looks.looks, look))
        write_looks(store.root, plan, looks)
        say(describe_look(look, len(looks.looks)))
    raise AssertionError("a look is the last")


def _latest(current: "Plan", looks: "Looks") -> "Plan":
    """Return the plan of the latest look that was taken; of none, that of the first."""
    return current if looks.last is None else cut_plan(current, looks, looks.last.seeds)


def _list_unfinished(plan: "Plan", store: "Store") -> list[str]:
    """Return the runs that another try may finish: all that are not done, nor failed for good."""
    from bench.grid.controller import DETERMINED
    from bench.store.records import Reason

    for_good = {*DETERMINED, Reason.BLOCKED}
    found = []
    for run in plan.unique_runs():
        failure = store.failure(run.id)
        if store.status(run.id) != "done" and (failure is None or failure.reason not in for_good):
            found.append(run.id)
    return found


def _sum_up(looks: "Looks") -> str:
    """Say why no more seeds are added."""
    last = looks.last
    assert last is not None
    undecided = [digest for digest, word in last.words.items() if word == "undecided"]
    if not undecided:
        return "all claims are decided"
    text = f"undecided: {len(undecided)} of {len(last.words)} claims"
    if last.open:
        text += f", with all of {looks.max_seeds} seeds"
    if hopeless := len(undecided) - len(last.open):
        text += f"; more seeds would not decide {hopeless} of them"
    return f"{text}; the report says what would"
