"""Scoring: what a question makes of counts, beyond the four scores of every record.

In: counts of any kind by image, or sums of them. Out: scores by name. All of it is a key of the
question (`score:`), never of a run: another mean of the same counts trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from bench.metrics import (
    ASKED_FOR,
    BY_IMAGE,
    CONFUSION,
    IMAGE_UNITS,
    SCORES,
    Floats,
    Metric,
    apply_metric,
    find_metric,
    is_by_image,
    score_rows,
    split_rows,
)
from bench.spec import Name, Schema
from fcn.errors import InputError
from fcn.registry import unknown_name

Parts = Mapping[str, NDArray[np.number]]
"""Counts by kind, (..., R, K) each: see `bench.metrics.KINDS`."""
Rows = Mapping[str, list[Floats]]


class Scoring(Schema):
    """Which score decides, which others are shown, and which classes means are over."""

    primary: Name = "miou"
    """The score that the whole report decides on: its statistics, answer, figures and ranks, and
    the claims that name no other. A fraction of which more is better."""
    also: tuple[Name, ...] = ()
    """Scores that are shown beside pixel accuracy, mean accuracy, mIoU and frequency-weighted IoU;
    `image_` before a name means the mean over images, each scored by itself."""
    exclude_classes: tuple[Name, ...] = ()
    """Classes that means over classes leave out, such as the background. Their pixels count as
    ever: what is road and was called background is missed."""
    absent: Literal["zero", "leave_out"] | None = None
    """What means over classes do with a class that no label of the split names: it counts as zero,
    or is left out. By default it counts as zero where it is predicted, as the reference does."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            for name in (*self.also, self.primary):
                find_metric(name)
        except InputError as error:
            raise ValueError(str(error)) from None
        primary = find_metric(self.primary)
        if primary.less_is_better or primary.unit:
            raise ValueError(
                f"the primary score is a fraction of which more is better, which {self.primary} is "
                f"not; show it with `also: [{self.primary}]`, or write a claim about it"
            )
        return self

    def with_scores(self, names: Sequence[str]) -> Self:
        """Return the same with further scores shown."""
        known = (*SCORES, *ASKED_FOR, self.primary, *self.also)
        more = [name for name in dict.fromkeys(names) if name not in known]
        return self.model_copy(update={"also": (*self.also, *more)}) if more else self

    @property
    def reads_images(self) -> bool:
        """Whether a score is made of images one by one, which a run's record does not hold."""
        return any(is_by_image(name) for name in (*self.also, self.primary))

    @property
    def needs(self) -> dict[str, str]:
        """What else than confusions is counted for scores that are asked for, by score."""
        kinds = {name: _kind_of(name) for name in (self.primary, *self.also)}
        return {name: kind for name, kind in kinds.items() if kind != CONFUSION}

    def pooled(self) -> Self:
        """Return the same without means over images, as sums over a split can be scored."""
        also = tuple(name for name in (*self.also, self.primary) if not is_by_image(name))
        primary = "miou" if is_by_image(self.primary) else self.primary
        return self.model_copy(update={"primary": primary, "also": also})

    def names(self, kinds: Sequence[str] = (CONFUSION,)) -> tuple[str, ...]:
        """Return the names of the scores that these kinds of counts give, in order."""
        named = dict.fromkeys((*SCORES, *ASKED_FOR, *self.also, self.primary))
        return tuple(name for name in named if _kind_of(name) in kinds)

    def require_classes(self, known: Sequence[str], where: str) -> None:
        """See that the excluded classes are those of the data, and not all of them.

        Raises:
            InputError: One is not; the nearest is named.
        """
        for name in self.exclude_classes:
            if name not in known:
                told = unknown_name("class", name, known)
                raise InputError(f"{where}: score.exclude_classes: {told}")
        if known and set(known) <= set(self.exclude_classes):
            raise InputError(
                f"{where}: score.exclude_classes names every class, so that no mean is left; keep "
                "one or more of them"
            )

    def describe(self) -> str:
        """Say what differs from the usual means over classes; empty where nothing does."""
        told = []
        if self.exclude_classes:
            told.append(f"leave out {', '.join(self.exclude_classes)}")
        if self.absent == "zero":
            told.append("count a class that no label names as 0, predicted or not")
        elif self.absent == "leave_out":
            told.append("leave out a class that no label names, though it may be predicted")
        return f"Means over classes {', and '.join(told)}." if told else ""


