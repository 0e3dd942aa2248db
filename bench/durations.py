"""Durations and sizes as people say them: about 12 min, 3 d, 1.4 GiB."""

import math

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def spell_duration(seconds: float) -> str:
    """Say how long something takes, in the unit that a person would choose.

    Args:
        seconds: Not negative; NaN or infinite for what is not known.
    """
    if not math.isfinite(seconds):
        return "–"
    for length, unit in _UNITS:
        if seconds >= 1.5 * length or unit == "s":
            break
    value = seconds / length
    # A tenth of an hour or a day is worth saying, of a minute or a second it is not.
    shown = f"{value:.1f}" if unit in "dh" and value < 9.95 else f"{value:.0f}"
    return f"{shown} {unit}"


def spell_bytes(count: float) -> str:
    """Say how large something is, in the binary unit that keeps its number short."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
