"""Remarks in their places: sentences for page, files and terminal, and a mark at each variant.

In: facts about runs (`remarks.find_remarks`). Out: lines in the order in which they matter, frames
with the columns that their numbers need beside them, names that bear a mark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from bench.text import clean, number_of
from reports.formats import MARK
from reports.style import MISSING, enumerate_names

MOST_CAPTIONED = 8
"""Remarks in a table's caption; `summary.md` has all."""
MOST_PRINTED = 5
"""Remarks on a terminal; the page has all."""

Fact = tuple[int, str]
"""What is said, and how much it matters: 0 where a number would be believed that means nothing."""


@dataclass(frozen=True)
class Remarks:
    """What is said of a plan's runs; all texts cleaned, unescaped."""

    general: Sequence[Fact] = ()
    """Sentences about what was judged, and what cannot be compared."""
    runs: Mapping[tuple[str, int], Sequence[Fact]] = field(default_factory=dict)
    """Facts by variant and seed."""
    judged_on: Mapping[str, str] = field(default_factory=dict)
    """By variant, where they differ."""
    mean_over: Mapping[str, str] = field(default_factory=dict)
    """Classes of each variant's mIoU, where they differ or hold one without labels."""

    @property
    def variants(self) -> dict[str, str]:
        """Return what is said of each variant's runs, what matters most first."""
        return {variant: text for _, variant, text in self._rank_variants()}

    @property
    def lines(self) -> list[tuple[list[str], str]]:
        """Return all that is said, what matters most first: of which variants, and the sentence.

        Variants of which the same is said share a line; a sentence about all has none.
        """
        said: dict[tuple[int, str], list[str]] = {fact: [] for fact in self.general}
        for rank, variant, text in self._rank_variants():
            said.setdefault((rank, f"{text}."), []).append(variant)
        return [
            (names, text) for (_, text), names in sorted(said.items(), key=lambda one: one[0][0])
        ]

    @property
    def warnings(self) -> list[str]:
        """Return what nobody may miss: of all that was judged, what makes its numbers mean less."""
        return [text for rank, text in self.general if rank == 0]

    @property
    def caption(self) -> str:
        """Return the sentences as a table's caption holds them; of many, the first."""
        texts = self._written()
        left = len(texts) - MOST_CAPTIONED
        if left > 0:
            texts = [*texts[:MOST_CAPTIONED], f"{number_of(left, 'more remark')}: summary.md."]
        return " ".join(texts)

    def list_printed(self) -> list[str]:
        """Return lines for a terminal: a handful, and how many more there are."""
        texts = self._written()
        left = len(texts) - MOST_PRINTED
        return texts if left <= 0 else [*texts[:MOST_PRINTED], f"... and {left} more, see the page"]

    def complete(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add to a frame by variant what its numbers need beside them: only what there is.

        Returns:
            The frame with `judged_on` where variants were judged on different images or classes,
            `mean_over` where a mean counts a class without labels, `remark` where one is made.
        """
        for name in ("judged_on", "mean_over"):
            texts = getattr(self, name)
            if texts:
                frame = frame.assign(**{name: frame["variant"].map(texts).fillna(MISSING)})
        return self.mark(frame)

    def mark(self, frame: pd.DataFrame, keys: Sequence[str] = ("variant",)) -> pd.DataFrame:
        """Add `remark` to a frame whose columns `keys` name variants, if one of them has any."""
        variants = self.variants
        texts = []
        for names in zip(*(frame[key] for key in keys), strict=True):
            found = [(name, variants[name]) for name in names if name in variants]
            named = [_attribute([name], text) if len(keys) > 1 else text for name, text in found]
            texts.append("; ".join(named))
        return frame.assign(remark=texts) if any(texts) else frame

    def mark_runs(self, runs: pd.DataFrame) -> pd.DataFrame:
        """Add `remark` to the frame of runs, if there is any."""
        if not self.runs:
            return runs
        places = zip(runs["variant"], runs["seed"], strict=True)
        return runs.assign(
            remark=["; ".join(text for _, text in self.runs.get(p, ())) for p in places]
        )

    def _written(self) -> list[str]:
        """Return the lines with the variants of each, marked as they are in tables."""
        return [
            _attribute([f"{name} {MARK}" for name in names], text) for names, text in self.lines
        ]

    def _rank_variants(self) -> list[tuple[int, str, str]]:
        """Return how much it matters what is said of each variant, its name, and the words."""
        facts: dict[str, dict[Fact, list[int]]] = {}
        for (variant, seed), found in self.runs.items():
            for fact in found:
                facts.setdefault(variant, {}).setdefault(fact, []).append(seed)
        ranked = []
        for variant, own in facts.items():
            ordered = sorted(own.items(), key=lambda item: item[0][0])
            words = [f"{text} ({_name_seeds(sorted(seeds))})" for (_, text), seeds in ordered]
            ranked.append((min(rank for rank, _ in own), variant, "; ".join(words)))
        return sorted(ranked, key=lambda one: one[0])


def name_variants(frame: pd.DataFrame) -> list[str]:
    """Return the names of a frame's variants as they are shown: marked where there is a remark."""
    return sign([clean(name) for name in frame["variant"]], frame)


def sign(texts: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """Mark the texts of a frame's rows that rest on a run of which there is a remark."""
    remarks = frame.get("remark", pd.Series("", frame.index))
    return [
        f"{text} {MARK}" if remark and text != MISSING else text
        for text, remark in zip(texts, remarks, strict=True)
    ]


def is_marked(frame: pd.DataFrame) -> bool:
    """Say whether a remark is made of any row of a frame (`Remarks.mark`)."""
    return "remark" in frame and bool(frame["remark"].astype(bool).any())


def map_names(summary: pd.DataFrame) -> dict[str, str]:
    """Return the name that is shown of each variant of a summary."""
    return dict(zip(summary["variant"], name_variants(summary), strict=True))


def _attribute(names: Sequence[str], text: str) -> str:
    """Put before a text the variants that it is about, if it is not about all."""
    return f"{enumerate_names(map(clean, names))}: {text}" if names else text


def _name_seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {enumerate_names(map(str, seeds))}"
