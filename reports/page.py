"""The page: one HTML file that holds the whole answer, and the tables and figures beside it.

In: a plan and a store. Out: `index.html`, `summary.csv`, `summary.md`, `runs.csv`, `classes.csv`,
`tables/` and `figures/`. The same plan and store give the same bytes: nothing asks for the time.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from bench.plan import EFFECT, Plan
from bench.store.runs import Store
from bench.text import clean
from reports.added_sections import Added, write_sections
from reports.answer import choose_kinds, find_answer
from reports.figures.illustration import Illustration
from reports.figures.listing import draw_figures
from reports.files import PAGE, list_possible, open_folder
from reports.formats import (
    MARK,
    Table,
    escape_markdown,
    to_csv,
    to_html,
    to_markdown,
    to_script_json,
)
from reports.images.gallery import Gallery, draw_gallery
from reports.methods.citing import to_text
from reports.methods.paragraphs import list_paragraphs, write_methods
from reports.rendering import render
from reports.results.report_folder import ReportFolder
from reports.sections import CONTENTS
from reports.sources import list_sources
from reports.statements import state_changes, tell_shares
from reports.stats.contrasts import MAX_LISTED
from reports.study import Study, read_study
from reports.style import enumerate_names, label, mean_label
from reports.tables import provenance
from reports.tables.baselines import baselines_json, describe_pairs, list_pairs
from reports.tables.changes import describe_changes, tabulate_changes
from reports.tables.claims import claims_table
from reports.tables.classes import class_grid, class_table, summarize_classes
from reports.tables.comparisons import comparison_table
from reports.tables.evaluations import evaluations_table
from reports.tables.exports import write_exports
from reports.tables.other_targets import other_targets_table
from reports.tables.published import published_table
from reports.tables.runs import runs_table
from reports.tables.summary import explain_scores, summary_table
from reports.tables.tuning import tuning_table

STYLES = ("page.css", "gallery.css", "linked.css")
SCRIPTS = ("address.js", "page.js", "copy.js", "differences.js", "lit.js", "gallery.js")
"""Files of `assets/`, in the order in which the page has them."""


def write_report(
    plan: Plan,
    store: Store,
    out_dir: Path,
    *,
    refresh_seconds: int | None = None,
    chosen: bool = False,
    say: Callable[[str], None] | None = None,
    study: Study | None = None,
    lean: bool = False,
) -> Path:
    """Write the report of a plan and return the path of its `index.html`.

    Runs that failed or do not exist are rows with their reason. Files of an earlier report of the
    same plan in `out_dir` are replaced, each at once, or removed; nothing else there is touched.

    Args:
        plan: What should exist.
        store: What exists.
        out_dir: Folder of the report.
        refresh_seconds: Have the page load itself again after so long; None for a page at rest.
        chosen: Whether somebody named `out_dir`: then another report there is replaced too.
        say: Called with each remark that a terminal has room for.
        study: What `read_study` read of the two; None reads it.
        lean: Whether the page alone has the figures, for a report that lies in a repository. Those
            that a report's folder cannot draw again stay beside it, as SVG.

    Raises:
        InputError: Files in `out_dir` that would be replaced are not of this report.
        OSError: Nothing can be written there.
    """
    folder = open_folder(plan, out_dir, chosen=chosen)
    folder.require(list_possible(plan))
    study = study or read_study(plan, store)
    figures, gallery = draw_figures(study), draw_gallery(study)
    if isinstance(store, ReportFolder):
        gallery = replace(gallery, rule=_NO_IMAGES)
    drawn = [*figures, *gallery.pair, *gallery.images]
    texts = {
        **write_exports(study),
        "classes.csv": to_csv(summarize_classes(study.classes)),
        "runs.csv": to_csv(study.labelled_runs),
        "summary.md": _summary_markdown(study),
        "summary.csv": to_csv(study.summary),
        **write_methods(study),
        # Last: it stands for the rest.
        PAGE: _render(study, figures, gallery, refresh_seconds, lean),
    }
    beside = [one.without_copies() for one in figures if one.is_of_logs] if lean else drawn
    others = _figure_files(beside) | list_sources(study, figures)
    folder.write(others | {name: text.encode() for name, text in texts.items()})
    if say is not None:
        for line in study.remarks.list_printed():
            say(f"note: {line}")
    return out_dir / PAGE


def _render(
    study: Study,
    figures: Sequence[Illustration],
    gallery: Gallery,
    refresh_seconds: int | None,
    lean: bool,
) -> str:
    plan, runs, summary, records = study.plan, study.runs, study.summary, study.records
    listed = provenance.choose_listed(records)
    shown = [records[place] for place in listed]
    facts = provenance.list_facts(plan, shown)
    variants = [
        provenance.name_variant_anchor(name) if name in facts else "runs" for name in plan.variants
    ]
    names, comparisons = [figure.name for figure in figures], _compare_variants(study)
    kinds = choose_kinds(plan, study.changes)
    added = write_sections(study)
    baselines, baselines_note = _list_baselines(study)
    has_effects = len(study.changes) > 0 or comparisons is not None or "differences" in names
    grid = class_grid(study.classes, plan.variants) if len(study.classes) else None
    table = summary_table(summary, study.comparability, plan.baseline)
    return render(
        "page.html.jinja",
        styles=STYLES,
        scripts=SCRIPTS,
        filters={"variant_anchor": provenance.name_variant_anchor},
        lean=lean,
        plan=plan,
        refresh_seconds=refresh_seconds,
        contents=_list_contents(study, names, added, has_effects=has_effects),
        added=added,
        has_effects=has_effects,
        answer=find_answer(runs, summary, plan.baseline, study.intervals),
        kinds=kinds,
        statements=state_changes(study.changes, study.main_effects, study.interactions),
        shares=tell_shares(study.shares, study.primary),
        first_figure=_choose_figure(figures, kinds),
        effects=list(tabulate_changes(study.changes, plan.baseline, study.main_effects)),
        effects_note=describe_changes(study.changes),
        comparisons=comparisons,
        claims=claims_table(study.verdicts, study.looks) if study.verdicts else None,
        unfinished=provenance.list_unfinished(records),
        footnotes=provenance.list_footnotes(records),
        warnings=study.remarks.warnings,
        remarks=[one for one in _list_remarks(study) if one[1] not in study.remarks.warnings],
        mark=MARK if study.remarks.runs else "",
        summary=_link_rows(to_html(table, "Scores of the variants"), variants),
        summary_note=table.caption,
        figures={figure.name: figure for figure in figures},
        tuning=tuning_table(plan.tuning) if plan.tuning else None,
        omission=study.omission,
        gallery=gallery,
        classes=None
        if grid is None
        else _link_rows(to_html(class_table(grid, summary), "IoU by class"), variants),
        baselines=baselines,
        baselines_note=baselines_note,
        variants=to_script_json([[clean(n), study.names[n]] for n in plan.variants]),
        labels=other_targets_table(study.labels) if len(study.labels) else None,
        published=published_table(plan.published, summary, study.labels)
        if plan.published
        else None,
        evaluations=evaluations_table(study.evaluations) if len(study.evaluations) else None,
        runs=_link_rows(
            to_html(runs_table(runs.iloc[listed], study.primary), "Runs"),
            provenance.name_anchors(shown),
        ),
        num_unlisted=len(records) - len(listed),
        facts=facts,
        differing=provenance.settings_table(runs, study.factors),
        shared=provenance.shared_settings(plan),
        software=provenance.environment_table(records),
        methods=to_text(list_paragraphs(study)),
        weights=provenance.weights_table(records),
        finished=max(runs["finished"].dropna(), default=""),
        primary=label(study.primary),
        mean_score=mean_label(study.primary),
        shown_scores=explain_scores(study.summary),
        scoring=plan.scoring.describe(),
        most_seeds=int(summary["num_done"].max()),
        is_drawn=study.intervals.findings.num_contrasts <= MAX_LISTED,
        stops=study.intervals.findings.stops,
        is_by_image=all(one.length == 1 for one in study.intervals.units.values()),
    )


def _list_baselines(study: Study) -> tuple[Markup | None, str]:
    """Write the differences of all pairs of the variants drawn, and say what they are.

    None where none is known.
    """
    drawn, names = study.drawn.variants, study.drawn_summary
    pairs = list_pairs(drawn, study.intervals.findings, study.comparability)
    if not pairs:
        return None, ""
    best = names.sort_values(f"{study.primary}_mean", ascending=False, kind="stable")[
        "variant"
    ].iloc[0]
    written = baselines_json(drawn, study.names, study.plan.baseline or str(best), pairs)
    return written, describe_pairs(pairs, len(study.plan.variants) - len(drawn))


def _choose_figure(figures: Sequence[Illustration], kinds: Sequence[str]) -> str:
    """Return the name of the figure that stands beside the answer; empty for none.

    Of an effect, what the first factor's changes bring; of a ranking, differences to the baseline,
    else scores; what is not there gives way to the other.
    """
    names = [figure.name for figure in figures]
    effects = [name for name in names if name.startswith("effects-")]
    ranking = [name for name in ("differences", "scores") if name in names]
    wanted = [*effects, *ranking] if EFFECT in kinds else [*ranking, *effects]
    return next(iter(wanted), "")


def _compare_variants(study: Study) -> Table | None:
    """Return the table of each variant against the baseline; None without one, or counts."""
    baseline = study.plan.baseline
    if baseline is None or not len(study.intervals.scores) or len(study.summary) < 2:
        return None
    return comparison_table(study.summary, baseline, study.comparability)


def _list_contents(
    study: Study, figures: Sequence[str], added: Mapping[str, Sequence[Added]], *, has_effects: bool
) -> list[tuple[str, str]]:
    """List anchors and titles of the page's sections; what is added follows what it is behind."""
    absent = set() if study.plan.published else {"published"}
    absent |= set() if len(study.evaluations) else {"evaluations"}
    absent |= set() if {"curves", "costs"} & set(figures) else {"costs"}
    absent |= set() if has_effects else {"effects"}
    listed: list[tuple[str, str]] = []
    for name, title in (("answer", ""), *CONTENTS):
        listed += [(name, title)] if title and name not in absent else []
        listed += [(one.name, one.title) for one in added.get(name, ())]
    return listed


