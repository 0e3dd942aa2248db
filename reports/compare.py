"""The page of a comparison: what changed between two sides, once, and by how much each variant did.

In: a `Comparison`. Out: `index.html`, its tables as CSV, Markdown and LaTeX, and its figure. The
same stores give the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.outputs.folder import Outputs
from bench.text import clean, sentence
from reports.figures.forest import plot_forest
from reports.figures.illustration import Illustration, illustrate
from reports.formats import to_csv, to_latex, to_markdown
from reports.gate import Outcome
from reports.rendering import render
from reports.sides import SAME_RUNS, SAME_SCORES, Comparison, group_by_variant, list_compared
from reports.stats.finding import EQUIVALENT, NOT_SHOWN, Finding
from reports.stats.outliers import describe_outliers
from reports.stats.primary import compared_scores
from reports.style import (
    MINUS,
    enumerate_names,
    label,
    number_of_points,
    points,
    with_interval,
)
from reports.tables.sides import changes_frame, changes_table, has_more, sides_table

PAGE, TABLE, TEXT = "index.html", "compare.csv", "compare.md"
FOREST = "forest"
FILES = (
    *(TEXT, TABLE, "compare.tex", "changes.csv", "changes.md", "changes.tex"),
    *(f"figures/{FOREST}{form}" for form in (".svg", "-dark.svg", ".png")),
    PAGE,
)
"""All files that a comparison may have."""


def say_answer(comparison: Comparison) -> list[str]:
    """Say what is found in sentences, what matters most first."""
    frame = comparison.frame
    if comparison.is_same:
        return ["The same runs on both sides: every difference is 0."]
    groups = {
        direction: frame.loc[frame["direction"] == direction, "variant"].to_list()
        for direction in ("worse", "better")
    }
    words = {
        word: frame.loc[frame["verdict"] == word, "variant"].to_list()
        for word in (EQUIVALENT, NOT_SHOWN)
    }
    margin = comparison.margin
    within = f", within {number_of_points(margin)}" if margin is not None else ""
    same = {
        text: frame.loc[frame["note"].str.startswith(text), "variant"].to_list()
        for text in (SAME_RUNS, SAME_SCORES)
    }
    found = [
        *(f"Shown to be {d}: {_measure(frame, names)}" for d, names in groups.items() if names),
        *_tell(f"Equivalent{within}", words[EQUIVALENT]),
        *_tell("No change is shown", words[NOT_SHOWN]),
        *(line for text, names in same.items() for line in _tell(_begin(text), names)),
    ]
    told = (*groups.values(), *words.values(), *same.values())
    judged = {name for names in told for name in names}
    found += _tell("Not judged", [name for name in frame["variant"] if name not in judged])
    warning = clean(describe_outliers(comparison.outliers))
    return [f"{text}." for text in found] + [warning] * bool(warning)


def _tell(text: str, names: Sequence[str]) -> list[str]:
    return [f"{text}: {enumerate_names(map(clean, names))}"] if names else []


def _measure(frame: pd.DataFrame, names: Sequence[str]) -> str:
    """Name variants with their differences; of many, the number of the rest."""
    primary = list_compared(frame)[0]
    rows = frame.set_index("variant").loc[list(names)]
    ends = [[rows[f"{primary}_{end}"][name] for end in ("diff", "low", "high")] for name in names]
    shown = [
        f"{clean(name)} {with_interval(points(diff), low, high, points)}"
        for name, (diff, low, high) in zip(names, ends, strict=True)
    ]
    return f"{enumerate_names(shown)} points of {label(primary)}"


def say_outcome(outcome: Outcome) -> list[str]:
    """Say what did not pass a gate, or that all did, and what could not be judged."""
    worse = [f"{clean(name)} {_show(found)}" for name, found in outcome.worse.items()]
    lines = [f"{outcome.gate}: {enumerate_names(worse, len(worse))}"] if worse else []
    lines = lines or [f"no variant is shown to be {outcome.gate}"]
    return lines + _tell("not judged, for lack of seeds, counts or common images", outcome.unjudged)


def _begin(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _show(found: Finding) -> str:
    return with_interval(points(found.diff), found.low, found.high, points)


def to_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return plain values for JSON: what is not known is None."""
    rows = comparison.frame.to_dict("records")
    return [{str(k): None if v != v else v for k, v in row.items()} for row in rows]


