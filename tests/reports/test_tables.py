import csv
import io
import math
from html.parser import HTMLParser

import pandas as pd
import pytest

from bench.plan import Published
from bench.text import clean, clean_block
from reports import style
from reports.formats import Table, to_csv, to_html, to_markdown
from reports.results.frame import class_frame, read_records, runs_frame
from reports.stats.intervals import find_intervals
from reports.stats.summary import add_intervals, summarize_variants
from reports.tables.classes import class_grid, class_table
from reports.tables.published import published_table
from reports.tables.runs import runs_table
from reports.tables.summary import summary_table

HOSTILE = ['"><script>alert(1)</script>', r"$\bad{x}$", '=HYPERLINK("x")', "a|b", "\x1b[2Jx"]


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (style.percent(0.6241), "62.4"),
        (style.percent(math.nan), "–"),
        (style.points(0.0123), "+1.2"),
        (style.points(-0.0123), "−1.2"),
        (style.points(-0.0001), "0.0"),
        (style.with_spread("62.4", 0.0123), "62.4 ± 1.2"),
        (style.with_spread("62.4", math.nan), "62.4"),
        (style.duration(0.04238), "0.042 s"),
        (style.duration(7.25), "7.2 s"),
        (style.duration(600), "10.0 min"),
        (style.duration(7200), "2.0 h"),
        (style.millions(60_965_224), "61.0 M"),
        (clean("\x1b[31m\u202eab\ud800"), "\\x1b[31m\\u202eab\\ud800"),
        (clean_block("a\r\nb\tc\x07"), "a\nb   c\\x07"),
    ],
)
def test_units_are_shown(shown, expected):
    assert shown == expected


def test_the_summary_shows_spread_seeds_and_the_best(plan, store):
    runs = runs_frame(plan, store)
    intervals = find_intervals(read_records(plan, store), store)
    summary = add_intervals(summarize_variants(runs, plan.baseline), intervals, plan.baseline)
    table = summary_table(summary)
    cells = table.cells.set_index("variant")
    assert cells.loc["googlenet-fcn16s", "seeds"] == "1 of 2"
    assert "±" not in cells.loc["googlenet-fcn16s", "mIoU"]
    assert "±" in cells.loc["vgg16-fcn8s", "mIoU"]
    assert cells.loc["alexnet-none", "Δ mIoU"] == "–"
    best = int(summary["miou_mean"].idxmax())
    assert (best, "mIoU") in table.best
    assert table.best == {(best, "mIoU")}  # other scores bear no mark
    assert not summary_table(summary.drop(columns="miou_best")).best  # without counts, none does


def test_absent_classes_are_dashes(plan, store):
    table = class_table(class_grid(class_frame(plan, store), plan.variants))
    assert set(table.cells["bicyclist"]) == {"–"}
    assert len(table.cells) == 12


def test_runs_are_listed_with_reason_and_id(plan, store):
    cells = runs_table(runs_frame(plan, store)).cells
    assert len(cells) == 24
    assert cells.loc[cells["status"] == "failed", "reason"].tolist() == ["memory"]
    assert cells["run"].str.fullmatch("[0-9a-f]{16}").all()


def test_published_numbers_stand_beside_ours(plan, store):
    summary = summarize_variants(runs_frame(plan, store))
    entry = Published(
        variant="vgg16-fcn8s", source="Paper", differs="other data", miou=0.5, verified=False
    )
    other = Published(variant="not planned", source="Paper", differs="x", pixel_acc=0.9)
    cells = published_table([entry, other], summary).cells
    mean = summary.set_index("variant").loc["vgg16-fcn8s", "miou_mean"]
    assert cells.loc[0, "published"] == "50.0†"
    assert cells.loc[0, "ours − published"] == f"{100 * (mean - 0.5):+.1f}"
    assert cells.loc[0, "source"] == "Paper (not checked)"
    assert cells.loc[1, "ours"] == "–"


def test_html_shows_hostile_text_and_runs_none():
    table = Table(pd.DataFrame({"variant": HOSTILE}), frozenset(), frozenset({(0, "variant")}))
    reader = Reader(str(to_html(table, "Names")))
    assert set(reader.tags) == {"div", "table", "caption", "thead", "tbody", "tr", "th", "strong"}
    assert HOSTILE[0] in reader.text
    assert HOSTILE[3] in reader.text


def test_markdown_keeps_its_columns():
    table = Table(pd.DataFrame({"variant": HOSTILE, "mIoU": ["1.0"] * 5}), frozenset({"mIoU"}))
    lines = to_markdown(table).splitlines()
    assert len(lines) == 2 + len(HOSTILE)
    for line in lines:
        assert line.replace("\\|", "").count("|") == 3
    assert "<script>" not in to_markdown(table)
    assert "\\$" in lines[3]


def test_csv_holds_no_formula_and_raw_numbers():
    bad = [*HOSTILE, "+1", "-1", "@x", "\tx", "＝1"]
    frame = pd.DataFrame({"variant": bad, "miou": [-0.123456789] * len(bad)})
    rows = list(csv.reader(io.StringIO(to_csv(frame))))
    assert [row[0] for row in rows[1:] if row[0][0] in "=+-@\t\r＝"] == []
    assert rows[3][0] == "'" + HOSTILE[2]
    assert {row[1] for row in rows[1:]} == {"-0.123456789"}
    assert rows[5][0] == "\\x1b[2Jx"


def test_csv_heads_are_safe_and_counts_are_whole():
    text = to_csv(pd.DataFrame({"=x": ["a", "b"], "num_done": [1.0, None]}))
    assert text.splitlines() == ["'=x,num_done", "a,1", "b,"]


def test_long_names_keep_both_ends():
    assert style.figure_label("efficientnet_b0-fcn8s", 12) == "effici…fcn8s"
    assert style.figure_label("_x") == "\u200a_x"
