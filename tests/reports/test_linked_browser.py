"""Figures and tables linked, in a real browser: what is lit in one is lit in all; any baseline."""

import json
import re
import shutil

import pytest

from reports.study import read_study
from reports.style import p_bound, points, with_interval

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium"),
]


@pytest.fixture(scope="module")
def study(plan, store):
    return read_study(plan, store)


@pytest.fixture
def show(browser, report):
    def show(address="", width=1280, **how):
        return browser.open((report / "index.html").as_uri() + address, width, **how)

    return show


def rows(tab):
    """The table of differences as it stands: by variant, difference and verdict."""
    cells = tab.run(
        "[...document.querySelectorAll('#differences tbody tr')]"
        ".map(r => [0, 1, 3].map(i => r.cells[i].textContent))"
    )
    return {name.split(" ‡")[0]: rest for name, *rest in cells}


def choose(tab, name):
    tab.run(
        "(() => { const s = document.querySelector('#differences select');"
        f" s.value = [...s.options].find(o => o.text.split(' ')[0] === '{name}').value;"
        " s.dispatchEvent(new Event('change')) })()"
    )


@pytest.mark.parametrize("baseline", ["alexnet-none", "vgg16-fcn8s", "googlenet-fcn16s"])
def test_any_baseline_shows_what_is_found(show, study, baseline):
    tab = show()
    if baseline != study.plan.baseline:
        choose(tab, baseline)
    shown = rows(tab)
    assert set(shown) == set(study.plan.variants) - {baseline}
    for name, (difference, verdict) in shown.items():
        found = study.intervals.findings.compare(baseline, name)
        if found is None:
            assert (difference, verdict) == ("–", "–")
            continue
        text = with_interval(points(found.diff), found.low, found.high, points)
        assert difference.removeprefix("≈ ") == text
        assert verdict == (f"{found.word} (p {p_bound(found.p)})" if found.word else "–")
    assert tab.complaints() == []


def test_the_servers_table_and_the_scripts_say_the_same(show, study):
    tab = show()
    named = study.summary.set_index("variant")
    for name, (difference, _) in rows(tab).items():
        row = named.loc[name]
        ends = row["miou_diff_low"], row["miou_diff_high"]
        assert difference.removeprefix("≈ ") == (
            with_interval(points(row["miou_diff_mean"]), *ends, points)
            if ends[0] == ends[0] or row["miou_diff_mean"] == row["miou_diff_mean"]
            else "–"
        )


def test_a_baseline_survives_a_reload_and_the_back_button(show):
    tab = show()
    before = rows(tab)
    choose(tab, "vgg16-fcn8s")
    assert tab.run("location.hash") == "#baseline=vgg16-fcn8s"
    after = rows(tab)
    tab.reload()
    assert rows(tab) == after != before
    tab.run("new Promise(done => { history.back(); setTimeout(done, 500) })")
    assert rows(tab) == before


def test_an_order_stays_when_the_baseline_changes(show):
    tab = show()
    tab.run("document.querySelector('#differences thead th.num button').click()")  # highest first
    for baseline in ("alexnet-none", "vgg16-none"):
        choose(tab, baseline)
        shown = [
            difference.removeprefix("≈ ").split(" ")[0] for difference, _ in rows(tab).values()
        ]
        known = [float(text.replace("−", "-")) for text in shown if text != "–"]
        assert len(known) >= 10
        assert known == sorted(known, reverse=True)
        assert shown[len(known) :] == ["–"] * (len(shown) - len(known))
    assert tab.run("document.querySelector('#differences .forest button')") is None
    assert tab.complaints() == []


