"""What a measurement gives: records with plain values and spreads, shown as a table or as JSON."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.speed.timing import Spread


@dataclass(frozen=True)
class Section:
    """One table of the page."""

    name: str
    """Word by which the page finds it again."""
    title: str
    note: str
    """How it was measured, and what the columns mean."""
    records: Sequence[Mapping[str, Any]]
    """Rows with the same keys; values are plain or a `Spread`."""

    def growing(
        self,
        records: Iterable[Mapping[str, Any]],
        complete: Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]] = list,
    ) -> "Iterator[Section]":
        """Yield the section as it grows by records that are measured one after another.

        Args:
            records: Its rows; what was measured stays, whatever comes of the rest.
            complete: What makes more rows of these, such as means, each time.
        """
        found: list[Mapping[str, Any]] = []
        for record in records:
            found.append(record)
            yield replace(self, records=complete(found))

    def rows(self) -> list[dict[str, Any]]:
        """Return texts, for people."""
        return [{key: _text(value) for key, value in record.items()} for record in self.records]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        return {**asdict(self), "records": [_plain(record) for record in self.records]}


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: asdict(v) if isinstance(v, Spread) else v for k, v in record.items()}


def _text(value: Any) -> str:
    if isinstance(value, Spread):
        digits = _digits(value.median)
        return value.text(digits)
    if isinstance(value, float):
        return f"{value:.{_digits(value)}f}"
    return "–" if value is None else str(value)


def _digits(value: float) -> int:
    """Return the decimals that show three significant digits."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
