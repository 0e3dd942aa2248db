"""What a page may claim: contrasts of the primary score, judged as one family under one model.

In: arms of variants, and which effects are asked for beyond pairs. Out: `Findings`: for each pair
of variants and each effect its estimate, a simultaneous interval and one of three words. A variant
with one seed has no word: its intervals are of the choice of images, about these trained networks.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from reports.stats.effects import Effect, Levels, pair
from reports.stats.family import Verdicts, judge_families, judge_one_of
from reports.stats.finding import (
    EQUIVALENT,
    NOT_SHOWN,
    SAME,
    SHOWN,
    Finding,
    compare_networks,
    find_range,
    turn,
)
from reports.stats.model import Contrasts
from reports.stats.outliers import find_outliers, leave_out
from reports.stats.pairs import Arm, why_no_pairs
from reports.stats.primary import PRIMARY
from reports.stats.sets import TINY, VariantSet, list_fold_sets, list_sets, say_spreads

MAX_LISTED = 20_000
"""Contrasts that are drawn together: all pairs of 200 variants."""
CHUNK = 2_000
"""Pairs of very many that are judged at once."""


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
    stops: int = 1
    """How often what was seen may have ended the seeds; the 5 % are shared out over these."""

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
                    return found if sign > 0 else turn(found)
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
                verdict = judge_one_of(
                    one.model, one.weigh(effects), self.num_contrasts * self.stops
                )
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
        return found or compare_networks(self.arms[before], self.arms[after], score)

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
    stops: int = 1,
) -> Findings:
    """Judge all pairs of variants, and effects, as one family; with outliers, and without.

    Args:
        arms: By variant.
        effects: Further contrasts: main effects, interactions.
        levels: Of each variant by factor: groups that may have spreads of their own.
        margin: The smallest difference that matters, a fraction; None for no equivalence.
        all_pairs: Whether all pairs of variants are judged, or the effects alone.
        score: The score that they are of.
        stops: How often what was seen may have ended the seeds.
    """
    effects, outliers = list(effects), find_outliers(arms)
    settings = (effects, levels, margin, all_pairs, score, stops)
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
    stops: int,
) -> Findings:
    sets = list(list_sets(arms, score, levels or {}))
    folds = list(list_fold_sets(arms, score, levels or {}))
    num_pairs = sum(len(one.names) * (len(one.names) - 1) // 2 for one in sets) * all_pairs
    if num_pairs + len(effects) > MAX_LISTED:
        number = num_pairs + len(effects)
        return _find_many(arms, sets, folds, effects, number, margin, score, stops)
    listed = {id(one): _list_effects(one, effects, all_pairs=all_pairs) for one in sets}
    listed |= {id(one): _list_effects(one, effects, all_pairs=False) for one in folds}
    sets = [one for one in sets if listed[id(one)]]
    judged = [*sets, *(one for one in folds if listed[id(one)])]
    asked = [listed[id(one)] for one in judged]
    families = [(one.model, one.weigh(found)) for one, found in zip(judged, asked, strict=True)]
    found: dict[frozenset[tuple[str, float]], Finding] = {}
    verdicts = judge_families(families, "", stops)
    for one, own, verdict in zip(judged, asked, verdicts, strict=True):
        listing = _list_findings(one, own, verdict, margin, score)
        found |= {_key(effect): finding for effect, finding in zip(own, listing, strict=True)}
    critical = float(np.max(verdicts[0].critical)) if verdicts else math.nan
    notes = [note for one in sets if (note := say_spreads(one))]
    return Findings(
        arms, sets, found, critical, len(found), margin, notes, score=score, stops=stops
    )


def _find_many(
    arms: Mapping[str, Arm],
    sets: Sequence[VariantSet],
    folds: Sequence[VariantSet],
    effects: Sequence[Effect],
    number: int,
    margin: float | None,
    score: str,
    stops: int,
) -> Findings:
    """Judge effects of a grid of very many variants; its pairs are judged as they are asked for."""
    found: dict[frozenset[tuple[str, float]], Finding] = {}
    critical = float("nan")
    for one in (*sets, *folds):
        own = [effect for effect in effects if one.holds(effect)]
        if own:
            verdict = judge_one_of(one.model, one.weigh(own), number * stops)
            critical = float(np.max(verdict.critical))
            findings = _list_findings(one, own, verdict, margin, score)
            found |= {_key(effect): one for effect, one in zip(own, findings, strict=True)}
    notes = [note for one in sets if (note := say_spreads(one))]
    notes.append(
        f"{number:,} contrasts are too many to be drawn together: their 5 % is shared out evenly, "
        "which makes intervals longer than they need be (Bonferroni)."
    )
    return Findings(arms, sets, found, critical, number, margin, notes, score=score, stops=stops)


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


def _key(effect: Effect) -> frozenset[tuple[str, float]]:
    return frozenset((name, round(weight, 12)) for name, weight in effect.items())
