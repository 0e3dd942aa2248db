"""The paragraphs a paper needs on how its numbers came about: `methods.md`, `methods.tex`.

In: a `Study`. Out: text from plan and records alone, with citations of `references.bib`: no number
is in it that they do not hold, or that is not counted from them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bench.metrics import BOUNDARY_SCORE, SCORES, explain
from bench.plan import Plan
from bench.spec import DataSpec
from bench.store.runs import Result
from bench.text import clean, number_of
from reports.methods.citing import Paragraph, cite, list_cited, to_latex, to_markdown
from reports.methods.references import DATASETS, LIBRARIES, METHOD, SOFTWARE, list_references
from reports.methods.training import tell_training
from reports.results.frame import Record
from reports.results.settings import plain
from reports.stats.contrasts import MAX_LISTED, Findings
from reports.stats.primary import PRIMARY
from reports.stats.summary import list_scores
from reports.study import Study
from reports.style import enumerate_names, label, number_of_points


def write_methods(study: Study) -> dict[str, str]:
    """Return `methods.md`, `methods.tex` and `references.bib` by name."""
    paragraphs = list_paragraphs(study)
    made = [result.environment.get("fcn-bench", "") for result in _results(study)]
    return {
        "methods.md": to_markdown(paragraphs),
        "methods.tex": to_latex(paragraphs),
        "references.bib": list_references(list_cited(paragraphs), sorted(filter(None, set(made)))),
    }


def list_paragraphs(study: Study) -> list[Paragraph]:
    """Tell of data, training, scores, statistics, what was fixed before, and what it took."""
    parts: list[tuple[str, Iterable[str]]] = [
        ("Data", _tell_data(study)),
        ("Networks and training", tell_training(study)),
        ("Scores", _tell_scores(study)),
        ("Statistics", _tell_statistics(study)),
        ("Expectation and claims", _tell_beforehand(study)),
        ("Software and compute", _tell_compute(study)),
    ]
    told = [(title, list(sentences)) for title, sentences in parts]
    return [(title, sentences) for title, sentences in told if sentences]


def _results(study: Study) -> list[Result]:
    """Return the record of each finished run, once."""
    found = {r.result.run_id: r.result for r in study.records if r.result is not None}
    return list(found.values())


def _tell_data(study: Study) -> Iterator[str]:
    seen: dict[tuple[str, str, str, str, str, int], list[Record]] = {}
    for record in study.records:
        spec, fingerprint = record.planned.run.spec, record.planned.run.fingerprint
        options = ", ".join(f"{key} {plain(value)}" for key, value in spec.data.options.items())
        data = f"{spec.data.dataset} ({options})" if options else spec.data.dataset
        splits = spec.train.split, spec.evaluate.split
        place = data, spec.data.dataset, fingerprint, *splits, spec.data.folds or 0
        seen.setdefault(place, []).append(record)
    for (data, name, fingerprint, train, judge, folds), records in seen.items():
        sizes = study.kept.sizes.get(fingerprint, {})
        results = [record.result for record in records if record.result]
        whole = any(_is_whole(record.planned.run.spec.data) for record in records)
        learnt = {one.num_trained for one in results if one.num_trained is not None}
        learnt = learnt or ({sizes[train]} if whole and train in sizes else set())
        judged = {one.num_images for one in results}
        classes = {len(one.class_names) for one in results}
        counted = f" in {_number(classes, 'class')}" if classes else ""
        fold = f", the one of {folds} parts that they did not learn from" * bool(folds)
        yield (
            f"Networks learn from {_span(learnt, 'image')}split {clean(train)} of {clean(data)}"
            f"{cite(*DATASETS[name]) if name in DATASETS else ''}, whose content has the "
            f"fingerprint {fingerprint[:16]}, and are judged on {_span(judged, 'image')}split "
            f"{clean(judge)}{fold}{counted}, each at the size of its own mask; unlabelled pixels "
            "are not counted."
        )


def _is_whole(data: DataSpec) -> bool:
    """Say whether all images of the split are trained on."""
    return data.train_fraction == 1 and data.folds is None and data.limit_images is None


def _span(numbers: Collection[int], what: str) -> str:
    """Write "367 images of ", or "36 to 367 images of " where runs differ; none is not told."""
    return f"{_number(numbers, what)} of " if numbers else ""


def _number(numbers: Collection[int], what: str) -> str:
    least = f"{min(numbers)} to " if len(numbers) > 1 else ""
    return f"{least}{number_of(max(numbers), what)}"


def _tell_scores(study: Study) -> Iterator[str]:
    yield (
        "Pixel accuracy, mean accuracy, mean IoU (mIoU) and frequency-weighted IoU are those of "
        f"Long et al.{cite(METHOD[0])}: one confusion matrix over all pixels of the split; a "
        "class in neither target nor prediction is left out of a mean, one that is predicted but "
        "absent counts as 0."
    )
    scoring = study.plan.scoring
    if told := scoring.describe():
        yield f"Here, other than there: {told[0].lower()}{clean(told[1:])}"
    if scoring.primary != PRIMARY:
        yield f"The score that decides is {label(scoring.primary)}."
    if f"{BOUNDARY_SCORE}_mean" in study.summary:
        yield f"Boundary IoU is that of Cheng et al.{cite('cheng2021boundary')}"
    for score in list_scores(study.summary):
        if score not in (*SCORES, BOUNDARY_SCORE):
            yield f"{label(score)}: {clean(explain(score))}"
    yield "The spread over seeds is the sample standard deviation."


def _tell_statistics(study: Study) -> Iterator[str]:
    intervals = study.intervals
    if not intervals.arms:
        return
    findings = intervals.findings
    has_seeds = intervals.most_seeds > 1
    yield (
        f"Intervals are of 95 %, by {intervals.num_resamples} resamples of the images"
        f"{' and of seeds' * has_seeds}, the same images for all variants, each scored anew from "
        f"its counts{cite('efron1993introduction', *['owen2007pigeonhole'] * has_seeds)}."
    )
    for units in intervals.units.values():
        blocks = ("kunsch1989jackknife", "politis2004automatic", "patton2009correction")
        yield f"Unit of resampling: {units.describe()[:-1]}{cite(*blocks) * (units.length > 1)}."
        if warning := units.warn():
            yield warning
    if not findings.sets:
        one_seed = "One seed says nothing of what training again would give"
        why = "No two variants can be judged together" if has_seeds else one_seed
        yield f"{why}, so nothing is tested."
        return
    yield (
        "Differences are contrasts under one model of error for all variants: score = mean of the "
        "variant + effect of the seed + residual, whose variance is pooled, or the contrast's own "
        "over seeds if that is larger, beside the variance that is due to the choice of images"
        f"{cite('scheffe1959analysis', 'satterthwaite1946approximate')}."
    )
    if any(len(one.model.variances) > 1 for one in findings.sets):
        yield (
            "Seeds move some variants further than others, so spreads are not pooled over all"
            f"{cite('brown1974robust')}."
        )
    yield (
        f"{_tell_family(findings, label(study.primary))}; a difference is called shown "
        "where its interval leaves zero out"
        + (
            f", and equivalent where it lies within {number_of_points(findings.margin)}."
            if findings.margin
            else "."
        )
    )
    if intervals.outliers:
        count = sum(map(len, intervals.outliers.values()))
        yield (
            f"{number_of(count, 'run').capitalize()} (collapsed, or of less than half of the "
            "variant's median mIoU) stayed in all numbers; intervals of differences reach over the "
            "analysis without as well."
        )


def _tell_family(findings: Findings, score: str) -> str:
    """Say which contrasts share 5 %, and by what their intervals hold at once."""
    looks = (
        f" (of which each of {findings.stops} looks that may have ended the seeds has an even "
        "share)"
    ) * (findings.stops > 1)
    if findings.num_contrasts == 1:
        return f"The one contrast of {score}, between two variants, has an error of 5 %{looks}"
    family = (
        f"All {number_of(findings.num_contrasts, 'contrast')} of {score} (pairs of variants, mean "
        f"effects, interactions) are one family with a familywise error of 5 %{looks}: intervals "
        "hold at once, by "
    )
    if findings.num_contrasts > MAX_LISTED:
        return f"{family}sharing it out evenly (Bonferroni)"
    return (
        f"{family}a critical value of {findings.critical:.3f} times each contrast's own reach, "
        f"drawn from the model{cite('hothorn2008simultaneous')}"
    )


def _tell_beforehand(study: Study) -> Iterator[str]:
    plan = study.plan
    if plan.expectation:
        yield f"The question was: {clean(plan.question)} Expected was: {clean(plan.expectation)}"
    if not study.verdicts:
        return
    yield (
        f"{number_of(len(study.verdicts), 'claim')} of the question "
        f"{'is' if len(study.verdicts) == 1 else 'are'} judged with an error of 5 % together"
        f"{_tell_looks(plan)}, by one-sided bounds{cite('berger1982multiparameter')}:"
    )
    told = []
    for verdict in study.verdicts:
        digest = plan.digest(verdict.question.claim)
        when = study.kept.noted.get(digest)
        noted = [f"digest {digest}", f"noted {when}" if when else "", verdict.noted]
        told.append(
            f"{clean(verdict.question.claim)} ({', '.join(filter(None, noted))}): {verdict.word}"
        )
    yield "; ".join(told) + "."


def _tell_looks(plan: Plan) -> str:
    """Say at how many looks claims were judged, where seeds were added between them."""
    if plan.looks is None:
        return ""
    taken = number_of(len(plan.looks.looks), "look")
    return (
        f", over {taken} of {plan.looks.most} that there may be, between which seeds were added to "
        f"what was undecided (spent {plan.looks.spending})"
    )


def _tell_compute(study: Study) -> Iterator[str]:
    results = _results(study)
    if not results:
        return
    made = [dict[str, Any](result.environment) for result in results]

    def name(key: str) -> str:
        return enumerate_names(dict.fromkeys(clean(one[key]) for one in made if one.get(key)))

    libraries = [
        f"{library} {name(library)}{cite(LIBRARIES[library]) if library in LIBRARIES else ''}"
        for library in ("torch", "torchvision", "timm", "numpy", "python")
        if name(library)
    ]
    version, commit = name("fcn-bench"), name("commit")
    software = f"fcn-bench{f' {version}' * bool(version)}{cite(SOFTWARE)}"
    software += f" (commit {commit})" * bool(commit)
    yield f"Runs were made with {enumerate_names([software, *libraries])}."
    devices = [part for part in (name("device_name") or name("device"), name("gpus")) if part]
    number = name("threads")
    threads = f", {number} thread{'s' * (number != '1')} a run" * bool(number)
    on = f", on {'; '.join(devices)}{threads}" if devices else ""
    hours = [_device_hours(results, key) for key in ("train_seconds", "evaluate_seconds")]
    runs = "finished run" if len(results) == 1 else number_of(len(results), "finished run")
    yield (
        f"The {runs} took {hours[0]} device-hours of training "
        f"and {hours[1]} of evaluation{on}; attempts that failed and whatever was tried before are "
        "not in these."
    )


def _device_hours(results: Sequence[Result], key: str) -> str:
    each = [getattr(one, key) * one.environment.get("processes", 1) for one in results]
    return f"{np.sum(each) / 3600:.3g}"
