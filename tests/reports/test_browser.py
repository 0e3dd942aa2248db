"""The page in a real browser: it sorts, filters, hides, names, and asks nobody for anything."""

import shutil

import pytest

from reports.formats import escape_latex

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium"),
]


@pytest.fixture(scope="module")
def tab(browser, report):
    return browser.open((report / "index.html").as_uri(), 1280)


@pytest.mark.parametrize(
    ("width", "dark"), [(390, False), (390, True), (1280, True), (1280, False)]
)
def test_no_error_no_request_no_overflow(browser, report, width, dark):
    tab = browser.open((report / "index.html").as_uri(), width, dark=dark)
    assert tab.requests() == [(report / "index.html").as_uri()]
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    paper = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") != dark
    assert tab.complaints() == []


def column(tab, index):
    return tab.run(
        "[...document.querySelectorAll('#summary tbody tr')].filter(r => !r.hidden)"
        f".map(r => r.cells[{index}].textContent.trim())"
    )


def heads(tab):
    return tab.run("[...document.querySelectorAll('#summary thead th')].map(c => c.textContent)")


def test_a_table_sorts_by_a_column_both_ways_with_keys(tab):
    miou = heads(tab).index("mIoU")
    head = f"document.querySelectorAll('#summary thead th')[{miou}]"
    before = column(tab, miou)
    value = {text: float(text.split()[0]) for text in before if text != "–"}
    tab.run(f"{head}.querySelector('button').focus()")
    for order, down in (("descending", True), ("ascending", False)):
        tab.press("Enter")
        assert tab.run(f"{head}.getAttribute('aria-sort')") == order
        shown = [text for text in column(tab, miou) if text != "–"]
        assert shown == sorted(shown, key=value.get, reverse=down)
        assert sorted(column(tab, miou)) == sorted(before)


def test_what_is_missing_is_last_either_way(tab):
    change = next(i for i, name in enumerate(heads(tab)) if name.startswith("Δ"))
    for _ in range(2):
        tab.run(f"document.querySelectorAll('#summary thead button')[{change}].click()")
        assert column(tab, change)[-1] == "–"  # the baseline, against itself


def test_intervals_sort_by_their_lower_end(tab):
    place = heads(tab).index("Δ, 95 %")
    for down in (True, False):
        tab.run(f"document.querySelectorAll('#summary thead button')[{place}].click()")
        shown = [text for text in column(tab, place) if text != "–"]
        low = [float(text[1:].split(", ")[0].replace("−", "-")) for text in shown]
        assert len(set(low)) > 5
        assert low == sorted(low, reverse=down)


