"""Profiles as rows: one quantity a row, one network a column, the paper's number beside ours.

In: `fcn.profile.Profile`s. Out: rows for a table, or plain values for JSON.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fcn.errors import InputError
from fcn.latency import Latency
from fcn.profile import Profile
from fcn.table1 import Table1Column

MIB = 2**20


def parse_size(text: str) -> tuple[int, int]:
    """Read "500x375" as height 500 and width 375; "500" is both.

    Raises:
        InputError: It is neither.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise InputError(f"--size {text}: write HEIGHTxWIDTH in pixels, such as 500x500")
    return int(sides[0]), int(sides[-1])


def to_json(profile: Profile) -> dict[str, Any]:
    """Return a profile as plain values; units are in the names."""
    return asdict(profile)


def to_rows(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """Return a row for each quantity, with a column for each network."""
    columns = {f"{i} {p.backbone}" if _twice(p, profiles) else p.backbone: _column(p)
               for i, p in enumerate(profiles)}  # fmt: skip
    quantities = next(iter(columns.values()))
    return [
        {"quantity": quantity} | {name: column[quantity] for name, column in columns.items()}
        for quantity in quantities
    ]


def _twice(profile: Profile, profiles: Sequence[Profile]) -> bool:
    return [p.backbone for p in profiles].count(profile.backbone) > 1


def _column(p: Profile) -> dict[str, str | None]:
    """Return the texts of one network by quantity."""
    counts, latency = p.counts, p.latency

    def beside(ours: str, theirs: Callable[[Table1Column], str]) -> str:
        return f"{ours} (paper: {theirs(p.published)})" if p.published else ours

    return {
        "network": f"{p.skip}, {p.head} head, {p.num_classes} classes",
        "pixels": f"{p.size[0]}x{p.size[1]}",
        "parameters": beside(
            f"{counts.num_parameters / 1e6:.2f} M", lambda t: f"{t.num_parameters / 1e6:.0f} M"
        ),
        "convolutions": str(counts.num_convs),
        "convolutions in a row": beside(str(p.depth), lambda t: str(t.depth)),
        "multiply-adds": f"{counts.num_macs / 1e9:.2f} G",
        "activations": f"{counts.num_activations / 1e6:.2f} M",
        "features (stride: channels)": ", ".join(f"{s}: {c}" for s, c in p.strides.items()),
        "coarsest stride": beside(str(p.output_stride), lambda t: str(t.output_stride)),
        "receptive field, rule, px": beside(
            "–" if p.receptive_field is None else f"{p.receptive_field:g}",
            lambda t: str(t.receptive_field),
        ),
        "receptive field, gradient, px": _text(p.empirical_receptive_field),
        "forward, ms (quartiles)": None
        if latency is None
        else beside(_milliseconds(latency), lambda t: f"{t.forward_ms:g} on a K40c, 500x500"),
        "device": None if latency is None else f"{latency.device}, {latency.threads} CPU threads",
        "memory, live tensors, MiB": f"{counts.tensor_bytes / MIB:.1f}",
        "memory, CUDA peak, MiB": None
        if latency is None or latency.cuda_peak_bytes is None
        else f"{latency.cuda_peak_bytes / MIB:.1f}",
        "note": p.note or None,
    }


def _milliseconds(latency: Latency) -> str:
    low, high = latency.quartiles_ms
    return f"{latency.median_ms:.1f} ({low:.1f} to {high:.1f})"


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
