"""The repository's files in the site: which page each is, and links between them.

In: Markdown whose links lead from file to file of the repository, as it is read there. Out: with
links from page to page. A linked file that is no page becomes one that shows it.
"""

import re
from collections.abc import Iterator, Mapping
from os.path import normpath, relpath
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "ablations/LOG.md": "project/log.md",
}
"""Pages of the site that are files outside of docs/."""

LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".cff": "yaml", "": "bash"}
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", flags=re.M | re.S)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def place_of(file: str) -> str:
    """Return the place in the site of a file of the repository, both relative."""
    if file in PAGES:
        return PAGES[file]
    if file.startswith("docs/examples/") and file.endswith(".py"):
        return f"examples/{PurePosixPath(file).stem}.md"
    if file == "docs/examples":
        return "extending.md"
    if file == "ablations":
        return "reference/questions.md"
    if file.startswith("docs/results/") and (ROOT / file).is_dir():
        has_page = (ROOT / file / "index.html").exists()  # else there is its account alone
        return f"{file.removeprefix('docs/')}/index.html" if has_page else "results/index.md"
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    return f"source/{file}.md"


def file_of(place: str) -> str:
    """Return the file of the repository that a place in the site stands for."""
    known = {page: file for file, page in PAGES.items()}
    return known.get(place, f"docs/{place}")


def linked_files(text: str, file: str) -> Iterator[str]:
    """Yield the files of the repository to which a file's text links."""
    for part in _CODE.split(text)[::2]:
        for _, target, _ in _LINK.findall(part):
            if named := _resolve(target, file):
                yield named[0]


def relink(text: str, file: str, place: str) -> str:
    """Return a file's text with links that lead where the files stand in the site."""

    def lead(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        named = _resolve(target, file)
        if named is None:
            return found[0]
        there, anchor = named
        path = relpath(place_of(there), PurePosixPath(place).parent)
        return f"{before}{path}{anchor}{after}"

    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(lead, part) for part in parts[::2]]
    return "".join(parts)


def _resolve(target: str, file: str) -> tuple[str, str] | None:
    """Return the file that a link leads to, and the anchor in it; None for links elsewhere."""
    path, sign, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return None
    there = normpath(PurePosixPath(file).parent / path)
    return (there, sign + anchor) if (ROOT / there).exists() else None


def source_page(file: str) -> str:
    """Return the page that shows a file of the repository, or says what a folder holds."""
    path = ROOT / file
    if path.is_dir():
        names = sorted(one.name for one in path.iterdir() if not one.name.startswith((".", "_")))
        listed = "\n".join(f"- `{name}`" for name in names)
        return f"# `{file}/`\n\nA folder of the repository:\n\n{listed}\n"
    language = LANGUAGES.get(path.suffix, "text")
    return f"# `{file}`\n\n~~~~{language}\n{path.read_text(encoding='utf-8').rstrip()}\n~~~~\n"


def source_pages(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the pages, by place, of linked files that have none; texts are by file."""
    linked = {one for file, text in texts.items() for one in linked_files(text, file)}
    places = {file: place_of(file) for file in sorted(linked)}
    return {place: source_page(f) for f, place in places.items() if place.startswith("source/")}