def test_all_tables_and_figures_have_names_and_links_of_their_own(tab):
    assert tab.run(
        "[...document.querySelectorAll('.scroll > table')].every(t => t.caption?.textContent)"
    )
    assert tab.run("[...document.querySelectorAll('.scroll')].every(b => b.ariaLabel)")
    ids = tab.run("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    assert {"figure-scores", "figure-costs", "variant-vgg16-fcn8s"} <= set(ids)
    links = tab.run("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))")
    assert set(links) <= set(ids)


def test_files_beside_the_page_are_there(tab, report):
    links = tab.run("[...document.querySelectorAll('.files a')].map(a => a.getAttribute('href'))")
    beside = {link for link in links if not link.startswith("#")}
    assert {"tables/summary.csv", "tables/changes.tex", "figures/scores-dark.svg"} <= beside
    assert [link for link in beside if not (report / link).is_file()] == []


def test_on_paper_all_is_open(browser, report):
    tab = browser.open((report / "index.html").as_uri(), 1280)
    closed = "document.querySelectorAll('#classes details:not([open]):not(.columns)').length"
    tab.run("dispatchEvent(new Event('beforeprint'))")
    assert tab.run(closed) == 0
    tab.run("dispatchEvent(new Event('afterprint'))")
    assert tab.run(closed) > 0


def test_rows_are_filtered_by_words(tab):
    field = "document.querySelector('#summary input[type=search]')"
    tab.run(f"{field}.value = 'VGG16 fcn'; {field}.dispatchEvent(new Event('input'))")
    assert sorted(column(tab, 0)) == ["vgg16-fcn16s", "vgg16-fcn8s"]
    assert tab.run("document.querySelector('#summary output').textContent") == "2 of 12"
    tab.run(f"{field}.value = ''; {field}.dispatchEvent(new Event('input'))")
    assert len(column(tab, 0)) == 12


def test_a_table_is_copied_as_it_is_shown_as_latex(tab):
    """The second route is the writer of `tables/*.tex`."""
    field = "document.querySelector('#summary input[type=search]')"
    tab.run(f"{field}.value = 'vgg16'; {field}.dispatchEvent(new Event('input'))")
    lines = tab.run("toLatex(document.querySelector('#summary table'))").splitlines()
    names = [escape_latex(name) for name in heads(tab)]
    assert lines[0] == f"\\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}"
    assert lines[2] == f"{' & '.join(names)} \\\\"
    columns = [column(tab, k) for k in range(len(names))]
    rows = [[escape_latex(text) for text in row] for row in zip(*columns, strict=True)]
    assert lines[4:-2] == [f"{' & '.join(row)} \\\\" for row in rows]
    assert len(rows) == 3
    tab.run(f"{field}.value = ''; {field}.dispatchEvent(new Event('input'))")
    assert tab.run("document.querySelectorAll('p.files .copy').length") >= 4


def test_a_column_hides_and_comes_back(tab):
    cells = "[...document.querySelectorAll('#summary tr')].map(r => r.cells[2].hidden)"
    for hidden in (True, False):
        tab.run("document.querySelectorAll('#summary .columns input')[1].click()")
        assert set(tab.run(cells)) == {hidden}


def test_a_point_is_named_when_pointed_at_and_by_keys(tab):
    box = "document.querySelector('figure.scores [data-points]')"
    x, y, name = tab.run(
        f"(() => {{ {box}.scrollIntoView({{block: 'center'}});"
        f" const p = JSON.parse({box}.dataset.points)[0];"
        f" const r = {box}.querySelector('img').getBoundingClientRect();"
        " return [r.left + r.width * p[0] / 1000, r.top + r.height * p[1] / 1000, p[2]] })()"
    )
    tip = "document.querySelector('.tip')"
    tab.point(x, y)
    shown = tab.run(f"{tip}.hidden ? '' : {tip}.textContent")
    assert shown.split(":")[0].split(",")[0] in {name.split(",")[0], "alexnet-none"}
    tab.point(2, 2)
    assert tab.run(f"{tip}.hidden")
    tab.run(f"{box}.focus()")
    tab.press("ArrowRight")
    assert tab.run(f"{tip}.textContent") == name
    tab.press("Escape")
    assert tab.run(f"{tip}.hidden")


def test_a_name_leads_to_the_record_of_its_runs(tab, plan):
    link = "[...document.querySelectorAll('#runs tbody th a')][3]"
    tab.run(f"{link}.click()")
    tab.run("new Promise(done => setTimeout(done, 100))")
    assert tab.run("document.querySelector('details.records').open")
    record = tab.run("document.querySelector(location.hash).innerText")
    assert plan.runs[3].run.id in record
    assert tab.run("document.querySelector(location.hash).getBoundingClientRect().top") < 900


def test_without_its_script_the_page_still_has_everything(browser, report, tmp_path):
    html = (report / "index.html").read_text()
    plain = tmp_path / "plain.html"
    plain.write_text(html.replace('"use strict";', '"use strict"; '))  # no longer what is pinned
    tab = browser.open(plain.as_uri(), 1280)
    assert any("Content Security Policy" in text for text in tab.complaints())
    assert tab.run("document.querySelectorAll('th button').length") == 0
    assert tab.run("document.querySelectorAll('#summary tbody tr').length") == 12


def test_the_paragraphs_on_methods_are_copied_by_a_button(tab):
    text = "document.querySelector('.copyable')"
    assert tab.run(f"{text}.closest('details').open = true")
    tab.run(f"{text}.previousElementSibling.focus()")
    assert tab.run("document.activeElement.getAttribute('aria-label')") == (
        "Copy paragraphs on methods"
    )
    tab.press("Enter")
    assert tab.run(f"getSelection().toString().trim() === {text}.textContent.trim()")
    assert "[@long2015fully; @shelhamer2017fully]" in tab.run("getSelection().toString()")
