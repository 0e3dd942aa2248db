"""`fcn-bench check --models SPEC...`: every network of several questions, without data or weights.

In: names of specs. Out: what each variant costs and takes, and which data and weights its runs will
want, with where to get them. Networks are built on the meta device; a step of a few is timed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ablations.planning import keep_only, load_spec
from ablations.wanted import Want, data_wanted, weights_wanted
from bench.durations import spell_duration
from bench.importing import importing
from bench.text import number_of
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.data.facts import DatasetFacts
    from bench.data.outlines import Outline
    from bench.grid.building import ModelCost
    from bench.grid.pace import Pace
    from bench.grid.slots import Slot
    from bench.plan import Plan
    from bench.spec import DataSpec


@dataclass(frozen=True)
class Checked:
    """A question whose networks can all be built."""

    plan: "Plan"
    """Its ids stand for no runs: the data are not known."""
    costs: "Mapping[str, ModelCost]"
    """By variant, at the size of its training images."""
    paces: "Mapping[str, Pace]"
    """By variant; empty where nothing was timed."""

    def rows(self, *, as_json: bool) -> list[dict[str, Any]]:
        """Return a row for each variant; durations in seconds for programs, in words for people."""
        rows = []
        for variant in self.plan.variants:
            own = [one.run for one in self.plan.runs if one.variant == variant]
            cost, pace = self.costs[variant], self.paces.get(variant)
            seconds = None if pace is None else round(pace.seconds, 1)
            said = None if pace is None else spell_duration(pace.seconds)
            rows.append(
                {
                    "ablation": self.plan.name,
                    "variant": variant,
                    "seeds": len(own),
                    "steps": own[0].spec.train.steps,
                    "images": own[0].num_images,
                    "parameters": cost.num_parameters,
                    "GMACs": round(cost.gmacs, 3),
                    "at": "x".join(map(str, cost.size)),
                    **({"seconds": seconds} if as_json else {"takes": said}),
                }
            )
        return rows


def check_specs(
    specs: Sequence[str],
    settings: Sequence[str] | None,
    only: Sequence[str] | None,
    places: "Sequence[Slot]",
    seconds: float,
) -> tuple[list[Checked], list[Want]]:
    """Build every network of some questions, and time a step of a few.

    Args:
        specs: Names or paths.
        settings: Texts `key=value` on top of each.
        only: Variants to keep of each, or all.
        places: Where runs would be made.
        seconds: After which no further step is timed, over all questions together.

    Returns:
        Each question in its order, and what their runs will want.

    Raises:
        InputError: A spec is wrong, a variant is impossible, or a data set is not known without its
            files.
    """
    from bench.settings.yaml_file import parse_setting

    given = dict(parse_setting(setting, option="--set") for setting in settings or ())
    outlines = _Outlines()
    plans = [_plan(spec, given, settings or (), only, outlines) for spec in specs]
    costs = [_costs(plan, outlines) for plan in plans]
    paces = _paces(plans, costs, outlines, places, seconds)
    checked = [Checked(*one) for one in zip(plans, costs, paces, strict=True)]
    return checked, [*data_wanted(plans, outlines.known), *weights_wanted(plans)]


class _Outlines:
    """Outlines of data sets as they are asked for."""

    def __init__(self) -> None:
        self.known: dict[str, Outline] = {}
        """By fingerprint, which stands for no files."""
        self._facts: dict[str, DatasetFacts] = {}

    def facts(self, data: "DataSpec") -> "DatasetFacts":
        """Return the facts of a data set.

        Raises:
            InputError: It is not known without its files.
        """
        from bench.data.catalog import key_of
        from bench.data.outlines import outline_facts

        key = key_of(data)
        if key not in self._facts:
            outline = _outline(data)
            self._facts[key] = outline_facts(data, outline)
            self.known[self._facts[key].fingerprint] = outline
        return self._facts[key]


def _outline(data: "DataSpec") -> "Outline":
    """Return what is published of a data set, or what it says itself where it needs no folder."""
    from bench.data.outlines import OUTLINES, find_outline, outline_of
    from bench.data.registry import DATASETS, open_dataset

    if data.dataset in DATASETS and data.dataset not in OUTLINES:
        try:
            return outline_of(open_dataset(data, None))
        except InputError:
            return find_outline(data)  # which says what else can be done
    _ = DATASETS[data.dataset]
    return find_outline(data)


def _plan(
    spec: str,
    given: Mapping[str, Any],
    settings: Sequence[str],
    only: Sequence[str] | None,
    outlines: _Outlines,
) -> "Plan":
    import tempfile
    from pathlib import Path

    from ablations.expand import expand
    from ablations.plan_listing import list_all
    from ablations.tuning import plan_tuned
    from bench.store.runs import Store
    from reports.stats.asked import resolve_claims

    ablation = load_spec(spec, given, settings)
    over = partial(
        expand, facts_of=outlines.facts, sources_of=lambda spec: {}, command=f"check {spec}"
    )
    with tempfile.TemporaryDirectory() as nothing:
        plan = plan_tuned(ablation, Store(Path(nothing)), over)
    if ablation.written is ablation:
        resolve_claims(plan)
    return list_all(keep_only(plan, only) if only else plan)


def _costs(plan: "Plan", outlines: _Outlines) -> "dict[str, ModelCost]":
    """Build and try each variant, at the size of the images that it will be trained on."""
    with importing():
        from bench.data.augment import scaled_size
        from bench.grid.building import count_cost, try_training
        from bench.grid.preflight import check_models, naming
    facts = {one.run.fingerprint: outlines.facts(one.run.spec.data) for one in plan.runs}
    check_models(plan, facts)
    costs = {}
    for planned in plan.first_seeds():
        spec, print_ = planned.run.spec, planned.run.fingerprint
        options = facts[print_].network_options(spec.data)
        whole = scaled_size(outlines.known[print_].size, spec.data.input_scale)
        with naming(plan, planned):
            costs[planned.variant] = count_cost(spec.model, options, spec.train.crop or whole)
            try_training(spec.model, options, spec.train.crop or whole, spec.train)
    return costs


def _paces(
    plans: "Sequence[Plan]",
    costs: "Sequence[Mapping[str, ModelCost]]",
    outlines: _Outlines,
    places: "Sequence[Slot]",
    seconds: float,
) -> "list[Mapping[str, Pace]]":
    """Time steps over all questions together: one that is timed tells of its like in the others."""
    import tempfile
    from pathlib import Path

    from bench.data.packs.imagined import ImaginedPack
    from bench.grid.timing import find_paces
    from bench.store.runs import Store

    if seconds <= 0:
        return [{} for _ in plans]
    packs = {
        print_: ImaginedPack(
            print_, o.num_images, o.size, o.num_classes, o.more_inputs, o.more_targets
        )
        for print_, o in outlines.known.items()
    }
    runs = [
        replace(one, variant=f"{k} {one.variant}")
        for k, plan in enumerate(plans)
        for one in plan.runs
    ]
    known = {f"{k} {name}": cost for k, own in enumerate(costs) for name, cost in own.items()}
    together = replace(plans[0], runs=tuple(runs), claims=(), baseline=None, published=())
    with tempfile.TemporaryDirectory() as folder:  # a store that knows no past runs
        paces = find_paces(together, Store(Path(folder)), packs, known, places[0], seconds)
    return [
        {name: paces[f"{k} {name}"] for name in plan.variants if f"{k} {name}" in paces}
        for k, plan in enumerate(plans)
    ]


def sum_up(checked: Checked, places: "Sequence[Slot]") -> str:
    """Say in a line how many runs a question asks for, and how long they take."""
    runs = {one.run.id: one.variant for one in checked.plan.runs}
    text = f"{checked.plan.name}: {number_of(len(runs), 'run')}"
    if any(name not in checked.paces for name in runs.values()):
        return text
    own = [checked.paces[name].seconds for name in runs.values()]
    together = min(len(places), len(own))
    took = spell_duration(max(max(own), sum(own) / together))
    beside = f", {together} at a time" if together > 1 else ""
    return f"{text}, about {took} on {places[0].device}{beside} (by a timed step)"
