"""The pages of two sides and of several data sets in a real browser."""

import shutil

import pytest
from drawn import draw

from bench.store.runs import Store
from reports.across import read_across
from reports.across_page import write_across
from reports.compare import write_comparison
from reports.results.data_sets import list_parts
from reports.sides import Side, compare_sides

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium"),
]
QUALITIES = {name: 0.6 + 0.02 * k for k, name in enumerate("abcdefgh")}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    store = Store(folder / "one")
    plans = [draw(store, QUALITIES, dataset=name, name=name) for name in ("roads", "rooms", "x")]
    longer = Store(folder / "other")
    after = draw(longer, QUALITIES | {"c": 0.5}, dataset="roads", steps=800)
    sides = Side("one", plans[0], store), Side("other", after, longer)
    across = read_across(list_parts([(plan, store) for plan in plans]))
    return {
        "compare": write_comparison(compare_sides(*sides), folder / "compare"),
        "across": write_across(across, plans, folder / "across"),
    }


@pytest.mark.parametrize("name", ["compare", "across"])
@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1400, True)])
def test_no_error_no_request_no_overflow(browser, pages, name, width, dark):
    tab = browser.open(pages[name].as_uri(), width, dark=dark)
    assert tab.requests() == [pages[name].as_uri()]
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    paper = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") != dark
    assert tab.complaints() == []


@pytest.mark.parametrize("name", ["compare", "across"])
def test_every_table_has_a_name_and_heads_and_every_figure_a_finding(browser, pages, name):
    tab = browser.open(pages[name].as_uri(), 1400)
    tables = tab.run(
        "[...document.querySelectorAll('table')].map(t => [t.caption && t.caption.textContent,"
        " t.parentElement.getAttribute('aria-label'), t.querySelectorAll('thead th[scope=col]')"
        ".length, [...t.tBodies[0].rows].every(r => r.cells[0].scope === 'row')])"
    )
    assert tables
    for caption, box, columns, has_heads in tables:
        assert caption
        assert caption == box
        assert columns > 2
        assert has_heads
    alts = tab.run("[...document.images].map(i => i.alt)")
    assert alts
    assert all("Shown to be" in alt or "Best mean rank" in alt for alt in alts)
    ids = tab.run("[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))")
    assert all(tab.run(f"document.querySelector('{one}') !== null") for one in ids)


def test_what_changed_stands_above_the_variants(browser, pages):
    tab = browser.open(pages["compare"].as_uri(), 1400)
    place = "document.querySelector('{}').getBoundingClientRect().top"
    tops = [tab.run(place.format(one)) for one in ("#answer", "#changed", "#variants")]
    assert tops == sorted(tops)
    text = "document.querySelector('#{}').innerText"
    assert "train.steps" in tab.run(text.format("changed"))
    assert "train.steps" not in tab.run(text.format("variants"))


def test_rows_sort_by_rank_and_by_difference(browser, pages):
    tab = browser.open(pages["across"].as_uri(), 1400)
    cells = "[...document.querySelectorAll('{} tbody tr')].map(r => r.cells[1].textContent)"
    for section in ("#ranks", "#differences"):
        head = f"document.querySelectorAll('{section} thead th')[1].querySelector('button')"
        tab.run(f"{head}.click()")
        shown = [text.split()[0].replace("−", "-") for text in tab.run(cells.format(section))]
        assert shown == sorted(shown, key=float, reverse=True)
