"""What a score is to be read with: facts of labels and splits, in sentences, from packs alone.

In: a pack, or a plan and its packs. Out: remarks, a sentence each; or an `InputError` where no
score could be right. Free of torch: commands say them before anything is trained, reports too.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.data.draws import Draw
from bench.data.labels import Labels, name_some, shared_remark
from bench.data.layers import COLOUR
from bench.data.overlap import find_leak, shared_images
from bench.data.packs.pack import Pack, open_pack
from bench.data.problems import join_problems
from bench.data.roles import with_drawn
from bench.plan import Plan, PlannedRun, Run
from bench.text import number_of
from fcn.errors import InputError


@dataclass(frozen=True)
class Use:
    """What a run makes of splits."""

    fingerprint: str
    """Of its data."""
    data: str
    """Name and options of its dataset."""
    targets: tuple[str, ...]
    """Targets."""
    trained: tuple[tuple[str, str, Draw], ...]
    """Fingerprint and split that it is trained on, and what is drawn of it; and those of the runs
    that it starts from."""
    split: str
    """Split that judges."""
    draw: Draw
    """What is drawn of the split that it is trained on itself, of which a fold may judge."""
    watched: str | None
    """Split that is scored along the way."""
    accepted: tuple[str, ...]
    """Names of images that may be in both."""

    @property
    def trained_here(self) -> set[str]:
        """Splits of its own data that are trained on."""
        return {split for print_, split, _ in self.trained if print_ == self.fingerprint}

    @property
    def judges(self) -> dict[str, str]:
        """Splits that judge and watch, by the setting that names them."""
        watched = {} if self.watched is None else {"evaluate.eval_split": self.watched}
        return {"evaluate.split": self.split, **watched}


def remarks(
    pack: Pack, trained: Collection[str] | None = None, judged: Collection[str] | None = None
) -> list[str]:
    """Say what scores over a pack's chosen targets are to be read with.

    Args:
        pack: Decoded images.
        trained: Splits that are trained on.
        judged: Splits that judge or watch; with both None all splits are looked at, and the images
            that they have in common.
    """
    found = [text for labels in labels_of(pack) for text in labels.remarks(trained, judged)]
    if trained is None and judged is None:
        pairs = itertools.combinations(pack.splits, 2)
        found += shared_remark(
            {(a, b): sum(1 for _ in shared_images((pack, a), (pack, b))) for a, b in pairs}
        )
    return found


def stored_packs(plan: Plan, packs_dir: Path) -> dict[str, Pack]:
    """Open those packs of a plan that are in a store, by fingerprint."""
    packs = {}
    for fingerprint in dict.fromkeys(planned.run.fingerprint for planned in plan.runs):
        with suppress(InputError):
            packs[fingerprint] = open_pack(packs_dir, fingerprint)
    return packs


def plan_remarks(plan: Plan, packs: Mapping[str, Pack], *, scored: bool = False) -> list[str]:
    """Say what the scores of a plan are to be read with.

    Args:
        plan: What is to be run, or was.
        packs: Its packs by fingerprint; of data without one nothing is said.
        scored: Whether counts say what there is to say of the splits that judge.
    """
    found = dict.fromkeys(_remarks_on_runs(plan, packs))
    found |= dict.fromkeys(_remarks_on_draws(plan, packs, scored=scored))
    uses = [use for use in uses_of(plan) if use.fingerprint in packs]
    num_datasets = len({use.fingerprint for use in uses})
    for key in dict.fromkeys((use.fingerprint, use.targets) for use in uses):
        of_key = [use for use in uses if (use.fingerprint, use.targets) == key]
        trained = {split for use in of_key for split in use.trained_here}
        judged = {split for use in of_key for split in use.judges.values() if not scored}
        pack = packs[key[0]].choose((COLOUR.name,), key[1])
        where = f"{of_key[0].data}: " if num_datasets > 1 else ""
        found |= dict.fromkeys(where + text for text in remarks(pack, trained, judged))
    for use in uses:
        for leak, kept in _leaks(use, packs):
            if kept:
                number = f"trained on, and judging too: {number_of(len(kept), 'image')}"
                found[f"{number}, which data.duplicates allows: {name_some(kept)}"] = None
            if leak:
                found[leak] = None
    return list(found)


def _remarks_on_runs(plan: Plan, packs: Mapping[str, Pack]) -> Iterator[str]:
    """Say which variants are one run, and whose batches have images more than once."""
    for names in plan.doubles:
        yield f"variants {' and '.join(names)} are one run: the same run under {len(names)} names"
    large: dict[str, list[str]] = {}
    for planned in plan.runs:
        train, pack = planned.run.spec.train, packs.get(planned.run.fingerprint)
        draw = Draw.of(planned.run.spec.data)
        number = draw.size(len(pack.indices(train.split))) if pack else train.batch_size
        if train.steps and train.batch_size > number:
            text = (
                f"train.batch_size {train.batch_size} is more than the "
                f"{number_of(number, 'image')} of split {train.split}: "
                "a batch has images more than once"
            )
            large.setdefault(text, []).append(planned.variant)
    for text, variants in large.items():
        yield f"{text} (variants {', '.join(dict.fromkeys(variants))})"


def _remarks_on_draws(plan: Plan, packs: Mapping[str, Pack], *, scored: bool) -> Iterator[str]:
    """Say which classes of a split are not in the share or the folds that are drawn of it."""
    drawn: dict[tuple[str, tuple[str, ...], str, Draw], dict[str, None]] = {}
    for planned in plan.runs:
        run, spec = planned.run, planned.run.spec
        key = run.fingerprint, spec.data.targets, spec.train.split, Draw.of(spec.data)
        if run.fingerprint in packs and not key[-1].is_whole:
            drawn.setdefault(key, {})[planned.variant] = None
    said: dict[str, dict[str, None]] = {}
    for (fingerprint, targets, split, draw), variants in drawn.items():
        whole = packs[fingerprint].choose((COLOUR.name,), targets).limited(draw.limit)
        parts = [(with_drawn(whole, split, draw), "trained on", "cannot be learned from it")]
        if draw.folds is not None and not scored:
            fold = with_drawn(whole, split, draw, judges=True)
            parts.append((fold, f"fold {draw.fold} of {draw.folds}", "is not judged by it"))
        for part, name, so in parts:
            counts = zip(whole.class_names, whole.class_counts(split), strict=True)
            own = part.class_counts(split)
            absent = [
                one for (one, there), here in zip(counts, own, strict=True) if there and not here
            ]
            if absent:
                text = (
                    f"what of split {split!r} is {name} has no pixel of class {name_some(absent)}"
                )
                said.setdefault(f"{text}, which {so}", {}).update(variants)
    for text, own_variants in said.items():
        yield f"{text} (variants {', '.join(own_variants)})"


def require_meaning(use: Use, packs: Mapping[str, Pack]) -> None:
    """Refuse a use of splits whose scores could not be right.

    Args:
        use: Of a run.
        packs: Packs by fingerprint.

    Raises:
        InputError: A split that trains or judges has no labelled pixel, all labels are one value,
            or images that judge are trained on.
    """
    pack = packs[use.fingerprint].choose((COLOUR.name,), use.targets)
    used = dict.fromkeys([*sorted(use.trained_here), *use.judges.values()])
    faults = [text for labels in labels_of(pack) for text in labels.faults(used)]
    faults = faults or [leak for leak, _ in _leaks(use, packs) if leak]
    if faults:
        raise InputError(join_problems(list(dict.fromkeys(faults))))


def uses_of(plan: Plan) -> dict[Use, PlannedRun]:
    """Return each use that a plan makes of splits once, with the first run that makes it."""
    runs = {planned.run.id: planned.run for planned in plan.runs}
    uses: dict[Use, PlannedRun] = {}
    for planned in plan.runs:
        spec = planned.run.spec
        evaluate = spec.evaluate
        use = Use(
            planned.run.fingerprint,
            " ".join([spec.data.dataset, *(f"{k}={v}" for k, v in spec.data.options.items())]),
            spec.data.targets,
            tuple(sorted(_trained(planned.run, runs), key=repr)),
            evaluate.split,
            Draw.of(spec.data),
            evaluate.eval_split if evaluate.eval_every else None,
            spec.data.duplicates,
        )
        uses.setdefault(use, planned)
    return uses


def labels_of(pack: Pack) -> list[Labels]:
    """Return the counts of a pack's chosen targets, from its index."""
    found = []
    for number, target in enumerate(pack.targets):
        counts = {split: pack.image_class_counts(split, target.name) for split in pack.splits}
        sizes = {
            split: [height * width for height, width in map(pack.size, pack.indices(split))]
            for split in pack.splits
        }
        ignored = {split: sizes[split] - counts[split].sum(1) for split in pack.splits}
        where = f"target {target.name!r}: " if number else ""
        found.append(Labels(target.class_names, target.ignore_index, counts, ignored, where))
    return found


def _trained(run: Run, runs: Mapping[str, Run]) -> set[tuple[str, str, Draw]]:
    """Return data and split of a run and of all that it starts from, and what is drawn of it."""
    found = {(run.fingerprint, run.spec.train.split, Draw.of(run.spec.data))}
    for parent in run.parents:
        if parent in runs:
            found |= _trained(runs[parent], runs)
    return found


def _leaks(use: Use, packs: Mapping[str, Pack]) -> Iterator[tuple[str | None, list[str]]]:
    """Look for images that judge and are trained on, at each pair of splits.

    A split that is trained on may be watched under its own name: that is a curve of training.
    """
    own = packs[use.fingerprint]
    for (key, judge), (fingerprint, split, draw) in itertools.product(
        use.judges.items(), use.trained
    ):
        is_one = (fingerprint, split) == (use.fingerprint, judge)
        if fingerprint in packs and not (is_one and key == "evaluate.eval_split"):
            trained = with_drawn(packs[fingerprint], split, draw), split
            is_parted = judge == use.split  # where there are folds, that is the split they are of
            fold = with_drawn(own, judge, use.draw, judges=True) if is_parted else own
            yield find_leak(trained, (fold, judge), key, use.accepted)
