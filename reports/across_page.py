"""The page over several data sets: ranks and their test, and differences on each data set.

In: an `Across`. Out: `index.html`, `across.csv`, tables as CSV, Markdown and LaTeX, and figures.
The same stores give the same bytes.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.outputs.folder import Outputs
from bench.plan import Plan
from bench.text import clean, number_of
from reports.across import Across, Ranks
from reports.figures.forest import plot_forest
from reports.figures.illustration import Illustration, illustrate
from reports.figures.ranks import plot_ranks
from reports.formats import Table, to_csv, to_latex, to_markdown
from reports.rendering import render
from reports.stats.finding import SHOWN
from reports.style import enumerate_names, label, mean_label, p_bound
from reports.tables.across import (
    NEVER_AVERAGED,
    differences_table,
    ranks_frame,
    ranks_table,
    scores_table,
)

PAGE, TABLE = "index.html", "across.csv"
TABLES, FIGURES = ("ranks", "differences", "scores"), ("ranks", "differences")
FILES = (
    *(f"tables/{name}.{form}" for name in TABLES for form in ("csv", "md", "tex")),
    *(f"figures/{name}{form}" for name in FIGURES for form in (".svg", "-dark.svg", ".png")),
    *(TABLE, PAGE),
)
"""All files that such a report may have."""


def open_across(plans: Sequence[Plan], out_dir: Path, *, chosen: bool = False) -> Outputs:
    """Open a folder for a report over data sets, and see that it can be written there.

    Raises:
        InputError: There are files of its names that are not of this report.
        OSError: Nothing can be written there.
    """
    content = json.dumps([[plan.name, sorted(plan.variants)] for plan in plans])
    of = {
        "questions": enumerate_names((clean(plan.name) for plan in plans), len(plans)),
        "plans": hashlib.sha256(content.encode()).hexdigest(),
    }
    outputs = Outputs(out_dir, by="report over data sets", of=of, chosen=chosen)
    outputs.require(FILES)
    return outputs


def write_across(
    across: Across, plans: Sequence[Plan], out_dir: Path, *, chosen: bool = False
) -> Path:
    """Write the report; return the path of its page.

    Args:
        across: What was found.
        plans: The questions that were asked.
        out_dir: Folder of the report; an earlier one of the same questions is replaced.
        chosen: Whether somebody named that folder: then another such report is replaced too.

    Raises:
        InputError: As `open_across`.
    """
    diagram, forest = _draw_ranks(across.ranks), _draw_forest(across)
    tables = dict(_list_tables(across))
    contents = {
        f"figures/{one.name}{suffix}": content
        for one in (diagram, forest)
        if one is not None
        for suffix, content in one.files.items()
    }
    texts = {TABLE: to_csv(across.frame)}
    for name, (frame, table) in tables.items():
        texts[f"tables/{name}.csv"] = to_csv(frame)
        texts[f"tables/{name}.md"] = to_markdown(table)
        texts[f"tables/{name}.tex"] = to_latex(table, f"across-{name}")
    shown = {name: table for name, (_, table) in tables.items()}
    texts[PAGE] = _render(across, plans, shown, diagram, forest)
    outputs = open_across(plans, out_dir, chosen=chosen)
    outputs.write(contents | {name: text.encode() for name, text in texts.items()})
    return out_dir / PAGE


def say_answer(across: Across) -> list[str]:
    """Say what is found, in sentences: the best mean rank, the test, and the differences."""
    number = len(across.parts)
    found = across.ranks
    if found is None:
        lines = [f"Variants cannot be ranked over the {number} data sets yet."]
    else:
        lines = [_say_best(found), _say_test(found)]
    return [*lines, *_say_differences(across)]


def _say_best(found: Ranks) -> str:
    test = found.test
    best = int(test.mean_ranks.argmin())
    ends = f"[{found.mean_low[best]:.1f}, {found.mean_high[best]:.1f}]"
    return (
        f"Best mean rank of {len(found.variants)} on {len(found.sets)} data sets: "
        f"{clean(found.variants[best])}, {test.mean_ranks[best]:.1f} {ends}."
    )


def _say_test(found: Ranks) -> str:
    """Say what follows for other data sets, or why nothing can."""
    test = found.test
    sets = number_of(test.num_sets, "data set")
    if test.why_not:
        return (
            f"What {sets} cannot say: whether the order would be so on another one; "
            f"{test.why_not}. The ranks are about these alone."
        )
    told = f"Friedman’s test over {sets}: χ² = {test.statistic:.1f}, p {p_bound(test.p)}"
    if not test.is_shown:
        return f"{told}: that variants rank otherwise than by chance on such data is not shown."
    best = int(test.mean_ranks.argmin())
    tied = {v for group in test.list_groups() if best in group for v in group} - {best}
    names = enumerate_names(clean(found.variants[v]) for v in sorted(tied))
    also = f"not told apart from the best: {names}" if names else "the best is apart from all"
    return (
        f"{told}. Mean ranks that differ by {test.critical:.2f} or more are told apart "
        f"(Nemenyi, 5 %); {also}."
    )


def _say_differences(across: Across) -> list[str]:
    """Say of each variant that is shown to differ from the baseline where it does."""
    if across.baseline is None:
        return []
    frame, primary = across.frame, across.primary
    shown = frame[frame[f"{primary}_diff_word"] == SHOWN]
    lines = []
    for direction, sign in (("better", 1), ("worse", -1)):
        rows = shown[shown[f"{primary}_diff"] * sign > 0]
        if len(rows):
            told = f"Shown to be {direction} than {clean(across.baseline)}"
            lines.append(f"{told}: {_say_where(rows, len(across.parts))}.")
    judged = (frame[f"{primary}_diff_word"] != "").any()
    none = f"No difference to {clean(across.baseline)} is shown on any data set."
    return lines or ([none] if judged else [])


def _say_where(rows: pd.DataFrame, number: int) -> str:
    """Name variants with the data sets of their rows, those on all `number` first."""
    places = {
        clean(name): [clean(one) for one in own["data_set"]]
        for name, own in rows.groupby("variant", sort=False)
    }
    whole = [name for name, sets in places.items() if len(sets) == number]
    some = [f"{n} ({enumerate_names(sets)})" for n, sets in places.items() if n not in whole]
    parts = [f"on all data sets {enumerate_names(whole)}"] if whole else []
    parts += [f"on some {enumerate_names(some)}"] if some else []
    return "; ".join(parts)


def _list_tables(across: Across) -> list[tuple[str, tuple[pd.DataFrame, Table]]]:
    frame = across.frame
    found = [("scores", (frame, scores_table(across)))]
    if across.baseline is not None:
        others = frame[frame["variant"] != across.baseline]
        found.append(("differences", (others, differences_table(across))))
    if across.ranks is not None:
        found.append(("ranks", (ranks_frame(across), ranks_table(across))))
    return found


def data_sets_table(across: Across) -> Table:
    """Show what each data set is: its question, its images and classes."""
    rows = []
    for one in across.parts:
        results = [record.result for record in one.records if record.result is not None]
        arms = one.intervals.arms.values()
        rows.append(
            (
                clean(one.part.name),
                clean(one.part.plan.name),
                " or ".join(sorted({clean(result.split) for result in results})) or "–",
                " or ".join(sorted({str(arm.num_images) for arm in arms})) or "–",
                " or ".join(sorted({str(len(result.class_names)) for result in results})) or "–",
                f"{len(results)} of {len(one.records)}",
            )
        )
    columns = ["data set", "question", "split", "images", "classes", "runs finished"]
    said = [
        f"{clean(one.part.name)}: {units.describe()}"
        for one in across.parts
        for units in one.intervals.units.values()
    ]
    return Table(
        pd.DataFrame(rows, columns=columns), frozenset(columns[3:]), caption=" ".join(said)
    )


def _draw_ranks(found: Ranks | None) -> Illustration | None:
    if found is None:
        return None
    figure = plot_ranks(found.variants, found.test)
    finding = f"{_say_best(found)} {_say_test(found)}"
    return illustrate("ranks", "Mean ranks", _DIAGRAM, figure, finding)


def _draw_forest(across: Across) -> Illustration | None:
    """Draw the differences to the baseline, a panel for each data set."""
    if across.baseline is None:
        return None
    frame, primary = across.frame, across.primary
    frame = frame[(frame["variant"] != across.baseline) & frame[f"{primary}_diff"].notna()]
    columns = {f"{primary}_diff{end}": name for end, name in _ENDS.items()}
    rows = frame.rename(columns={"variant": "name", **columns})
    panels = {
        one.part.name: rows[rows["data_set"] == one.part.name]
        for one in across.parts
        if one.part.name in set(rows["data_set"])
    }
    if not panels:
        return None
    figure = plot_forest(panels, across.findings.margin)
    title = f"Δ {label(primary)} to {clean(across.baseline)}, points"
    return illustrate("differences", title, _FOREST, figure, " ".join(_say_differences(across)))


def _render(
    across: Across,
    plans: Sequence[Plan],
    tables: dict[str, Table],
    diagram: Illustration | None,
    forest: Illustration | None,
) -> str:
    is_one = len(plans) == 1
    number = len(across.parts)
    sections = (("ranks", "Ranks"), ("differences", "Differences"), ("scores", "Scores"))
    contents = [(name, text) for name, text in sections if name in tables]
    return render(
        "across.html.jinja",
        name=", ".join(plan.name for plan in plans),
        title=plans[0].question
        if is_one
        else f"Which of {len(across.variants)} variants is best on {number} data sets?",
        expectation=plans[0].expectation if is_one else "",
        contents=[*contents, ("conventions", "How to read this")],
        answer=say_answer(across),
        notes=list(across.notes),
        diagram=diagram,
        forest=forest,
        mean_score=mean_label(across.primary),
        baseline=across.baseline or "",
        data_sets=data_sets_table(across),
        never_averaged=NEVER_AVERAGED,
        ranks=tables.get("ranks"),
        differences=tables.get("differences"),
        scores=tables["scores"],
    )


_ENDS = {"": "diff", "_low": "low", "_high": "high", "_word": "word"}
_DIAGRAM = "Rank 1 is the best. A bar joins variants that are not told apart."
_FOREST = (
    "Intervals hold for all differences of this figure at once: full and coloured where one is "
    "shown, blue for better and red for worse; hollow and grey where it is not."
)