def test_bars_lie_where_their_numbers_say(show):
    tab = show("#baseline=vgg16-fcn8s")
    lines = tab.run(
        "[...document.querySelectorAll('#differences tbody tr')].map(r => {"
        " const at = kind => r.querySelector(kind)?.getBoundingClientRect();"
        " const [zero, span, dot] = ['.zero', '.span', '.dot'].map(at);"
        " return [r.cells[1].textContent, zero?.left, span?.left, span?.right,"
        " dot && (dot.left + dot.right) / 2] })"
    )
    scales = []
    for text, zero, left, right, dot in lines:
        numbers = [float(x) for x in re.findall(r"[+-]?\d+\.\d", text.replace("−", "-"))]
        if len(numbers) == 3:
            for value, place in zip(numbers, (dot, left, right), strict=True):
                if abs(value) > 5:
                    scales.append((place - zero) / value)
    assert len(scales) > 8
    assert max(scales) - min(scales) < 0.05 * max(scales)


def lit(tab):
    """Variants whose rows are lit, and the number of figures with a veil."""
    return tab.run(
        "[[...new Set([...document.querySelectorAll('tr.lit')].map(r => r.cells[0].textContent"
        ".replace(' ‡', '').trim()))], document.querySelectorAll('.veil').length]"
    )


def figures_of(tab, variant):
    """The number of figures, but for images, that have a mark of a variant."""
    marked = tab.run(
        "[...document.querySelectorAll('figure:not(.image) [data-points]')]"
        ".map(b => b.dataset.points)"
    )
    return sum(any(mark[3:] == [variant] for mark in json.loads(text)) for text in marked)


def test_a_row_that_is_pointed_at_is_lit_everywhere(show):
    tab = show()
    place = tab.run(
        "(() => { const r = [...document.querySelectorAll('#summary tbody tr')]"
        ".find(r => r.cells[0].textContent.trim() === 'vgg16-fcn16s');"
        " r.scrollIntoView({block: 'center'}); const b = r.cells[1].getBoundingClientRect();"
        " return [b.left + 4, b.top + 4] })()"
    )
    tab.point(*place)
    rows_lit, veils = lit(tab)
    assert rows_lit == ["vgg16-fcn16s"]
    assert veils == figures_of(tab, "vgg16-fcn16s") >= 6
    where = "[...document.querySelectorAll('section:has(tr.lit)')].map(s => s.id)"
    assert {"summary", "classes", "runs"} <= set(tab.run(where))
    tab.point(2, 2)
    assert lit(tab) == [[], 0]


def test_a_mark_lights_its_variant_by_keys_and_pointer(show):
    tab = show()
    box = "document.querySelector('figure.costs [data-points]')"
    tab.run(f"{box}.focus()")
    tab.press("ArrowRight")
    first = json.loads(tab.run(f"{box}.dataset.points"))[0]
    assert lit(tab) == [[first[3]], figures_of(tab, first[3])]
    hole = tab.run(
        f"(() => {{ const c = {box}.querySelector('.veil circle');"
        f" const w = {box}.querySelector('img').width;"
        " return 1000 * c.getAttribute('cx') / w })()"
    )
    assert hole == pytest.approx(first[0])
    tab.press("Escape")
    assert lit(tab) == [[], 0]


def test_linked_figures_overflow_nothing_on_a_phone(show):
    tab = show("#baseline=vgg16-fcn8s", 390, dark=True)
    tab.run("document.dispatchEvent(new CustomEvent('light', {detail: 'vgg16-fcn8s'}))")
    assert tab.run("document.documentElement.scrollWidth") <= 390
    assert tab.complaints() == []


def test_print_has_the_figure_or_the_baseline_that_was_chosen(show):
    shown = "['figure.differences', '#differences']"
    shown += ".map(s => document.querySelector(s).checkVisibility())"
    tab = show()
    assert tab.run(shown) == [False, True]
    tab.send("Emulation.setEmulatedMedia", {"media": "print"})
    assert tab.run(f"new Promise(requestAnimationFrame), {shown}") == [True, False]
    choose(tab, "vgg16-fcn8s")
    assert tab.run(f"new Promise(requestAnimationFrame), {shown}") == [False, True]
