"""What a page may claim: contrasts of the primary score, judged as one family under one model.

In: arms of variants, and which effects are asked for beyond pairs. Out: `Findings`: for each pair
of variants and each effect its estimate, a simultaneous interval and one of three words. A variant
with one seed has no word: its intervals are of the choice of images, about these trained networks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from bench.metrics import METRICS, find_metric, is_by_image
from reports.stats.effects import Effect, Levels, pair
from reports.stats.family import Verdicts, judge_families, judge_one_of
from reports.stats.folds import average_folds
from reports.stats.model import Contrasts, Model, Scores, t_quantile
from reports.stats.outliers import find_outliers, leave_out
from reports.stats.pairs import Arm, why_no_pairs
from reports.stats.primary import PRIMARY

MAX_LISTED = 20_000
"""Contrasts that are drawn together: all pairs of 200 variants."""
CHUNK = 2_000
"""Pairs of very many that are judged at once."""
UNEQUAL = 0.05
"""Level of the test whether seeds throw variants unequally far (Brown and Forsythe, 1974)."""
GROUP_RATIO = 3.0
"""Ratio of spreads of groups, such as short and long training, from which each has its own."""
MIN_GROUP = 4
"""Degrees of freedom that a group needs to have a spread of its own."""
SHOWN, NOT_SHOWN, EQUIVALENT = "shown", "not shown", "equivalent"


class Finding(NamedTuple):
    """A contrast, in fractions."""

    diff: float
    low: float
    high: float
    """Ends of the interval that decides, simultaneous over the page; of a pair of networks, or of
    another score than the primary, its own."""
    own_low: float
    own_high: float
    """Ends of its own 95 % interval."""
    error: float
    freedom: float
    p: float
    """Adjusted for all contrasts of the page; NaN where there is no word."""
    word: str
    """`SHOWN`, `NOT_SHOWN` or `EQUIVALENT`; empty where one seed gives no verdict."""
    num_seeds: int
    """Seeds that all of its variants have."""
    is_adjusted: bool = False
    """Whether it is not the difference of the means as they are shown, since seeds are missing."""
    reach: float = math.nan
    """Half the length of its own interval, where no bound of fractions cuts it."""
    critical: float = 1.0
    """By how much the interval that decides is longer."""
    without: "Finding | None" = None
    """The same without outliers, where there are any."""


@dataclass(frozen=True)
class VariantSet:
    """Variants that can be compared with one another, under one model."""

    names: Sequence[str]
    arms: Sequence[Arm]
    model: Model
    members: Mapping[str, str] = field(default_factory=dict)
    """Of means over folds: by variant, which of `names` it is in. None where variants are
    themselves what is compared."""

    @cached_property
    def places(self) -> dict[str, int]:
        """Number of each variant, or of the mean over folds that it is in."""
        own = {name: k for k, name in enumerate(self.names)}
        return {one: own[mean] for one, mean in self.members.items()} if self.members else own

    def holds(self, effect: Iterable[str]) -> bool:
        """Say whether an effect, or the variants that are named, are of its variants alone.

        Of means over folds, an effect must have each fold of a mean with the same weight.
        """
        names = list(effect)
        if not all(name in self.places for name in names):
            return False
        if not self.members:
            return True
        weights = effect if isinstance(effect, Mapping) else dict.fromkeys(names, 1.0)
        by_place: dict[int, list[float]] = {}
        for name, place in self.places.items():
            by_place.setdefault(place, []).append(weights.get(name, 0.0))
        return all(max(own) - min(own) < TINY for own in by_place.values())

    def weigh(self, effects: Sequence[Effect]) -> sparse.csr_array:
        """Return the weights of variants, or of means over folds, in each effect, (M, V)."""
        place = self.places
        cells = [(m, place[n], w) for m, one in enumerate(effects) for n, w in one.items()]
        rows, columns, values = zip(*cells, strict=True)
        shape = (len(effects), len(self.names))
        return sparse.csr_array((values, (rows, columns)), shape=shape)


@dataclass(frozen=True)
class Findings:
    """Everything that is found of a grid's primary score, and what other scores differ by."""

    arms: Mapping[str, Arm] = field(default_factory=dict)
    sets: Sequence[VariantSet] = ()
    found: Mapping[frozenset[tuple[str, float]], Finding] = field(default_factory=dict)
    """By contrast, those of the family."""
    critical: float = float("nan")
    """By how much intervals are longer than each contrast's own."""
    num_contrasts: int = 0
    """Contrasts that share 5 %."""
    margin: float | None = None
    notes: Sequence[str] = ()
    without: "Findings | None" = None
    """The same without outliers, where there are any: it can take a word back, and give none."""
    score: str = PRIMARY
    """The score whose contrasts are one family."""

    def compare(self, before: str, after: str, score: str | None = None) -> Finding | None:
        """Return what `after` has more than `before`, of the family's score if none is named.

        None if they cannot be paired.
        """
        score = score or self.score
        found = self.compare_here(before, after, score)
        if found is None or self.without is None or score != self.score:
            return found
        return _reconcile(found, self.without.compare(before, after))

    def compare_here(self, before: str, after: str, score: str | None = None) -> Finding | None:
        """Return the same, whatever is found without outliers."""
        score = score or self.score
        one, other = self.arms.get(before), self.arms.get(after)
        if one is None or other is None or why_no_pairs(one, other):
            return None
        if score not in one.scores or score not in other.scores:
            return None
        if len(one.counted.get(score, frozenset()) | other.counted.get(score, frozenset())) > 1:
            return None  # means over different classes
        if score == self.score and before != after:
            for effect, sign in ((pair(before, after), 1), (pair(after, before), -1)):
                if (found := self.found.get(_key(effect))) is not None:
                    return found if sign > 0 else _turn(found)
            if self.num_contrasts > MAX_LISTED:
                self._judge_of_many([(before, after)])
                if (found := self._judged.get((before, after))) is not None:
                    return found
        return self._judge_alone(before, after, score)

    def prepare(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Judge pairs that will be asked for, all at once: of very many, one by one takes long."""
        if self.num_contrasts > MAX_LISTED:
            self._judge_of_many(list(pairs))
        if self.without is not None:
            self.without.prepare(pairs)

    def effect(self, effect: Effect) -> Finding | None:
        """Return what is found of an effect that was asked for."""
        found = self.found.get(_key(effect))
        if found is None or self.without is None:
            return found
        return _reconcile(found, self.without.effect(effect))

    def _judge_of_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Judge pairs of more contrasts than can be drawn together, and keep what is found."""
        new = [one for one in dict.fromkeys(pairs) if one not in self._judged]
        for one in self.sets:
            own = [names for names in new if one.holds(names) and names[0] != names[1]]
            for first in range(0, len(own), CHUNK):
                part = own[first : first + CHUNK]
                effects = [pair(before, after) for before, after in part]
                verdict = judge_one_of(one.model, one.weigh(effects), self.num_contrasts)
                found = _list_findings(one, effects, verdict, self.margin, self.score)
                self._judged.update(zip(part, found, strict=True))

    @cached_property
    def _judged(self) -> dict[tuple[str, str], Finding]:
        return {}

    def measure(self, effect: Effect, score: str) -> Finding | None:
        """Give an effect its own interval, without a word; None where one model does not hold it.

        For scores beside the primary one: what they say stands in no family.
        """
        key = score, _key(effect)
        if key not in self._measured:
            self._measured[key] = self._measure(effect, score)
        return self._measured[key]

    @cached_property
    def _measured(self) -> dict[tuple[str, object], Finding | None]:
        return {}

    def _measure(self, effect: Effect, score: str) -> Finding | None:
        for one in self.sets_of(score):
            if one.holds(effect):
                contrast = Contrasts(one.model, one.weigh([effect]))
                judged = contrast.judge(one.model.scores.points)
                diff, reach = float(judged.estimate[0]), float(judged.reach[0])
                most = find_range(score)
                ends = max(diff - reach, -most), min(diff + reach, most)
                error, freedom = float(judged.error[0]), float(judged.freedom[0])
                seeds = int(contrast.num_seeds[0])
                shown = one.weigh([effect]) @ np.nanmean(one.model.scores.points, axis=1)
                adjusted = bool(abs(diff - shown[0]) > SAME)
                found = Finding(diff, *ends, *ends, error, freedom, np.nan, "", seeds, adjusted)
                return found._replace(reach=reach)
        return None

    def _judge_alone(self, before: str, after: str, score: str) -> Finding:
        """Give a pair its own interval, without a word: another score, or networks of one seed."""
        found = self.measure(pair(before, after), score)
        return found or _of_networks(self.arms[before], self.arms[after], score)

    def sets_of(self, score: str) -> Sequence[VariantSet]:
        """Return the variants that share a model of a score, set by set."""
        if score not in self._models:
            self._models[score] = list(list_sets(self.arms, score, {}))
        return self._models[score]

    @cached_property
    def _models(self) -> dict[str, Sequence[VariantSet]]:
        return {self.score: self.sets}


def find_contrasts(
    arms: Mapping[str, Arm],
    effects: Iterable[Effect] = (),
    levels: Levels | None = None,
    margin: float | None = None,
    *,
    all_pairs: bool = True,
    score: str = PRIMARY,
) -> Findings:
    """Judge all pairs of variants, and effects, as one family; with outliers, and without.

    Args:
        arms: By variant.
        effects: Further contrasts: main effects, interactions.
        levels: Of each variant by factor: groups that may have spreads of their own.
        margin: The smallest difference that matters, a fraction; None for no equivalence.
        all_pairs: Whether all pairs of variants are judged, or the effects alone.
        score: The score that they are of.
    """
    effects, outliers = list(effects), find_outliers(arms)
    settings = (effects, levels, margin, all_pairs, score)
    found = _find_contrasts(arms, *settings)
    if not outliers:
        return found
    return replace(found, without=_find_contrasts(leave_out(arms, outliers), *settings))


def _reconcile(found: Finding, without: Finding | None) -> Finding:
    """Widen a finding to what is found without outliers too; what nobody can tell spans zero."""
    if not found.word:
        return found._replace(without=without)
    known = without is not None and without.word
    ends = (without.low, without.high) if without is not None and known else (0.0, 0.0)
    low, high = min(found.low, ends[0]), max(found.high, ends[1])
    agrees = without is not None and without.word == found.word and not low <= 0 <= high
    if found.word == EQUIVALENT:
        agrees = without is not None and without.word == EQUIVALENT
    word = found.word if agrees else NOT_SHOWN
    return found._replace(low=low, high=high, word=word, without=without)


def _find_contrasts(
    arms: Mapping[str, Arm],
    effects: Sequence[Effect],
    levels: Levels | None,
    margin: float | None,
    all_pairs: bool,
    score: str,
) -> Findings:
    sets = list(list_sets(arms, score, levels or {}))
    folds = list(list_fold_sets(arms, score, levels or {}))
    num_pairs = sum(len(one.names) * (len(one.names) - 1) // 2 for one in sets) * all_pairs
    if num_pairs + len(effects) > MAX_LISTED:
        return _find_many(arms, sets, folds, effects, num_pairs + len(effects), margin, score)
    listed = {id(one): _list_effects(one, effects, all_pairs=all_pairs) for one in sets}
    listed |= {id(one): _list_effects(one, effects, all_pairs=False) for one in folds}
    sets = [one for one in sets if listed[id(one)]]
    judged = [*sets, *(one for one in folds if listed[id(one)])]
    asked = [listed[id(one)] for one in judged]
    families = [(one.model, one.weigh(found)) for one, found in zip(judged, asked, strict=True)]
    found: dict[frozenset[tuple[str, float]], Finding] = {}
    verdicts = judge_families(families, "")
    for one, own, verdict in zip(judged, asked, verdicts, strict=True):
        listing = _list_findings(one, own, verdict, margin, score)
        found |= {_key(effect): finding for effect, finding in zip(own, listing, strict=True)}
    critical = float(np.max(verdicts[0].critical)) if verdicts else math.nan
    notes = [note for one in sets if (note := _say_spreads(one))]
    return Findings(arms, sets, found, critical, len(found), margin, notes, score=score)


def _find_many(
    arms: Mapping[str, Arm],
    sets: Sequence[VariantSet],
    folds: Sequence[VariantSet],
    effects: Sequence[Effect],
    number: int,
    margin: float | None,
    score: str,
) -> Findings:
    """Judge effects of a grid of very many variants; its pairs are judged as they are asked for."""
    found: dict[frozenset[tuple[str, float]], Finding] = {}
    critical = float("nan")
    for one in (*sets, *folds):
        own = [effect for effect in effects if one.holds(effect)]
        if own:
            verdict = judge_one_of(one.model, one.weigh(own), number)
            critical = float(np.max(verdict.critical))
            findings = _list_findings(one, own, verdict, margin, score)
            found |= {_key(effect): one for effect, one in zip(own, findings, strict=True)}
    notes = [note for one in sets if (note := _say_spreads(one))]
    notes.append(
        f"{number:,} contrasts are too many to be drawn together: their 5 % is shared out evenly, "
        "which makes intervals longer than they need be (Bonferroni)."
    )
    return Findings(arms, sets, found, critical, number, margin, notes, score=score)


def list_sets(arms: Mapping[str, Arm], score: str, levels: Levels) -> Iterable[VariantSet]:
    """Yield the variants of two seeds or more that can be compared with one another."""
    groups: dict[object, list[str]] = {}
    for name, arm in arms.items():
        classes = arm.counted.get(score, frozenset())
        if len(arm.seeds) > 1 and len(classes) < 2 and score in arm.scores:
            groups.setdefault((arm.images, arm.class_names, classes), []).append(name)
    for names in groups.values():
        if len(names) > 1 and arms[names[0]].num_units > 1:
            chosen = [arms[name] for name in names]
            scores = _tabulate(chosen, score)
            model = Model(scores)
            if model.freedom > 0:
                apart = _find_groups(model, names, levels)
                yield VariantSet(names, chosen, model if apart is None else Model(scores, apart))


def list_fold_sets(arms: Mapping[str, Arm], score: str, levels: Levels) -> Iterable[VariantSet]:
    """Yield the means over folds of two seeds or more that can be compared with one another."""
    averaged = average_folds(arms, levels)
    for one in list_sets(averaged.arms, score, averaged.levels):
        own = {name: mean for name, mean in averaged.members.items() if mean in one.names}
        yield replace(one, members=own)


def _tabulate(arms: Sequence[Arm], score: str) -> Scores:
    """Return the scores of arms, variants by seeds."""
    seeds = sorted({seed for arm in arms for seed in arm.seeds})
    num_draws = len(arms[0].draws)
    points = np.full((len(arms), len(seeds)), np.nan)
    draws = np.full((num_draws, len(arms), len(seeds)), np.nan)
    for v, arm in enumerate(arms):
        columns, m = [seeds.index(seed) for seed in arm.seeds], arm.scores.index(score)
        points[v, columns] = arm.points[:, m]
        draws[:, v, columns] = arm.draws[:, :, m]
    return Scores(points, draws, arms[0].num_units)


def _find_groups(model: Model, names: Sequence[str], levels: Levels) -> NDArray[np.intp] | None:
    """Return groups of variants that need spreads of their own; None if all have one."""
    left = model.residuals(model.scores.points)
    degrees = model.present.sum(1) - 1.0
    variances = (left**2).sum(1) / np.maximum(degrees, 1)
    best, ratio = None, GROUP_RATIO
    for of_variant in levels.values():
        kinds = list(dict.fromkeys(of_variant[name] for name in names))
        groups = np.array([kinds.index(of_variant[name]) for name in names])
        df = np.bincount(groups, degrees)
        if len(kinds) < 2 or df.min() < MIN_GROUP:
            continue
        spread = np.sqrt(np.bincount(groups, variances * degrees) / df)
        if spread.max() > ratio * max(spread.min(), 1e-12):
            best, ratio = groups, spread.max() / max(spread.min(), 1e-12)
    if best is not None:
        return best
    samples = [row[here] for row, here in zip(left, model.present, strict=True) if here.sum() > 2]
    varied = len(samples) > 1 and any(np.ptp(sample) for sample in samples)
    if varied and stats.levene(*samples, center="median").pvalue < UNEQUAL:
        return np.arange(len(names))
    return None


def _list_effects(one: VariantSet, effects: Iterable[Effect], *, all_pairs: bool) -> list[Effect]:
    """Return the pairs of a set, if asked for, and the effects that are about it alone."""
    pairs = [
        pair(before, after)
        for k, after in enumerate(one.names if all_pairs else ())
        for before in one.names[:k]
    ]
    known = {_key(one) for one in pairs}
    more = {
        _key(effect): effect
        for effect in effects
        if one.holds(effect) and _key(effect) not in known
    }
    turned = {_key({name: -weight for name, weight in one.items()}) for one in pairs}
    return [*pairs, *(effect for key, effect in more.items() if key not in turned)]


def _list_findings(
    one: VariantSet,
    effects: Sequence[Effect],
    verdict: Verdicts,
    margin: float | None,
    score: str,
) -> Iterable[Finding]:
    weights, most = one.weigh(effects), find_range(score)
    seeds = Contrasts(one.model, weights).num_seeds
    judged = verdict.judged
    critical = np.broadcast_to(verdict.critical, judged.reach.shape)
    far = critical * judged.reach
    shown = weights @ np.nanmean(one.model.scores.points, axis=1)
    for m in range(len(effects)):
        diff, reach, wide = (float(values[m]) for values in (judged.estimate, judged.reach, far))
        # Where nothing spreads, as between copies of one run, nothing is known of the error.
        word = SHOWN if abs(diff) > wide > TINY else NOT_SHOWN
        if margin is not None and abs(diff) + wide <= margin:
            word = EQUIVALENT
        ends = max(diff - wide, -most), min(diff + wide, most)
        own = max(diff - reach, -most), min(diff + reach, most)
        rest = float(judged.error[m]), float(judged.freedom[m]), float(verdict.p[m])
        adjusted = bool(abs(diff - shown[m]) > SAME)
        finding = Finding(diff, *ends, *own, *rest, word, int(seeds[m]), adjusted)
        yield finding._replace(reach=reach, critical=float(critical[m]))


SAME = 5e-5
"""Differences that are shown alike."""
TINY = 1e-9
"""What rounding leaves of nothing."""


def _of_networks(before: Arm, after: Arm, score: str) -> Finding:
    """Return what two variants differ by in the choice of images alone, over common seeds."""
    seeds = [seed for seed in before.seeds if seed in after.seeds]
    m = [arm.scores.index(score) for arm in (before, after)]
    rows = [[arm.seeds.index(seed) for seed in seeds] for arm in (before, after)]
    diff = float((after.points[rows[1], m[1]] - before.points[rows[0], m[0]]).mean())
    draws = (after.draws[:, rows[1], m[1]] - before.draws[:, rows[0], m[0]]).mean(1)
    shown = float(after.points[:, m[1]].mean() - before.points[:, m[0]].mean())
    adjusted, N = abs(diff - shown) > SAME, before.num_units
    if N < 2:
        nan = math.nan
        return Finding(diff, nan, nan, nan, nan, nan, nan, nan, "", len(seeds), adjusted)
    error = float(draws.std(ddof=1) * np.sqrt(N / (N - 1)))
    reach = float(t_quantile(N - 1.0)) * error
    most = find_range(score)
    ends = max(diff - reach, -most), min(diff + reach, most)
    found = Finding(diff, *ends, *ends, error, N - 1.0, np.nan, "", len(seeds), adjusted)
    return found._replace(reach=reach)


def find_range(score: str) -> float:
    """Return by how much two values of a score can differ at most; of shares 1."""
    if score not in METRICS and not is_by_image(score):  # IoU of a class
        return 1.0
    least, most = find_metric(score).limits
    return most - least


def _say_spreads(one: VariantSet) -> str:
    """Say that variants differ in how far seeds throw them, where they do."""
    model = one.model
    if len(model.variances) < 2:
        return ""
    spreads = np.sqrt(model.variances)
    times = spreads.max() / max(spreads.min(), 1e-12)
    return (
        f"Seeds move some variants more than others, up to {min(times, 999):.0f} times as far: "
        "their spread is not pooled over all of them, and intervals are the longer for it."
    )


def _key(effect: Effect) -> frozenset[tuple[str, float]]:
    return frozenset((name, round(weight, 12)) for name, weight in effect.items())


def _turn(found: Finding) -> Finding:
    return found._replace(
        diff=-found.diff,
        low=-found.high,
        high=-found.low,
        own_low=-found.own_high,
        own_high=-found.own_low,
        without=None,
    )