def open_comparison(before: str, after: str, out_dir: Path) -> Outputs:
    """Open a folder for the comparison of two sides, and see that it can be written there.

    Raises:
        InputError: There are files of its names that are not of this comparison.
        OSError: Nothing can be written there.
    """
    page = out_dir / TEXT
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    first = text.partition("\n")[0]
    is_ours = first.startswith("# `") and text.endswith(_EARLIER_NOTE)
    earlier = {name: {"sides": first} for name in ((TEXT, TABLE) if is_ours else ())}
    of = {"sides": _heading(before, after)}
    outputs = Outputs(out_dir, by="comparison", of=of, earlier=earlier)
    outputs.require(FILES)
    return outputs


def write_comparison(
    comparison: Comparison,
    out_dir: Path,
    remarks: Sequence[str] = (),
    outcome: Outcome | None = None,
) -> Path:
    """Write a comparison's files; return the path of its page.

    Args:
        comparison: What was found.
        out_dir: Folder of the files; those of an earlier writing are replaced.
        remarks: What must be known of how the plans came about.
        outcome: What came through a gate.

    Raises:
        InputError: As `open_comparison`.
    """
    before, after = (side.name for side in comparison.sides)
    changes, frame = group_by_variant(comparison.variants), comparison.frame
    table, changed = sides_table(frame, comparison.margin), changes_table(changes)
    forest = _draw_forest(comparison)
    notes = "".join(f"- {sentence(one)}\n" for one in (*remarks, *comparison.notes))
    parts = [_heading(before, after), to_markdown(table), to_markdown(changed), notes]
    texts = {
        TEXT: "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n",
        TABLE: to_csv(frame),
        "compare.tex": to_latex(table, "compare"),
        "changes.csv": to_csv(changes_frame(changes)),
        "changes.md": to_markdown(changed),
        "changes.tex": to_latex(changed, "changes"),
        PAGE: _render(comparison, forest, remarks, outcome),
    }
    drawn = forest.files if forest else {}
    figures = {f"figures/{FOREST}{suffix}": content for suffix, content in drawn.items()}
    outputs = open_comparison(before, after, out_dir)
    outputs.write(figures | {name: text.encode() for name, text in texts.items()})
    return out_dir / PAGE


def _draw_forest(comparison: Comparison) -> Illustration | None:
    """Draw what each variant differs by; nothing where no difference is known, or all are zero."""
    frame, primary = comparison.frame, comparison.primary
    rows = frame[frame[f"{primary}_diff"].notna()]
    if not len(rows) or comparison.is_same:
        return None
    columns = {f"{primary}_{end}": end for end in ("diff", "low", "high")}
    rows = rows.rename(columns={"variant": "name", "verdict": "word", **columns})
    title = f"Δ {label(primary)}, after less before, points"
    words = _CAPTION if comparison.margin is None else f"{_CAPTION} {_MARGIN}"
    figure = plot_forest({title: rows}, comparison.margin)
    return illustrate(FOREST, "Differences", words, figure, " ".join(say_answer(comparison)))


def _render(
    comparison: Comparison,
    forest: Illustration | None,
    remarks: Sequence[str],
    outcome: Outcome | None,
) -> str:
    frame, margin = comparison.frame, comparison.margin
    before, after = (side.name for side in comparison.sides)
    said = zip(frame["variant"], frame["note"], strict=True)
    gate = outcome.gate if outcome else None
    passed = [f"{_begin(say_outcome(outcome)[0])}."] if outcome else []
    return render(
        "compare.html.jinja",
        before=before,
        after=after,
        answer=[*say_answer(comparison), *passed],
        remarks=[sentence(text) for text in remarks],
        changes=changes_table(group_by_variant(comparison.variants)),
        forest=forest,
        variants=sides_table(frame, margin, notes=False),
        notes=[
            *(f"{clean(name)}: {clean(note)}." for name, note in said if has_more(note)),
            *map(clean, comparison.notes),
        ],
        num_contrasts=comparison.findings.num_contrasts,
        primary=label(comparison.primary),
        beside=label(compared_scores(comparison.primary)[1]),
        margin=number_of_points(margin) if margin is not None else "",
        gate=str(gate) if gate else "",
        gate_bound=f"{MINUS}{number_of_points(gate.by)}" if gate and gate.by else "zero",
        same_runs=SAME_RUNS,
    )


def _heading(before: str, after: str) -> str:
    return "# {} → {}".format(
        *(f"`{clean(name).replace('`', chr(39))}`" for name in (before, after))
    )


_CAPTION = (
    "Intervals are those that decide, for all variants at once: full and coloured where a change "
    "is shown, blue for better and red for worse; hollow and grey where it is not."
)
_MARGIN = "The band is the margin: a square lies within it, so that both sides are equivalent."
_EARLIER_NOTE = (
    "Means over finished seeds in percent; Δ in points over the seeds that both finished, with "
    "its 95 % interval over images and seeds where both were judged on the same images.\n"
)
"""The end of a page of version 0.1, which kept no list of its files."""
