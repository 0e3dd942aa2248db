"""From a spec's name to a plan, over the data at hand or that a store remembers.

In: a name or path, settings on top of it, a store. Out: a `Plan`, and the catalog of its datasets.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablations.looks import Grow, recall_looks
from bench.cli.command import show_remarks
from bench.plugins import named_plugins
from bench.text import clean
from fcn.errors import InputError
from fcn.registry import unknown_name

if TYPE_CHECKING:
    from ablations.spec import Ablation
    from ablations.tuning import Expand
    from bench.claims import Claim
    from bench.data.catalog import Catalog
    from bench.plan import Plan, PlannedRun, Run
    from bench.store.runs import Store

TRIAL_STEPS = 2

LIMIT = "data.limit_images"


def complete_spec(incomplete: str) -> list[str]:
    """Complete the name of an ablation, or the path of a YAML file."""
    from ablations.registry import list_ablations

    head = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    found = [path for ending in ("*.yaml", "*.yml") for path in sorted(head.glob(ending))]
    folders = [path for path in sorted(head.glob("*/")) if not path.name.startswith(".")]
    known = [*list_ablations(), *map(str, found), *(f"{path}/" for path in folders)]
    return [name for name in known if name.startswith(incomplete)]


_SPEC: Any = typer.Argument(
    help="Name of an ablation, or path of a YAML file.", autocompletion=complete_spec
)
Spec = Annotated[str, _SPEC]
Specs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Name of an ablation, or path of a YAML file; with --across several.",
        autocompletion=complete_spec,
    ),
]
SpecsToCheck = Annotated[
    list[str],
    typer.Argument(
        help="Name of an ablation, or path of a YAML file; with --models several.",
        autocompletion=complete_spec,
    ),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value on top of the spec.")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="This variant alone, and those that it starts from; * and ? stand for anything; "
        "repeatable."
    ),
]
LimitImages = Annotated[
    int | None,
    typer.Option(help="For a trial: so many images of each split at most; other runs, with ids "
                 "of their own, marked as a trial.", min=1),
]  # fmt: skip


def plan_spec(
    spec: str,
    store: "Store",
    data: Path | None,
    settings: list[str] | None,
    *,
    recall: bool = False,
    only: Sequence[str] | None = None,
    limit_images: int | None = None,
) -> "tuple[Plan, Catalog]":
    """Load a spec and expand it.

    Args:
        spec: Name or path.
        store: Remembers what the question met before.
        data: Folder of the images, if they are at hand; none for that of a spec's file where a
            `classes.yaml` lies beside it.
        settings: Texts `key=value` on top of the spec.
        recall: Take what the store remembers of the data without looking at the images.
        only: Variants to keep, with those that they start from; None keeps all.
        limit_images: Most images of each split; the plan then has a name of its own.

    Raises:
        InputError: The spec is wrong, a variant is unknown, or its data is not there; or the store
            remembers several data sets for it, and has runs over each.
    """
    ablation, folder = _load(spec, data, settings, recall=recall, limit_images=limit_images)
    plan, catalog = plan_ablation(ablation, store, folder, recall=recall)
    return keep_only(plan, only) if only else plan, catalog


def open_spec(
    spec: str,
    store: "Store",
    data: Path | None,
    settings: list[str] | None,
    *,
    only: Sequence[str] | None = None,
    limit_images: int | None = None,
) -> "Planner":
    """Load a spec that is to be planned more than once; takes and raises what `plan_spec` does."""
    ablation, folder = _load(spec, data, settings, limit_images=limit_images)
    return Planner(ablation, store, folder, only=only)


class Planner:
    """A question whose plan depends on what its store has: planned again as that changes.

    Its data are read once.

    Args:
        ablation: What `load_spec` gave.
        store: Remembers what the question met before, and has its runs.
        data: Folder of the images, if they are at hand.
        only: Variants to keep, with those that they start from; None keeps all.
    """

    def __init__(
        self,
        ablation: "Ablation",
        store: "Store",
        data: Path | None,
        *,
        only: Sequence[str] | None = None,
    ) -> None:
        self._asked = ablation, store, data
        self._only = only
        self._catalog: Catalog | None = None

    @property
    def catalog(self) -> "Catalog":
        """Of its data sets, once it was planned."""
        assert self._catalog is not None
        return self._catalog

    def plan(self) -> "Plan":
        """Expand it, with seeds that its claims have had added, as the store stands now."""
        own, grow = self.plan_own_seeds()
        plan = _recall(own, self._asked[1], grow)
        return keep_only(plan, self._only) if self._only else plan

    def plan_own_seeds(self) -> "tuple[Plan, Grow]":
        """Expand it with the seeds that it names; also return what plans it with others."""
        plan, self._catalog, grow = plan_seeds(*self._asked, catalog=self._catalog)
        return plan, grow


def _load(
    spec: str,
    data: Path | None,
    settings: list[str] | None,
    *,
    recall: bool = False,
    limit_images: int | None = None,
) -> "tuple[Ablation, Path | None]":
    """Load a spec with all that a command says of it, and find the folder of its images."""
    from ablations.expand import list_unused_values
    from bench.settings.yaml_file import parse_setting

    settings = [*(settings or ()), *([f"{LIMIT}={limit_images}"] if limit_images else [])]
    given = dict(parse_setting(setting, option="--set") for setting in settings)
    if data is None and not recall and spec.endswith((".yaml", ".yml")):
        beside = Path(spec).parent  # as `fcn-bench init` writes them
        data = beside if (beside / "classes.yaml").is_file() else None
    ablation = load_spec(spec, given, settings)
    if limit_images:
        ablation = ablation.model_copy(update={"name": f"{ablation.name}-trial"})
    show_remarks([*ablation.notices, *list_unused_values(ablation)], as_json=True)
    return ablation, data


def keep_only(plan: "Plan", wanted: Sequence[str]) -> "Plan":
    """Return a plan of some variants, and of those whose weights they start from.

    Args:
        plan: A question's.
        wanted: Names of variants, or patterns such as `alexnet-*`.

    Raises:
        InputError: One of these is no variant's.
    """
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in plan.variants):
            raise InputError(f"--only: {unknown_name('variant', pattern, plan.variants)}")
    from ablations.tuning import keep_tried
    from reports.style import enumerate_names

    runs = {planned.run.id: planned for planned in plan.runs}
    todo = [one for one in plan.runs if any(fnmatchcase(one.variant, name) for name in wanted)]
    kept: dict[str, None] = {}
    while todo:
        planned = todo.pop()
        kept[planned.variant] = None
        todo += [runs[parent] for parent in planned.run.parents if parent in runs]
    left_out = [name for name in plan.variants if name not in kept]
    is_part = bool(left_out)
    said = f"left out (--only): {enumerate_names(left_out)}, with what the question claims of them"
    tuned = keep_tried(plan, kept)
    return replace(
        tuned,
        runs=tuple(one for one in plan.runs if one.variant in kept),
        baseline=plan.baseline if plan.baseline in kept and len(kept) > 1 else None,
        published=tuple(one for one in plan.published if one.variant in kept),
        command=shlex.join(
            [*shlex.split(plan.command), *(w for n in wanted for w in ("--only", n))]
        ),
        claims=tuple(one for one in plan.claims if not is_part or _is_about(one, kept)),
        looks=None if is_part else plan.looks,
        is_part=is_part,
        remarks=(*tuned.remarks, said) if is_part else plan.remarks,
    )


def _is_about(claim: "Claim", variants: Iterable[str]) -> bool:
    """Say whether a claim is of two of these variants; others are of a factor, over all it has."""
    of_factor = claim.every or claim.over or claim.gain
    return not of_factor and {claim.left, claim.right} <= set(variants)


def load_spec(spec: str, given: Mapping[str, Any], settings: Sequence[str]) -> "Ablation":
    """Load a spec with settings on top, which are given as values and as the texts of `--set`.

    Raises:
        InputError: The spec or a setting is wrong.
    """
    from ablations.registry import load_ablation

    words = [spec, *(word for setting in settings for word in ("--set", setting))]
    return load_ablation(spec, given).with_words(words)


def plan_ablation(
    ablation: "Ablation", store: "Store", data: Path | None, *, recall: bool = False
) -> "tuple[Plan, Catalog]":
    """Expand what `load_spec` gave, as its claims have had seeds added; as `plan_spec` does."""
    plan, catalog, grow = plan_seeds(ablation, store, data, recall=recall)
    return _recall(plan, store, grow), catalog


def _recall(plan: "Plan", store: "Store", grow: Grow) -> "Plan":
    """Add the seeds of looks; before everything is chosen there is nothing to look at."""
    return plan if plan.unsettled else recall_looks(plan, store, grow)


def plan_seeds(
    ablation: "Ablation",
    store: "Store",
    data: Path | None,
    *,
    recall: bool = False,
    catalog: "Catalog | None" = None,
) -> "tuple[Plan, Catalog, Grow]":
    """Expand a question with its own seeds; takes and raises what `plan_spec` does.

    `catalog` is of its data sets, where these were read already.

    Returns:
        Its plan, the catalog of its data sets, and what plans it with other seeds.
    """
    from ablations.registry import name_question
    from ablations.tuning import grow_tuned, plan_tuned

    spec, *_ = ablation.words
    question = name_question(spec)
    command = ["fcn-bench", "run", *ablation.words]
    command += [word for plugin in named_plugins() for word in ("--plugin", plugin)]
    command += ["--data", "DIR"] if data else []
    spec_file = str(Path(spec).resolve()) if spec.endswith((".yaml", ".yml")) else ""

    def expand_all(over: "Catalog") -> "Plan":
        plan = plan_tuned(ablation, store, expand_over(over, clean(shlex.join(command))))
        remarks = tuple(map(clean, (*over.notices, *plan.remarks)))
        weights = " --weights WEIGHTS" * any(map(_is_looked_for, plan.runs))
        return replace(
            plan, remarks=remarks, spec_file=spec_file, command=f"{plan.command}{weights}"
        )

    if catalog is None:
        plan, catalog = _find_data(store, question, data, expand_all, recall=recall)
    else:
        plan = expand_all(catalog)
    plan = _require_claims(plan, is_changed=ablation.written is not ablation)
    plan = _add_spread(plan, ablation.spread_of, store)

    def grow(seeds: Sequence[int]) -> "Plan":
        more = ablation.model_copy(update={"seeds": list(seeds)})
        return replace(plan, runs=grow_tuned(more, plan, expand_over(catalog)).runs)

    return plan, catalog, grow


def _is_looked_for(planned: "PlannedRun") -> bool:
    """Say whether a run starts from a file that is looked for in the folder of `--weights`."""
    from fcn.weights_file import names_a_file

    name = planned.run.spec.model.pretrained
    return isinstance(name, str) and names_a_file(name) and Path(name).name == name


def _find_data(
    store: "Store",
    question: str,
    data: Path | None,
    expand_all: "Callable[[Catalog], Plan]",
    *,
    recall: bool,
) -> "tuple[Plan, Catalog]":
    """Expand a question over its data, or over those of what it met that the store has runs of."""
    from bench.data.catalog import Catalog, recall_question

    found = []
    for known in recall_question(store, question, strict=recall):
        catalog = Catalog(store, data, question=question, recall=known, reads_data=not recall)
        found.append((expand_all(catalog), catalog))
        if not recall:
            break
    return _choose(found, store)


def expand_over(catalog: "Catalog", command: str = "") -> "Expand":
    """Return what makes a question concrete over the data of a catalog."""
    from ablations.expand import expand

    return partial(expand, facts_of=catalog.facts, sources_of=catalog.sources, command=command)


def _require_claims(plan: "Plan", *, is_changed: bool) -> "Plan":
    """Refuse claims that cannot be judged, before anything is made.

    Where `--set` changed the question (`is_changed`), claims about what it left out are left out.
    """
    from reports.stats.asked import require_counted

    kept, remarks = [], []
    for claim in plan.claims:
        try:
            require_counted(replace(plan, claims=(claim,)))
        except InputError as error:
            if not is_changed:
                raise
            remarks.append(f"not judged, since --set changed the question: {error}")
        else:
            kept.append(claim)
    return replace(plan, claims=tuple(kept), remarks=(*plan.remarks, *remarks))


def _add_spread(plan: "Plan", spread_of: str | None, store: "Store") -> "Plan":
    """Add the question whose runs tell how far seeds spread; without it, say why it lacks."""
    if spread_of is None:
        return plan
    ablation = load_spec(spread_of, {}, ()).model_copy(update={"spread_of": None})
    try:
        other, _ = plan_ablation(ablation.with_words([spread_of]), store, None, recall=True)
    except InputError as error:
        return replace(plan, remarks=(*plan.remarks, clean(f"spread_of: {error}")))
    return replace(plan, spread_of=other)


def _choose(found: "list[tuple[Plan, Catalog]]", store: "Store") -> "tuple[Plan, Catalog]":
    """Of several things that a question met, the latest first, take what the store has runs of.

    Raises:
        InputError: It has runs over the images of several folders.
    """
    begun = [one for one in found if any(map(store.has, _list_ids(one[0])))]
    chosen, *others = begun or found[:1]
    for plan, catalog in others:
        if catalog.folder != chosen[1].folder and plan.fingerprints != chosen[0].fingerprints:
            raise InputError(
                f"{plan.name} was run over the images of {chosen[1].folder} and of "
                f"{catalog.folder}, and {store.root} has runs of both; say with --data DIR which "
                "of them this is about"
            )
    return chosen


def _list_ids(plan: "Plan") -> list[str]:
    """Return the ids of a plan's runs, and of those by which values are chosen."""
    return [planned.run.id for planned in (*plan.tries, *plan.settled)]


def plan_trial(plan: "Plan") -> "Plan":
    """Return a plan of two steps of every variant of a plan, with its first seed."""
    seed = plan.runs[0].run.spec.seed
    trials: dict[str, Run] = {}
    runs = []
    for planned in plan.runs:
        if planned.run.spec.seed == seed:
            trials[planned.run.id] = trial = _shorten(planned.run, trials)
            runs.append(replace(planned, run=trial))
    return replace(plan, runs=tuple(runs))


def _shorten(run: "Run", trials: "Mapping[str, Run]") -> "Run":
    """Return a run of two steps that starts from the trials of its parents, by their ids.

    Its learning rate is that of the whole run's first steps, warm-up included.
    """
    train = run.spec.train.model_copy(update={"steps": TRIAL_STEPS})
    return replace(
        run,
        spec=run.spec.model_copy(update={"train": train}),
        parent=trials[run.parent].id if run.parent else None,
        streams=tuple(trials[stream].id for stream in run.streams),
    )