def _link_rows(html: Markup, anchors: Sequence[str]) -> Markup:
    """Make the name of each row of a table a link to what is known of it, in order."""
    place = iter(anchors)
    return Markup(
        _ROW_NAME.sub(lambda m: f'{m[1]}<a href="#{next(place, "runs")}">{m[2]}</a>{m[3]}', html)
    )


def _list_remarks(study: Study) -> list[tuple[str, str]]:
    """Return whom each remark is about, in words, and what it says; all are named."""
    names = study.names
    return [
        (enumerate_names((names[name] for name in about), most=len(about)), text)
        for about, text in study.remarks.lines
    ]


def _summary_markdown(study: Study) -> str:
    lines = [f"{who}: {text}" if who else text for who, text in _list_remarks(study)]
    parts = ["".join(f"- {escape_markdown(line)}\n" for line in lines)] if lines else []
    table = summary_table(study.summary, study.comparability, study.plan.baseline)
    parts.append(to_markdown(table))
    if len(study.labels):
        parts.append(to_markdown(other_targets_table(study.labels)))
    if study.plan.published:
        table = published_table(study.plan.published, study.summary, study.labels)
        parts.append(to_markdown(table))
    return "\n".join(parts)


def _figure_files(illustrations: Sequence[Illustration]) -> dict[str, bytes]:
    return {
        f"figures/{illustration.name}{suffix}": content
        for illustration in illustrations
        for suffix, content in illustration.files.items()
    }


_NO_IMAGES = (
    "This page was made from records and counts alone (report --from), which hold neither images "
    "nor predictions, so none are shown."
)
_ROW_NAME = re.compile(r'(<th [^>]*scope="row">)(.*?)(</th>)', re.DOTALL)
