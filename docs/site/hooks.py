"""Events of mkdocs: pages that are generated from the code, and links from page to page."""

import re
from typing import Any

import commands_page
import listings
import repository
import spec_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

MADE = {
    "reference/spec.md": spec_page.write,
    "reference/commands.md": commands_page.write,
    "reference/python.md": listings.write_python,
    "reference/questions.md": listings.write_questions,
    "results/index.md": listings.write_results,
}
"""Pages by place, and what writes each."""

SITE_ALONE = re.compile(r"<!-- site: (.*?) -->", flags=re.S)
"""What a page says in the site alone, where the pages that are generated are."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, the repository's own pages, and files that are linked."""
    made = {place: write() for place, write in MADE.items()} | listings.write_examples()
    for file, place in repository.PAGES.items():
        made[place] = (repository.ROOT / file).read_text(encoding="utf-8")
    kept = {one.src_uri: one.content_string for one in files.documentation_pages()}
    texts = {repository.file_of(place): text for place, text in (kept | made).items()}
    for place, text in (made | repository.source_pages(texts)).items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Have links lead to pages of the site."""
    place = page.file.src_uri
    if place.startswith("source/"):
        page.meta["search"] = {"exclude": True}
        return markdown
    markdown = SITE_ALONE.sub(r"\1", markdown)
    return repository.relink(markdown, repository.file_of(place), place)
