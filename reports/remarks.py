"""What a reader must know before believing a number, as facts and plain sentences.

In: the records of a plan's runs, what they were judged on, the first losses of their logs. Out:
`Remarks`. Nothing is judged by taste: each sentence states what stands in the counts or the log.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.scoring import USUAL, Scoring
from bench.store.records import read_row
from bench.store.runs import Store
from bench.text import clean, number_of, sentence
from reports.marks import Fact, Remarks
from reports.results.frame import Record
from reports.stats.comparability import Comparability, Judged, count_pixels
from reports.stats.outliers import COLLAPSED, Outliers
from reports.style import enumerate_names, label


def find_remarks(
    records: Sequence[Record],
    store: Store,
    comparability: Comparability,
    said: Sequence[str] = (),
    trained: Sequence[str] = (),
    outliers: Outliers | None = None,
    unlearned: Collection[str] | None = None,
    scoring: Scoring = USUAL,
) -> Remarks:
    """Look at all finished runs.

    Args:
        records: Of all planned runs.
        store: Where their logs are.
        comparability: What each variant was judged on.
        said: Sentences on how the plan came about, which come first.
        trained: Sentences on what its runs were trained on.
        outliers: Runs that went another way than their variant's.
        unlearned: What `list_unlearned` gives; None looks.
        scoring: What the question makes of counts.
    """
    unlearned = list_unlearned(records, store) if unlearned is None else unlearned
    runs: dict[tuple[str, int], list[Fact]] = {}
    for record in records:
        variant, seed = record.planned.variant, record.planned.run.spec.seed
        facts = list(_list_facts(record, unlearned, scoring))
        why = (outliers or {}).get(variant, {}).get(seed)
        if why and why != COLLAPSED:  # which the counts say already
            facts.insert(0, (0, f"outlier: {why}"))
        if facts:
            runs[variant, seed] = facts
    judged_on = {} if comparability.holds(comparability.judged) else comparability.describe()
    mean_over = name_means(comparability, scoring.primary)
    general: list[Fact] = [(0, sentence(text)) for text in said]
    general += [(2, sentence(text)) for text in trained]
    general += [
        *_say_apart(judged_on),
        *_say_means(comparability, mean_over, scoring.primary),
        *_list_general(comparability, scoring),
    ]
    return Remarks(general, runs, judged_on, mean_over)


def name_means(comparability: Comparability, score: str) -> dict[str, str]:
    """Name the classes of each variant's mean, unless all are over those that occur and as many."""
    found = {
        variant: sorted(
            (len(classes), enumerate_names(_list_extra(classes, one)))
            for one in judged
            for classes in comparability.counted[variant].get(score, ())
        )
        for variant, judged in comparability.judged.items()
    }
    if len({mean for means in found.values() for mean in means}) < 2 and not any(
        extra for means in found.values() for _, extra in means
    ):
        return {}
    return {
        variant: " or ".join(
            number_of(count, "class") + (f" with {extra}" if extra else "")
            for count, extra in means
        )
        for variant, means in found.items()
        if means
    }


def _list_facts(record: Record, unlearned: Collection[str], scoring: Scoring) -> Iterator[Fact]:
    """Yield what the counts and the log of a run say that its scores do not."""
    limit = record.planned.run.spec.data.limit_images
    if limit is not None:
        yield 0, f"trial: no more than {number_of(limit, 'image')} of each split were used"
    result = record.result
    if result is None:
        return
    maps = [("", result.class_names, result.confusion)]
    maps += [
        (f" of {clean(name)}", other["class_names"], other["confusion"])
        for name, other in result.others.items()
    ]
    for of, class_names, confusion in maps:
        in_target, in_pred = count_pixels(confusion)
        names = [clean(name) for name in class_names]
        predicted = np.flatnonzero(in_pred)
        missed = np.flatnonzero((in_target > 0) & (in_pred == 0))
        extra = np.flatnonzero((in_target == 0) & (in_pred > 0))
        if len(predicted) == 1:
            yield 0, f"collapsed: every labelled pixel{of} is called {names[predicted[0]]}"
        elif len(missed) and len(predicted):
            they = "it occurs" if len(missed) == 1 else "they occur"
            shown = enumerate_names(names[i] for i in missed)
            yield 2, f"never predicted though {they}{of}: {shown}"
        if len(extra):
            count = int(in_pred[extra].sum())
            shown = enumerate_names(names[i] for i in extra)
            where = f"{number_of(count, 'pixel')}{of} {'is' if count == 1 else 'are'} called"
            weighs = _weigh(extra, in_target + in_pred, class_names, scoring)
            yield 1, f"{where} {shown}, which no label says{weighs}"
    if result.run_id in unlearned:
        yield 0, "the loss is 0 from the first step to the last: no labelled pixel was seen"


