"""The documentation as a site: built without a warning, whole, asking nothing of a network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest

from bench.plan import Run
from bench.spec import RunSpec, Schema, override, parse

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "docs" / "site"), str(ROOT / "tests" / "reports")]

import commands_page  # noqa: E402  # of the site, and not installed
import listings  # noqa: E402
import repository  # noqa: E402
import spec_page  # noqa: E402
from browser import Browser  # noqa: E402
from console import read_blocks  # noqa: E402


def schemas(schema, before=""):
    """Yield every key of a schema and of those within it: (key, field)."""
    for key, field in schema.model_fields.items():
        yield f"{before}{key}", field
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Schema):
                yield from schemas(inner, f"{before}{key}.")


def keys():
    for heading, before, schema, _ in spec_page.PARTS:
        for key, field in schema.model_fields.items():
            yield heading, before + key, field


def test_every_key_of_a_spec_is_told_with_what_it_does():
    text = spec_page.write()
    told = set(re.findall(r"^`([\w.: ]+)` \{", text, flags=re.M))
    assert {f"{key}" for key, _ in schemas(RunSpec) if key.count(".") == 1} <= told | {"seed"}
    for _, key, field in keys():
        assert key in told, key
        assert len(field.description or "") > 10, f"{key} has no description to speak of"


def test_names_that_are_listed_and_notes_on_ids_are_of_keys():
    known = {key for _, key, _ in keys()}
    assert set(spec_page.LISTED) <= known
    assert set(spec_page.NOT_IN_ID) <= known


def run_of(**values):
    spec = parse(RunSpec, override({"train": {"steps": 1}}, values), where="test")
    return Run(spec, "f")


IDLE = {
    "train.checkpoint_activations": ({}, True),
    "train.init_from": ({}, "other"),
    "train.init_streams": (
        {"model.input_fusion": "late", "data.inputs": ["rgb", "depth"]},
        ["a", "b"],
    ),
    "model.fusion": ({"model.skip": "fcn32s"}, "max"),
    "model.upsampling": (
        {"model.skip": "pool3", "model.upsampling_last": "bilinear"},
        "learned",
    ),
    "model.input_fusion": ({}, "late"),
    "data.draw_by": ({}, "images"),
    "data.draw_seed": ({}, 1),
    "data.background": ({}, ["sky"]),
    "train.power": ({"train.schedule": "cosine"}, 0.5),
    "train.momentum": ({"train.optimizer": "lamb"}, 0.5),
    "evaluate.eval_split": ({}, "train"),
    "evaluate.mask": ({"data.mask": "foreground"}, "foreground"),
}
"""Keys of which the page says that they are not always part of an id: where not, and a value."""


@pytest.mark.parametrize("key", IDLE)
def test_keys_that_the_page_says_to_be_no_part_of_an_id_are_none(key):
    setting, value = IDLE[key]
    assert key in spec_page.NOT_IN_ID
    assert run_of(**setting, **{key: value}).id == run_of(**setting).id


def other(value):
    """Return another value of the kind of a default; None where that takes knowing the key."""
    if isinstance(value, bool):
        return not value
    return value / 2 + 0.25 if isinstance(value, float) else None


def test_other_keys_are_part_of_it():
    changed = 0
    for key, field in schemas(RunSpec):
        value = other(field.default)
        if value is not None and key not in IDLE and key.count(".") == 1:
            assert run_of(**{key: value}).id != run_of().id, key
            changed += 1
    assert changed > 10
    assert run_of(**{"model.skip": "fcn16s"}).id != run_of().id


def test_every_command_is_told_with_every_option():
    text = commands_page.write()
    assert text.count("\n## ") > 15
    assert "## fcn-bench run\n" in text
    assert "### fcn-bench runs prune\n" in text
    assert "`--until-decided`" in text
    assert "..." not in re.sub(
        r"\[ARGS\]\.\.\.|\}?\.\.\.|`[^`]*`", "", text
    )  # nothing is cut short


def test_links_between_files_become_links_between_pages():
    text = "[a](docs/data.md#splits) `[b](no.md)` [c](bench/spec.py) [d](https://x.y) [e](#here)"
    relinked = repository.relink(text, "README.md", "index.md")
    assert relinked.split()[0] == "[a](data.md#splits)"
    assert "`[b](no.md)`" in relinked
    assert "[c](source/bench/spec.py.md)" in relinked
    assert relinked.endswith("[d](https://x.y) [e](#here)")
    back = repository.relink("[a](../README.md) [b](examples/skip.py)", "docs/data.md", "data.md")
    assert back == "[a](index.md) [b](examples/skip.md)"
    reports = "[a](docs/results/camvid-cpu/) [b](docs/results/camvid-losses-cpu/)"  # one of no page
    relinked = repository.relink(reports, "README.md", "index.md")
    assert relinked == "[a](results/camvid-cpu/index.html) [b](results/index.md)"


def test_every_published_report_and_example_is_told():
    text = listings.write_results()
    results = ROOT / "docs" / "results"
    for readme in results.rglob("README.md"):
        name = readme.parent.relative_to(results).as_posix()
        has_page = (readme.parent / "index.html").exists()
        assert has_page == (f"({name}/index.html)" in text)
        has_counts = (readme.parent / "counts.npz").exists()  # not beside one of version 0.1
        assert has_page or has_counts == (f"report --from docs/results/{name}`" in text)
    assert "(paper-on-camvid/skips/index.html)" in text
    assert "    | variant          |" in text.partition("the paper's skips")[2]
    pages = listings.write_examples()
    assert len(pages) == len(list((ROOT / "docs" / "examples").glob("*.py")))
    assert all("~~~~python" in page for page in pages.values())


COPY = """
[...document.querySelectorAll("pre > code")].map((code) => {
  code.setAttribute("data-md-copying", "");  // as the theme does while it reads what to copy
  const text = code.innerText.trimEnd();
  code.removeAttribute("data-md-copying");
  return text;
})
"""


class Links(HTMLParser):
    """What a page takes from elsewhere, where it leads, and which places it has."""

    def __init__(self, text):
        super().__init__()
        self.taken, self.leads, self.places = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.leads.add(found["href"])
        elif tag == "link" and found.get("rel") not in ("canonical", "prev", "next"):
            self.taken.add(found.get("href"))
        elif found.get("src"):
            self.taken.add(found["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built once; a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "excluded" not in ended.stderr, ended.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    found = [path for path in site.rglob("*.html") if not (path.parent / "summary.csv").exists()]
    found.remove(site / "404.html")  # whose links are those of a server
    return {path: Links(path.read_text(encoding="utf-8")) for path in found}


@pytest.mark.slow
def test_pages_take_nothing_from_a_network_and_all_that_they_take_is_there(site, pages):
    assert len(pages) > 50
    for path, page in pages.items():
        for taken in page.taken - {None}:
            if not taken.startswith("data:"):
                assert not re.match(r"(https?:)?//", taken), (path, taken)
                assert (path.parent / taken.partition("?")[0]).exists(), (path, taken)
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", styles)


@pytest.mark.slow
def test_links_lead_to_pages_and_to_places_in_them(site, pages):
    num_anchors = 0
    for path, page in pages.items():
        for lead in page.leads:
            target, _, anchor = unquote(lead).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            there = (path.parent / target).resolve() if target else path
            assert there.exists(), (path, lead)
            if anchor and there in pages and not anchor.startswith("__"):
                assert anchor in pages[there].places, (path, lead)
                num_anchors += 1
    assert num_anchors > 200


@pytest.mark.slow
def test_the_pages_that_are_made_from_the_code_are_there(site):
    for place in ("spec", "commands", "python", "questions"):
        assert (site / "reference" / f"{place}.html").stat().st_size > 10_000
    assert "bench.load_model" in (site / "reference" / "python.html").read_text()
    assert (site / "results" / "camvid-cpu" / "index.html").exists()


SEARCH = """
(async () => {
  const query = document.querySelector("[data-md-component=search-query]");
  query.focus();
  query.value = "seeds";
  query.dispatchEvent(new Event("input", {bubbles: true}));
  query.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
  for (let i = 0; i < 100; i++) {
    const found = document.querySelectorAll(".md-search-result__item").length;
    if (found) return found;
    await new Promise((done) => setTimeout(done, 100));
  }
  return 0;
})()
"""


@pytest.mark.browser
def test_from_a_disk_pages_are_whole_search_finds_and_no_network_is_asked(site, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        tab = browser.open((site / "reference" / "spec.html").as_uri(), 1400)
        assert tab.run(SEARCH) > 3
        assert tab.complaints() == []
        assert [one for one in tab.requests() if not one.startswith("file:")] == []
    finally:
        browser.close()


@pytest.mark.browser
def test_what_is_copied_of_a_console_is_its_commands(site, tmp_path):
    """With their continuations, which a shell takes as they are; the rest it would not take."""
    browser = Browser(tmp_path / "profile")
    try:
        for page in ("first-report", "several-machines", "weights"):
            copied = browser.open((site / f"{page}.html").as_uri(), 1400).run(COPY)
            for block in read_blocks((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")):
                assert "\n".join(command.text for command in block) in copied
    finally:
        browser.close()
