import base64
import csv
import dataclasses
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from streets import CLASS_NAMES, finish

from bench.plan import RANKING, Published
from bench.store.runs import Failure
from reports.files import EXPORTS, METHODS
from reports.page import SCRIPTS, STYLES, write_report
from reports.study import read_study

SCRIPT = '"><script>alert(1)</script>'
HOSTILE = [SCRIPT, r"$\bad{x}$", '=HYPERLINK("x")', "a|b"]


class Page(HTMLParser):
    """Tags, text and addresses of a page, as a browser would see them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.links, self.attributes = [], "", [], set()
        self.scripts = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append(dict(attrs).get("type", ""))
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.text += data


def read_page(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_the_report_and_its_files_are_written(report):
    names = {path.relative_to(report).as_posix() for path in report.rglob("*") if path.is_file()}
    drawn = ("scores", "grid", "differences", "costs", "curves", "classes", "class-gains")
    figures = {
        f"figures/{name}{suffix}"
        for name in (*drawn, "effects-skip", "effects-backbone", "confusion", "bound")
        for suffix in (".svg", "-dark.svg", ".png")
    }
    images = {f"figures/{name}.png" for name in ("closeups", "errors")}
    images |= {f"figures/image-{i}.png" for i in (1, 2, 3)}
    assert names == {
        "fcn-bench.json",
        "index.html",
        "counts.npz",
        "recompute.py",
        "records.json",
        *METHODS,
        "summary.csv",
        "summary.md",
        "runs.csv",
        "classes.csv",
    } | figures | images | {
        path for path in EXPORTS if not {"labels", "evaluations", "tuning"} & {Path(path).stem}
    }


def test_the_answer_comes_first(report):
    text = read_page(report).text
    text = text[text.index("Expected beforehand") - 200 :]  # past the title
    assert text.index("Expected beforehand") < text.index("What was claimed")
    text = text[text.index("What was claimed") :]  # past the table of contents
    places = [text.index(words) for words in (
        "From none to fcn8s", "What changing the skip brings.", "Best of 12",
        "22 of 24 planned runs finished", "Effects", "Against the baseline", "Summary",
        "Published beside ours", "Runs and provenance", "How to read this",
    )]  # fmt: skip
    assert places == sorted(places)


def test_the_page_says_what_failed_and_how_to_make_it_again(report, plan):
    text = read_page(report).text
    assert "the device ran out of memory at step 12" in text
    assert plan.command in text
    assert all(planned.run.id in text for planned in plan.runs)
    assert "NVIDIA H100" in text


def test_the_page_asks_nothing_of_the_network(report):
    page = read_page(report)
    assert page.links
    beside = ("tables/", "figures/", "runs.csv", "methods.", "references.bib")
    assert all(link.startswith(("data:image/", "#", *beside)) for link in page.links)
    assert page.scripts.count("") == len(SCRIPTS)
    assert set(page.scripts) == {"", "application/json"}  # what they read


def test_the_first_figure_is_of_the_answers_kind(report, plan, store, tmp_path):
    """A list of single changes, of which one is a skip, was headed by that one alone."""
    ranking = write_report(dataclasses.replace(plan, answer=RANKING), store, tmp_path / "out")
    firsts = [
        re.findall(r'id="figure-([\w-]+)"', page.read_text())[0]
        for page in (report / "index.html", ranking)
    ]
    assert firsts == ["effects-skip", "differences"]


def test_alternative_texts_say_what_figures_show(report, plan, store):
    page = (report / "index.html").read_text()
    alts = dict(re.findall(r'id="figure-([\w-]+)">.*?alt="([^"]*)"', page, re.DOTALL))
    runs = read_study(plan, store).runs
    means = runs.groupby("variant")["miou"].mean()
    best, worst = means.idxmax(), means.idxmin()
    assert f"highest {best} with {100 * means[best]:.1f} %" in alts["scores"]
    assert f"lowest {worst} with {100 * means[worst]:.1f} %" in alts["grid"]
    assert alts["effects-skip"].startswith(
        "What changing the skip brings. From none to fcn8s, mIoU"
    )
    assert "Against alexnet-none, shown to be better: " in alts["differences"]
    assert "IoU over all variants: highest sky" in alts["classes"]
    assert "points of IoU; least for" in alts["class-gains"]
    pattern = r'id="figure-([\w-]+)">.*?<figcaption><b>.*?</b> (.*?)\n'
    captions = dict(re.findall(pattern, page, re.DOTALL))
    assert set(captions) == set(alts)
    for name, alt in alts.items():  # what it shows, not how it is read
        assert alt.partition(". ")[2] not in ("", captions[name])


def test_the_policy_allows_only_our_style_our_script_and_embedded_images(report):
    html = (report / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    for kind, names in (("style", STYLES), ("script", SCRIPTS)):
        parts = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        assert len(parts) == len(names)
        hashes = [hashlib.sha256(part.encode()).digest() for part in parts]
        pinned = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes]
        assert f"{kind}-src {' '.join(pinned)};" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style" not in read_page(report).attributes  # the policy would drop it


def test_two_writes_give_the_same_bytes(plan, store, report, tmp_path, monkeypatch, drawn_pack):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    write_report(plan, store, tmp_path)
    for path in report.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(report)).read_bytes() == path.read_bytes(), path


def test_csv_holds_fractions(report):
    rows = list(csv.DictReader((report / "summary.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert all(0 < float(row["miou_mean"]) < 1 for row in rows)
    runs = list(csv.DictReader((report / "runs.csv").read_text().splitlines()))
    assert sorted({row["status"] for row in runs}) == ["done", "failed", "missing"]


def test_a_report_over_nothing_says_so(plan, small_store, tmp_path):
    page = read_page(write_report(plan, small_store, tmp_path / "out").parent)
    assert "No run has finished" in page.text
    assert "0 of 24 planned runs finished" in page.text
    assert page.tags.count("img") == 0


def test_only_a_watched_page_loads_itself_again(plan, small_store, report, tmp_path):
    page = write_report(plan, small_store, tmp_path, refresh_seconds=5).read_text()
    assert '<meta http-equiv="refresh" content="5">' in page
    assert "written and loaded anew every 5 s" in page
    assert "refresh" not in (report / "index.html").read_text().split("</head>")[0]


def test_hostile_text_is_shown_and_harmless(small_store, make_plan, tmp_path):
    texts = dict.fromkeys(("question", "expectation", "note"), f"{SCRIPT} \x1b[2J {{{{ 7 * 7 }}}}")
    texts["question"] += " of FCN-8s"
    published = (Published(variant=SCRIPT, source=SCRIPT, differs="a|b", miou=0.5),)
    plan = make_plan(
        HOSTILE, (0, 1), **texts, name=SCRIPT, command=SCRIPT, baseline=HOSTILE[1],
        published=published,
    )  # fmt: skip
    for planned in plan.runs[:-1]:
        finish(small_store, planned, class_names=[*HOSTILE, *CLASS_NAMES[4:]])
    small_store.record_failure(
        plan.runs[-1].run.id, Failure("error", f"{SCRIPT}\x1b[31m", 3, f"log {SCRIPT}\n\x1b[0m")
    )
    out = write_report(plan, small_store, tmp_path / "out").parent
    page = read_page(out)
    assert page.scripts.count("") == len(SCRIPTS)  # ours
    assert set(page.scripts) == {"", "application/json"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert SCRIPT in page.text
    assert '<span class="whole">FCN-8s</span></h1>' in (out / "index.html").read_text()
    assert page.text.count("{{ 7 * 7 }}") >= 3  # a template in a text is text
    for path in out.rglob("*"):
        if path.suffix in (".html", ".svg", ".md", ".csv"):
            assert b"\x1b" not in path.read_bytes(), path
        if path.suffix in (".html", ".svg", ".md"):
            assert path.read_text().count("<script>") == len(SCRIPTS) * (path.suffix == ".html"), (
                path
            )
    for path in out.glob("*.csv"):
        cells = [cell for row in csv.reader(path.read_text().splitlines()) for cell in row]
        assert [c for c in cells if c.startswith(("=", "+", "@"))] == [], path


def test_torch_is_not_loaded():
    code = "import sys, reports.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("drawn_pack")
def test_one_run_alone_is_a_report(small_store, make_plan, tmp_path):
    plan = make_plan(["only"])
    finish(small_store, plan.runs[0], log=False)
    page = read_page(write_report(plan, small_store, tmp_path / "out").parent)
    assert "The run finished." in page.text
    assert "so no ± is shown" in page.text


def test_what_went_wrong_is_on_the_page(make_plan, small_store, tmp_path):
    """Each failure with its reason, step and log; under the scores, what their runs met."""
    plan = make_plan(["whole", "poisoned", "child"], (0, 1))
    whole, again, poisoned, killed, child, missing = plan.runs
    damage = "checkpoint checkpoint-000000006 was damaged (its checksum is another) and set aside"
    inexact = "resumed inexactly at step 4: threads 1 -> 2"
    for planned, notes in ((whole, (damage, inexact)), (again, (inexact,))):
        result = finish(small_store, planned, log=False)
        small_store.publish(dataclasses.replace(result, notes=notes))
    for planned, failure in (
        (poisoned, Failure("nonfinite", "the loss is nan at step 14", 13)),
        (killed, Failure("killed", "the process ended with SIGKILL", 9, "step 9\nlast words")),
        (child, Failure("blocked", "its weights come from run 0123, which failed")),
    ):
        small_store.prepare(planned.run)
        small_store.record_failure(planned.run.id, failure)
    write_report(plan, small_store, tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    summary = Page(re.search('<section id="summary">.*?</section>', page, re.DOTALL)[0]).text
    assert f"whole, seed 0: {damage}" in summary
    assert f"whole, seed 0; whole, seed 1: {inexact}" in summary
    text = read_page(tmp_path).text
    for said in (
        "poisoned, seed 0: failed (nonfinite): the loss is nan at step 14 (last logged step: 13)",
        "poisoned, seed 1: failed (killed): the process ended with SIGKILL (last logged step: 9)",
        "child, seed 0: failed (blocked): its weights come from run 0123, which failed\n",
        "child, seed 1: missing: not run yet",
        "End of the log of poisoned, seed 1\nstep 9\nlast words",
    ):
        assert said in text, said
    assert missing.run.id in text
