"""Sections that plugins add: in their place, escaped, and never at the cost of the report."""

import dataclasses

import pandas as pd
import pytest
from markupsafe import Markup
from streets import fill, grid_plan

from bench.store.runs import Store
from fcn.errors import InputError
from reports.added_sections import write_sections
from reports.formats import Table
from reports.page import write_report
from reports.sections import CONTENTS, SECTIONS, list_sections, section
from reports.study import read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    whole = grid_plan()
    plan = dataclasses.replace(whole, runs=whole.runs[:2], baseline=None, claims=(), published=())
    store = Store(tmp_path_factory.mktemp("store"))
    fill(store, plan)
    return read_study(plan, store)


def give(value, name="mine", after="classes"):
    return SECTIONS.register(name)(section("Mine & <own>", after=after)(lambda study: value))


def write(study):
    (one,) = (one for added in write_sections(study).values() for one in added)
    return one


def test_ours_stand_on_the_page_in_their_order(study, tmp_path):
    page = write_report(study.plan, study.store, tmp_path, study=study).read_text()
    places = [page.find(f'<section id="{name}"') for name, _ in CONTENTS]
    found = [place for place in places if place >= 0]
    assert len(found) >= 6
    assert found == sorted(found)
    assert {"answer", *(name for name, _ in CONTENTS)} == set(SECTIONS)
    assert {row["name"] for row in list_sections()} == set(SECTIONS)


@pytest.mark.parametrize(
    ("after", "before"), [("answer", "summary"), ("classes", "runs"), ("conventions", None)]
)
def test_one_stands_behind_what_it_names_and_in_the_contents(
    after, before, study, tmp_path, own_parts
):
    give("Seen.", after=after)
    page = write_report(study.plan, study.store, tmp_path, study=study).read_text()
    place = page.index('<section id="mine"')
    assert page.index(f'<section id="{after}"') < place
    if before:
        assert place < page.index(f'<section id="{before}"')
    assert '<a href="#mine">Mine &amp; &lt;own&gt;</a>' in page
    assert "<h2>Mine &amp; &lt;own&gt;</h2>" in page


BAD = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "value",
    [
        BAD,
        pd.DataFrame({BAD: [BAD]}),
        Table(pd.DataFrame({"a": [BAD]}), frozenset(), caption=BAD),
        Markup("<b>{}</b>").format(BAD),
    ],
)
def test_what_is_text_is_escaped(value, study, own_parts):
    give(value)
    assert "<script" not in write(study).html
    assert "&lt;script&gt;" in write(study).html


def test_markup_stands_as_it_is_and_no_script_of_it_runs(study, tmp_path, own_parts):
    give(Markup("<em>trusted</em><script>alert(1)</script>"))
    page = write_report(study.plan, study.store, tmp_path, study=study).read_text()
    assert "<em>trusted</em>" in page
    policy = page.split("script-src ")[1].split(";")[0]
    assert "unsafe-inline" not in policy  # the page's digests are all that run


@pytest.mark.parametrize("value", [None, "", pd.DataFrame()])
def test_nothing_to_show_is_no_section(value, study, own_parts):
    give(value)
    assert write_sections(study) == {}


def test_one_that_fails_says_so_and_the_report_is_there(study, tmp_path, own_parts):
    SECTIONS.register("broken")(section("Broken")(lambda study: 1 / 0))
    give(3)
    page = write_report(study.plan, study.store, tmp_path, study=study).read_text()
    assert "could not be written: ZeroDivisionError: division by zero" in page
    assert "could not be written: it gave a int; a section gives text" in page


@pytest.mark.parametrize("name", ["classes", "answer"])
def test_the_names_of_ours_are_taken(name, own_parts):
    with pytest.raises(ValueError, match="registered already"):
        give("x", name=name)


def test_a_name_is_an_anchor(own_parts):
    with pytest.raises(ValueError, match="is no name of a section, which is its anchor"):
        give("x", name='"><b>')


def test_an_unknown_place_names_the_nearest(study, own_parts):
    give("x", after="clases")
    with pytest.raises(InputError, match="did you mean 'classes'"):
        write_sections(study)
