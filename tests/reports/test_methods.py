"""The paragraphs for a paper: a golden text, no number that records do not hold, safe LaTeX."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from judged import CLASSES, COLLAPSED, FAIR, GOOD, judge
from streets import finish

from bench.data.registry import DATASETS as REGISTERED
from bench.text import clean
from reports.formats import to_csv
from reports.methods.citing import to_text
from reports.methods.paragraphs import list_paragraphs, write_methods
from reports.methods.references import DATASETS, LIBRARIES, METHOD, SOFTWARE, list_references
from reports.sources import list_sources
from reports.study import read_study

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).with_name("methods.md")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w])")
CONSTANTS = {"95", "5", "0"}
"""Of the convention: levels, and what an absent class counts."""


@pytest.fixture(scope="module")
def study(plan, store):
    return read_study(plan, store)


def test_the_paragraphs_are_those_of_the_golden_file(study):
    """After a change that is meant, write the file again from `write_methods`."""
    assert write_methods(study)["methods.md"] == GOLDEN.read_text()


def count(study):
    """Numbers that follow from records by counting, each by a route of its own."""
    results = {r.result.run_id: r.result for r in study.records if r.result}.values()
    seconds = [sum(getattr(r, k) for r in results) for k in ("train_seconds", "evaluate_seconds")]
    V, skips = len(study.summary), study.summary["skip"].nunique()
    counted = {len(results), len(study.records), V, study.intervals.num_resamples}
    counted |= {len(results[0].class_names) for results in [list(results)]}
    counted |= {len(study.verdicts), len(study.intervals.findings.found), skips}
    hours = {f"{total / 3600:.3g}" for total in seconds}
    return {str(one) for one in counted} | hours | {f"{study.intervals.findings.critical:.3f}"}


def test_every_number_is_in_the_records_or_counted_from_them(study):
    text = to_text(list_paragraphs(study))
    text = re.sub(r" \[@.*?\]", "", text)
    held = to_csv(study.summary) + to_csv(study.runs)
    held += list_sources(study)["records.json"].decode() + " ".join(study.intervals.notes)
    known = set(NUMBER.findall(held)) | count(study) | CONSTANTS
    found = NUMBER.findall(text)
    assert len(found) > 20
    assert [number for number in found if number not in known] == []


def test_a_grid_has_as_many_contrasts_as_are_said(study):
    """Pairs of 12 variants of which two have one seed, and means over contexts with their rest."""
    assert f"All {study.intervals.findings.num_contrasts} contrasts" in GOLDEN.read_text()


def test_outliers_margins_and_claims_are_told(small_store):
    arms = {"base": [[GOOD] * 6, [FAIR] * 6], "bad": [[FAIR] * 6, [COLLAPSED] * 6, [GOOD] * 6]}
    plan = dataclasses.replace(judge(small_store, arms), margin=0.01)
    text = to_text(list_paragraphs(read_study(plan, small_store)))
    assert "equivalent where it lies within 1 point" in text
    assert "1 run (collapsed" in text
    once = dataclasses.replace(plan, runs=plan.runs[:1], baseline=None)
    text = to_text(list_paragraphs(read_study(once, small_store)))
    assert "nothing is tested" in text
    assert "hothorn" not in text


def test_a_question_without_runs_has_paragraphs_too(small_store, make_plan):
    text = to_text(list_paragraphs(read_study(make_plan(["a"]), small_store)))
    assert "0 of 1 run finished" in text
    assert "device-hours" not in text


def test_no_name_is_a_command(small_store, make_plan):
    names = ["50%_of & $all$", r"\input{x}", "a~b^c#{d}", "plain\x02long2015fully\x03"]
    plan = make_plan(names, question="Is 1 < 2 & 3?", expectation="100 % _sure_")
    written = write_methods(read_study(plan, small_store))
    tex = written["methods.tex"].split("\n", 1)[1]
    bare = re.sub(r"\\(?:cite|paragraph)\{[\w,. ]*\}", "", tex)
    bare = re.sub(r"\\text\w+\{\}|\\[%&$#_{}]|\$[-+\\a-z]*\$|~(?=$| )", "", bare)
    assert not re.findall(r"[%&$#_{}\\^]", bare)
    assert r"\textbackslash{}input\{x\}" in tex
    assert (
        tex.count("long2015fully") == written["methods.md"].count("@long2015fully") + 2
    )  # a name, and its lost run


def test_references_are_those_that_are_cited_and_ours_is_that_of_the_citation_file(study):
    written = write_methods(study)
    cited = set(re.findall(r"@(\w+)", written["methods.md"]))
    assert set(re.findall(r"^@\w+\{(\w+),", written["references.bib"], re.MULTILINE)) == cited
    for entry in written["references.bib"].split("\n\n"):
        assert entry.count("{") == entry.count("}")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    own = list_references([SOFTWARE], ["1.2"])
    assert "version = {1.2}" in own
    for text in (citation["title"], citation["authors"][0]["name"], citation["license"]):
        assert f"{{{text}}}" in own
    for key, told in zip(METHOD, citation["references"], strict=True):
        entry = list_references([key], [])
        names = [f"{one['family-names']}, {one['given-names']}" for one in told["authors"]]
        values = told["title"], str(told["year"]), told["doi"], " and ".join(names)
        assert all(f"{{{value}}}" in entry for value in values)
        assert f"{{{told['start']}--{told['end']}}}" in entry


def test_every_data_set_of_others_is_cited():
    assert set(REGISTERED) == {*DATASETS, "shapes", "folder"}
    keys = {key for found in DATASETS.values() for key in found}
    assert list_references([*keys, *LIBRARIES.values()], []).count("@") == len(keys) + 2


def test_claims_say_when_they_were_noted(study, small_store):
    (verdict,) = study.verdicts
    digest = verdict.question.claim.digest(None)
    kept = dataclasses.replace(study.kept, noted={digest: "2026-01-02T03:04:05+00:00"})
    told = dataclasses.replace(
        study, kept=kept, verdicts=[dataclasses.replace(verdict, noted="before its runs")]
    )
    text = to_text(list_paragraphs(told))
    assert f"(digest {digest}, noted 2026-01-02T03:04:05+00:00, before its runs)" in text


def test_the_page_shows_them_and_leads_to_the_files(report, study):
    page = (report / "index.html").read_text()
    for name, content in write_methods(study).items():
        assert f'<a href="{name}">' in page
        assert (report / name).read_text() == content
    shown = re.search(r'<pre class="prose copyable".*?>(.*?)</pre>', page, re.DOTALL)[1]
    assert clean(shown)[:60] == clean(to_text(list_paragraphs(study)))[:60]
    assert json.loads((report / "records.json").read_text())["format"] == 1


def spec_with(run, **changes):
    """A run whose spec has other sections: spec_with(run, data={"train_fraction": 0.5})."""
    sections = {name: getattr(run.spec, name).model_copy(update=v) for name, v in changes.items()}
    return dataclasses.replace(run, spec=run.spec.model_copy(update=sections))


def test_images_that_were_learnt_from_are_those_of_the_runs(small_store):
    """A variant learns from half of the split, and the margin is as it was written."""
    plan = judge(small_store, {"all": [[GOOD] * 6] * 2, "half": [[FAIR] * 6] * 2})
    halves = {"half": {"train_fraction": 0.5}, "all": {}}
    runs = [dataclasses.replace(p, run=spec_with(p.run, data=halves[p.variant])) for p in plan.runs]
    for planned in runs:
        counts = np.array([GOOD] * 6, dtype=np.int32)
        number = 20 if planned.variant == "half" else 40
        finish(small_store, planned, confusions=counts, class_names=CLASSES, num_trained=number)
    plan = dataclasses.replace(plan, runs=tuple(runs), margin=0.0025)
    text = to_text(list_paragraphs(read_study(plan, small_store)))
    assert "learn from 20 to 40 images of split train" in text
    assert "judged on 6 images of split test in 3 classes" in text
    assert "within 0.25 points" in text


def test_seeds_are_told_by_variant_where_they_differ(small_store):
    arms = {"base": [[GOOD] * 6, [FAIR] * 6], "more": [[FAIR] * 6, [GOOD] * 6, [GOOD] * 6]}
    text = to_text(list_paragraphs(read_study(judge(small_store, arms), small_store)))
    seeds = "base was trained with seeds 0 and 1; more was trained with seeds 0, 1 and 2; a seed"
    assert seeds in text
    same = {"base": [[GOOD] * 6, [FAIR] * 6], "less": [[FAIR] * 6, [GOOD] * 6]}
    text = to_text(list_paragraphs(read_study(judge(small_store, same), small_store)))
    assert "Each was trained with seeds 0 and 1;" in text


def test_starting_weights_are_told_with_their_origin_and_without_their_folder(small_store):
    plan = judge(small_store, {"a": [[GOOD] * 6] * 2})
    weights = {
        **{"pretrained": "net.safetensors", "source": "/home/me/net.safetensors"},
        **{"origin": "a package 1.0: Net, ImageNet", "licence": "MIT"},
    }
    for planned in plan.runs:
        counts = np.array([GOOD] * 6, dtype=np.int32)
        finish(small_store, planned, confusions=counts, class_names=CLASSES, weights=weights)
    study = read_study(plan, small_store)
    text = to_text(list_paragraphs(study))
    told = "The weights net.safetensors are from a package 1.0: Net, ImageNet; licence MIT."
    assert text.count(told) == 1
    sources = list_sources(study)
    assert not [name for name, content in sources.items() if b"/home/me" in content]
