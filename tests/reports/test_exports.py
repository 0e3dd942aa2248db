"""Tables to take along: in every form, for every table, whatever anything is called."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from streets import CLASS_NAMES, finish

from bench.plan import Published
from reports.files import EXPORTS
from reports.formats import Table, escape_latex, to_html, to_latex, to_markdown
from reports.study import read_study
from reports.tables.exports import list_exports, write_exports
from reports.tables.runs import costs_frame, costs_table

HOSTILE = [
    r"$\bad{x}$", '"><script>', '=HYPERLINK("x")', "a|b", "50% & co_1 #", r"\input{x}",
    "[1] x", "*x*", "x--y ~^`<>", "\x1b[2J{}\\\\",
]  # fmt: skip
ENGINE = shutil.which("tectonic") or shutil.which("pdflatex")


def export(study):
    return write_exports(study)


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="session")
def study(plan, store):
    return read_study(plan, store)


@pytest.fixture(scope="session")
def outputs(study):
    return export(study)


@pytest.fixture
def hostile(small_store, make_plan):
    published = (
        Published(
            variant=HOSTILE[4], source=HOSTILE[5], differs=HOSTILE[3], miou=0.5, verified=False
        ),
    )
    plan = make_plan(HOSTILE, baseline=HOSTILE[0], published=published, name=HOSTILE[1])
    names = [*HOSTILE[:6], *CLASS_NAMES[6:]]
    for planned in plan.runs:
        finish(small_store, planned, class_names=names, log=False)
    return export(read_study(plan, small_store))


def compile_latex(texts, folder):
    document = [r"\documentclass{article}\usepackage{booktabs}\begin{document}\tiny"]
    (folder / "all.tex").write_text("\n".join([*document, *texts, r"\end{document}"]))
    (folder / "x.tex").write_text("INPUT WAS READ")  # what \input{x} would find
    ended = subprocess.run(
        [ENGINE, *([] if "tectonic" in ENGINE else ["-halt-on-error", "-no-shell-escape"]),
         "all.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-2000:]
    return ended.stdout


def check_latex(text):
    """Balanced braces, as many cells in each row, and no command that is not ours."""
    plain = re.sub(r"\\[{}$&%#_\\]", "", text)
    assert plain.count("{") == plain.count("}")
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    ours = {"begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule",
            "textbf", "underline", "textbackslash", "textasciitilde", "textasciicircum",
            "textless", "textgreater", "textbar", "char", "pm", "times", "to", "Delta", "dag",
            "dots", "textendash", "usepackage", "approx", "leq", "surd"}  # fmt: skip
    assert set(re.findall(r"(?<!\\)\\([a-zA-Z]+)", text)) <= ours


def test_every_table_is_written_in_every_form(outputs):
    assert set(outputs) == {
        path for path in EXPORTS if Path(path).stem not in ("labels", "evaluations", "tuning")
    }  # test_labels.py, test_evaluations.py, test_tuning_table.py
    for path, text in outputs.items():
        assert text.endswith("\n"), path


def test_csv_holds_fractions_and_the_shown_forms_percent(outputs, study):
    row = read_csv(outputs["tables/paper.csv"])[0]
    first = study.summary.iloc[0]
    assert float(row["miou_mean"]) == first["miou_mean"]
    assert float(row["miou_low"]) == first["miou_low"] < first["miou_mean"] < first["miou_high"]
    shown = f"{100 * first['miou_mean']:.1f} ± {100 * first['miou_std']:.1f}"
    assert shown in outputs["tables/paper.md"]
    assert shown.replace("±", r"$\pm$") in outputs["tables/paper.tex"]


def test_the_papers_form_has_its_four_scores_in_its_order(study):
    table = dict(list_exports(study))["paper"].table
    assert list(table.cells.columns) == [
        "variant", "n", "pixel acc.", "mean acc.", "mean IU", "f.w. IU",
    ]  # fmt: skip
    assert table.cells.loc[0, "n"] == "2 × 8"
    assert re.fullmatch(r"\d+\.\d ± \d+\.\d \[\d+\.\d, \d+\.\d\]", table.cells.loc[0, "mean IU"])
    best = int(study.summary["miou_mean"].idxmax())
    assert (best, "mean IU") in table.best
    assert (best, "mean IU") not in table.tied


def test_captions_say_units_and_what_intervals_cover(outputs):
    for name in ("summary", "paper", "classes"):
        text = outputs[f"tables/{name}.md"]
        assert "percent" in text
        assert "n = 8" in text
        assert "of seeds" in text
        assert "one seed" in text  # a run failed: that variant's interval is over images alone
    assert "for all contrasts of this page at once" in outputs["tables/comparisons.md"]
    assert "sample standard deviation" in outputs["tables/costs.md"]


def test_costs_are_means_over_finished_runs(outputs, study):
    rows = {row["variant"]: row for row in read_csv(outputs["tables/costs.csv"])}
    done = study.runs[study.runs["variant"] == "vgg16-fcn8s"]
    assert float(rows["vgg16-fcn8s"]["train_seconds_mean"]) == pytest.approx(
        done["train_seconds"].mean()
    )
    assert rows["googlenet-fcn16s"]["num_done"] == "1"
    assert rows["googlenet-fcn16s"]["train_seconds_std"] == ""


def test_runs_without_a_step_cost_no_time(study):
    table = costs_table(costs_frame(study.runs.assign(train_seconds=0.0)))
    assert set(table.cells["training"]) == {"0 s"}


def test_best_and_tied_are_marked_in_each_form():
    cells = pd.DataFrame({"variant": ["a", "b", "c"], "mIoU": ["3", "2", "1"]})
    table = Table(cells, frozenset({"mIoU"}), frozenset({(0, "mIoU")}), frozenset({(1, "mIoU")}))
    assert "<strong>3</strong>" in to_html(table, "Numbers")
    assert "<u>2</u>" in to_html(table, "Numbers")
    assert "**3**" in to_markdown(table)
    assert "*2*" in to_markdown(table)
    assert r"\textbf{3}" in to_latex(table, "x")
    assert r"\underline{2}" in to_latex(table, "x")


def test_unverified_numbers_bear_a_mark(hostile):
    assert "50.0†" in hostile["tables/published.md"]
    assert r"50.0\dag{}" in hostile["tables/published.tex"]
    assert read_csv(hostile["tables/published.csv"])[0]["verified"] == "False"


def test_many_classes_go_down(small_store, make_plan):
    names = [f"class {i}" for i in range(20)]
    plan = make_plan(["a", "b"])
    for planned in plan.runs:
        finish(small_store, planned, class_names=names, log=False)
    text = export(read_study(plan, small_store))["tables/classes.md"]
    assert text.splitlines()[0].replace(" ", "") == "|class|a|b|"
    assert len([line for line in text.splitlines() if line.startswith("| class ")]) == 21


def test_latex_is_well_formed(outputs, hostile):
    for texts in (outputs, hostile):
        for path, text in texts.items():
            if path.endswith(".tex"):
                check_latex(text)


def test_latex_holds_no_sign_that_plain_latex_lacks(outputs):
    tables = [text for path, text in outputs.items() if path.endswith(".tex")]
    assert {char for text in tables for char in text if char > "\u024f"} == set()  # Latin letters
    assert escape_latex("≈ ≤ ✓ ✗") == r"$\approx$ $\leq$ $\surd$ $\times$"


@pytest.mark.skipif(ENGINE is None, reason="neither tectonic nor pdflatex is installed")
def test_latex_compiles_and_reads_no_file(outputs, hostile, tmp_path):
    for name, texts in (("plain", outputs), ("hostile", hostile)):
        (tmp_path / name).mkdir()
        log = compile_latex(
            [text for path, text in texts.items() if path.endswith(".tex")], tmp_path / name
        )
        assert "x.tex" not in log


def test_hostile_names_break_no_form(hostile):
    for path, text in hostile.items():
        assert "\x1b" not in text, path
        assert "<script" not in text or path.endswith((".csv", ".tex")), path
        if path.endswith(".csv"):
            cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
            assert [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))] == [], path
        if path.endswith(".md"):
            table = [line for line in text.splitlines() if line.startswith("|")]
            assert len({line.replace("\\|", "").count("|") for line in table}) == 1, path
    assert len(read_csv(hostile["tables/summary.csv"])) == len(HOSTILE)