USUAL = Scoring()


@dataclass(frozen=True)
class Scorer:
    """A question's scoring of one set of images and classes."""

    scoring: Scoring
    kinds: tuple[str, ...]
    """What was counted."""
    class_names: tuple[str, ...]
    present: NDArray[np.bool_]
    """Classes that labels of the whole split name, (C,): what a resample lacks is not absent."""

    @classmethod
    def of(
        cls,
        scoring: Scoring,
        kinds: Sequence[str],
        class_names: Sequence[str],
        in_target: NDArray[np.number],
    ) -> "Scorer":
        """Return the scorer of images whose targets have so many pixels of each class, (C,)."""
        return cls(scoring, tuple(kinds), tuple(class_names), np.asarray(in_target) > 0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its scores, in order."""
        return self.scoring.names(self.kinds)

    @property
    def by_image(self) -> tuple[str, ...]:
        """Of these, means over images."""
        return tuple(filter(is_by_image, self.names))

    def score(self, parts: Parts) -> dict[str, Floats]:
        """Score sums of counts; means over images need what `of_images` gives among them."""
        rows = _split(parts)
        return {name: self._score(find_metric(name), rows) for name in self.names}

    def of_images(self, parts: Parts) -> dict[str, NDArray[np.int64]]:
        """Score each image by itself, for means over images.

        Args:
            parts: Counts of images, (..., N, R, K).

        Returns:
            By name of the mean the image's score in whole units, and 1; both 0 where it has none,
            (..., N, 2, 1). They add up over images.
        """
        found = {}
        rows = _split(parts)
        for name in self.by_image:
            values = self._score(find_metric(name.removeprefix(BY_IMAGE)), rows)
            known = ~np.isnan(values)
            whole = np.rint(np.where(known, values, 0.0) * IMAGE_UNITS).astype(np.int64)
            found[name] = np.stack([whole, known.astype(np.int64)], axis=-1)[..., None]
        return found

    def of_classes(self, parts: Parts) -> dict[str, Floats]:
        """Score each class, (..., C) by label such as "Dice", whatever means make of it."""
        rows = _split(parts)
        metrics = (find_metric(name) for name in self.names)
        return {
            one.of_class: apply_metric(one, rows[one.counts]) for one in metrics if one.of_class
        }

    def counted(self, parts: Parts) -> dict[str, NDArray[np.bool_]]:
        """Say which classes the mean of each score is over, (..., C) by name.

        Scores that are no means, or weigh classes, are not among them.
        """
        rows = _split(parts)
        means = {name: one for name in self.names if is_mean(one := find_metric(name))}
        return {
            name: ~np.isnan(self._fit(one, apply_metric(one, rows[one.counts])))
            for name, one in means.items()
        }

    def _score(self, metric: Metric, rows: Rows) -> Floats:
        return score_rows(metric, rows[metric.counts], partial(self._fit, metric))

    def _fit(self, metric: Metric, values: Floats) -> Floats:
        """Make what the question wants of scores of classes, (..., C); no distance is zero."""
        if self.scoring.absent == "leave_out":
            values = np.where(self.present, values, np.nan)
        elif self.scoring.absent == "zero" and not metric.unit:
            values = np.where(self.present, values, 0.0)
        if self.scoring.exclude_classes:
            excluded = np.isin(self.class_names, self.scoring.exclude_classes)
            values = np.where(excluded, np.nan, values)
        return values


def is_mean(metric: Metric) -> bool:
    """Say whether a score is a plain mean over classes, which may be over others elsewhere."""
    return bool(metric.of_class) and metric.weigh is None


def _split(parts: Parts) -> Rows:
    return {kind: split_rows(counts) for kind, counts in parts.items()}


def _kind_of(name: str) -> str:
    """Return which kind of counts a score needs, of one image or of all."""
    return find_metric(name.removeprefix(BY_IMAGE) if is_by_image(name) else name).counts