def _weigh(
    extra: NDArray[np.intp], pixels: NDArray[np.int64], class_names: Sequence[str], scoring: Scoring
) -> str:
    """Say what classes that are predicted alone do to a mean, if they enter it."""
    judged = ~np.isin(class_names, scoring.exclude_classes)
    if scoring.absent == "leave_out" or not judged[extra].any():
        return ""
    counted = judged if scoring.absent == "zero" else judged & (pixels > 0)
    return f": 0 in a mean over {number_of(int(np.count_nonzero(counted)), 'class')}"


def list_unlearned(records: Sequence[Record], store: Store) -> tuple[str, ...]:
    """List the finished runs whose loss was 0 throughout; reads the first line of each log."""
    ids = dict.fromkeys(record.result.run_id for record in records if record.result is not None)
    return tuple(run_id for run_id in ids if _learned_nothing(store, run_id))


def _learned_nothing(store: Store, run_id: str) -> bool:
    """Say whether every logged loss is exactly 0, as it is where all labels are ignored."""
    try:
        with (store.run_dir(run_id) / "metrics.jsonl").open("rb") as log:
            # Of nearly all logs, one line is read.
            return _read_loss(log.readline()) == 0 and all(
                _read_loss(line) in (0, None) for line in log
            )
    except OSError:  # gone
        return False


def _read_loss(line: bytes) -> float | None:
    """Return the loss of a row of a log; None of one that holds a score, or was cut."""
    row = read_row(line) if line.endswith(b"\n") else None
    return row["loss"] if row is not None and "loss" in row else None


def _say_apart(judged_on: Mapping[str, str]) -> Iterator[Fact]:
    """Say who was judged on what, if not all on the same."""
    groups: dict[str, list[str]] = {}
    for variant, text in judged_on.items():
        groups.setdefault(text, []).append(clean(variant))
    if groups:
        parts = [f"{enumerate_names(names)} on {clean(text)}" for text, names in groups.items()]
        yield (
            0,
            f"The variants were not judged alike: {'; '.join(parts)}. Scores on different images, "
            "labels or classes are neither ranked nor subtracted.",
        )


def _list_general(comparability: Comparability, scoring: Scoring) -> Iterator[Fact]:
    """Yield what is to say of each set of images that judged: labels and classes that lack."""
    ones = {one: None for found in comparability.judged.values() for one in found}
    for one in ones:
        place, images = clean(one.place), number_of(one.num_evaluated, "image")
        without = one.num_evaluated - one.num_images
        if not one.present:
            lack = f"none of its {images} has a labelled pixel, so there is no score."
            yield 0, f"Nothing was counted on {place}: {lack}"
            continue
        yield from _say_absent(one, place, scoring)
        if without:
            lack = f"{'has' if without == 1 else 'have'} no labelled pixel"
            yield 2, f"{without} of {images} of {place} {lack}: n = {one.num_images}."


def _say_absent(one: Judged, place: str, scoring: Scoring) -> Iterator[Fact]:
    names = [clean(name) for name in one.class_names]
    judged = [i for i, n in enumerate(one.class_names) if n not in scoring.exclude_classes]
    absent = [names[i] for i in judged if i not in one.present]
    if not absent:
        return
    have, they = ("has", "it is") if len(absent) == 1 else ("have", "they are")
    told = {
        "zero": "0 in the means, as the question asks",
        "leave_out": f"left out of the means, also where {they} predicted, as the question asks",
    }.get(scoring.absent or "", f"left out of the means, but 0 where {they} predicted")
    text = f"{enumerate_names(absent)} {have} no pixel in the labels of {place}: {told}."
    left = [names[i] for i in judged if i in one.present]
    is_alone = len(left) == 1 and scoring.absent != "zero"
    if is_alone:
        text += f" Only {left[0]} is left: to say it everywhere scores 100 %."
    yield 0 if is_alone else 1, text


def _list_extra(classes: Sequence[int], one: Judged) -> list[str]:
    return [clean(one.class_names[i]) for i in classes if i not in one.present]


def _say_means(
    comparability: Comparability, mean_over: Mapping[str, str], score: str
) -> Iterator[Fact]:
    """Say whose means are over which classes, for each set of images where they differ."""
    groups: dict[frozenset[Judged], dict[str, list[str]]] = {}
    for variant, text in mean_over.items():
        group = groups.setdefault(comparability.judged[variant], {})
        group.setdefault(text, []).append(variant)
    for group in groups.values():
        if comparability.holds([name for names in group.values() for name in names], score):
            continue
        parts = [
            f"over {text} for {enumerate_names(map(clean, who))}" for text, who in group.items()
        ]
        yield (
            0,
            f"{label(score)} is a mean {'; '.join(parts)}. By means over different classes nothing "
            "is ranked or subtracted; by pixel accuracy, mean accuracy and f.w. IoU it is.",
        )
