"""Looks at claims: what was found when seeds were added to what was undecided, as typed records.

A question may ask for seeds as they are needed: its claims are judged with three seeds, then, as
long as one is undecided, with a seed more of its variants, and so on up to a number. Each of these
judgements is a look. The error of 5 % is shared out over all of them, so what was seen at one, and
with which critical values, is kept.
"""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

FIRST_LOOK = 3
"""Seeds of each variant at the first look."""

_CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)
Digest = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=_CLOSED)
class Look:
    """All claims judged once, by the runs that were there."""

    taken: str
    """Time in ISO 8601, UTC."""
    seeds: dict[str, Annotated[int, Field(ge=1)]]
    """By variant, how many of the question's seeds were asked for, the first of them."""
    missing: dict[str, tuple[Seed, ...]]
    """By variant, seeds among these whose runs failed for good."""
    information: Share
    """Share of the most that seeds can give, of the claim that is the furthest from it."""
    spent: Share
    """Error spent up to here, of false held and of false not held each."""
    lower: Annotated[float, Field(ge=0)] | None
    """Critical value of lower ends, in reaches; None where nothing could be held yet."""
    upper: Annotated[float, Field(ge=0)] | None
    """The same of upper ends."""
    words: dict[Digest, str]
    """By digest of the claim, its verdict."""
    advice: dict[Digest, str]
    """Of undecided claims, what would decide them."""
    open: tuple[Digest, ...]
    """Undecided claims that more seeds may decide."""


@dataclass(frozen=True, config=_CLOSED)
class Looks:
    """All looks that were taken at a question, the first first."""

    asked: Digest
    """Of its claims, its margin and its seeds."""
    max_seeds: Annotated[int, Field(ge=FIRST_LOOK)]
    """Most seeds of each variant."""
    seeds: tuple[Seed, ...]
    """As many seeds, in the order in which they are asked for."""
    spending: str
    """How error is shared out."""
    looks: tuple[Look, ...] = ()

    @property
    def last(self) -> Look | None:
        """The latest look; None before the first."""
        return self.looks[-1] if self.looks else None

    @property
    def most(self) -> int:
        """How many looks there may be, the first and one at each seed more."""
        return self.max_seeds - FIRST_LOOK + 1

    def seeds_of(self, variant: str, look: Look) -> tuple[int, ...]:
        """Return the seeds whose runs entered a look."""
        asked = self.seeds[: look.seeds.get(variant, 0)]
        return tuple(seed for seed in asked if seed not in look.missing.get(variant, ()))
