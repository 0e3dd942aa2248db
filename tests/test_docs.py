"""The pages for people: short where they must be; the files and places they name exist."""

import json
import re
import stat
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ablations.execution import check_plan
from ablations.planning import plan_spec
from bench.store.runs import Store

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def without_code(page):
    """Return a page's text without blocks of code, where brackets mean something else.

    Comments go too: what they say is for the site alone, whose links tests/test_site.py follows.
    """
    return re.sub(r"^```.*?^```|<!--.*?-->", "", page.read_text(), flags=re.M | re.S)


def anchors_of(page):
    """Return what GitHub calls the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", without_code(page), flags=re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            yield target


@each_page
def test_links_lead_to_files_and_headings(page):
    assert list(broken_links(page)) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A place, here\n[a](page.md#a-place-here) [b](no.md) [c](#no) [d](https://x.y)\n"
    )
    assert list(broken_links(page)) == ["no.md", "#no"]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda p: p.name
)
def test_paths_of_the_repository_exist(page):
    """In code marks, below one of our folders. A changelog is about the past."""
    named = re.findall(
        r"`((?:ablations|bench|docs|fcn|reports|tests|\.ci)/[\w./-]+)`", page.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def line_of(text, start):
    return next(i for i, line in enumerate(text.splitlines(), 1) if line.startswith(start))


def test_the_first_report_is_on_the_first_screen_and_the_first_question_on_the_second():
    text = (ROOT / "README.md").read_text()
    assert line_of(text, "`out/quickstart/index.html`") <= 45
    assert line_of(text, "$ fcn-bench run question.yaml --data mine") <= 90


def test_every_page_is_reached_from_the_readme():
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        seen.add(page)
        targets = re.findall(r"\]\(([^)\s#]+\.md)[)#]", without_code(page))
        local = {(page.parent / target).resolve() for target in targets if ":" not in target}
        todo += [file for file in local - seen if file in PAGES]
    assert set(PAGES) - seen == set()


def test_the_readmes_question_is_accepted_over_a_folder_as_it_says(tmp_path, monkeypatch):
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    monkeypatch.chdir(tmp_path)
    Path("question.yaml").write_text(text)
    for folder in ("images", "masks"):
        Path("mine", folder).mkdir(parents=True)
    Path("mine/classes.txt").write_text("left\nright\n")
    mask = np.zeros((160, 160), dtype=np.uint8)
    mask[:, 80:] = 1
    for i, split in enumerate(("train", "val", "test")):
        Image.fromarray(mask + 10 * i).convert("RGB").save(f"mine/images/{split}.jpg")
        Image.fromarray(mask).save(f"mine/masks/{split}.png")
        Path(f"mine/{split}.txt").write_text(f"{split}\n")
    store = Store(tmp_path / "runs")
    plan, catalog = plan_spec("question.yaml", store, Path("mine"), None)
    assert set(check_plan(plan, store, catalog)) == {"fcn32s", "fcn16s", "fcn8s"}
    assert len(plan.runs) == 9


def test_published_reports_stay_small():
    """Whoever clones the repository has all of them."""
    results = ROOT / "docs" / "results"
    assert sum(path.stat().st_size for path in results.rglob("*") if path.is_file()) < 12e6
    galleries = [
        json.loads(found)["images"]
        for page in results.glob("**/index.html")
        for found in re.findall(r'class="gallery-data">(.*?)</script>', page.read_text(), re.S)
    ]
    assert galleries
    assert max(map(len, galleries)) <= 24


def test_ci_runs_the_one_check_on_the_oldest_python():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = flow["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
    (python,) = [s["with"]["python-version"] for s in steps if "python" in s.get("uses", "")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={python}"


def test_hooks_before_a_commit_are_parts_of_the_one_check():
    """Of the environment at hand: nothing is fetched, and no second version of ruff judges."""
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    check = (ROOT / ".ci" / "run").read_text()
    for hook in repos[0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"] in check


def test_the_citation_has_what_its_schema_asks_for():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert [(r["year"], len(r["authors"])) for r in cited["references"]] == [(2015, 3), (2017, 3)]
    for reference in cited["references"]:
        assert {"authors", "title", "type"} <= set(reference)
