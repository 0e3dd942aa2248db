"""Pages from templates: one policy, styles and scripts of ours, all of them inside the file.

In: the name of a template in `assets/`, and its values. Out: HTML that asks nobody for more.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bench.text import clean, clean_block, number_of
from reports.formats import to_html


def render(
    template: str,
    *,
    styles: Sequence[str] = ("page.css",),
    scripts: Sequence[str] = ("address.js", "page.js"),
    refresh_seconds: int | None = None,
    filters: Mapping[str, Callable[..., Any]] | None = None,
    **values: Any,
) -> str:
    """Fill a template; text is escaped, tables and figures come out as they are shown.

    Args:
        template: Name of a file of `assets/`, as those of `styles` and `scripts` are.
        styles: Style sheets of the page, in their order.
        scripts: Its scripts.
        refresh_seconds: Have the page load itself again after so long; None for a page at rest.
        filters: Filters of this template's own.
        values: What the template shows.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        loader=PackageLoader("reports", "assets"),
    )
    environment.filters |= {"clean": clean, "clean_block": clean_block, "number_of": number_of}
    environment.filters |= {
        "table": to_html,
        "digest": _digest,
        "whole": _whole,
        "unbroken": _unbroken,
    }
    environment.filters |= filters or {}
    return environment.get_template(template).render(
        styles=[_read_asset(name) for name in styles],
        scripts=[_read_asset(name) for name in scripts],
        refresh_seconds=refresh_seconds,
        **values,
    )


def _read_asset(name: str) -> Markup:
    """Return a style or script of ours, pinned by its digest in the page's policy."""
    return Markup(files("reports").joinpath("assets", name).read_text(encoding="utf-8"))


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _whole(text: str) -> str:
    """Keep an interval on one line."""
    return re.sub(r"[^ ]+ \[[^]]*\]", lambda found: found[0].replace(" ", "\u00a0"), text)


def _unbroken(text: str) -> Markup:
    """Keep short names with a number, such as FCN-8s, on one line of a heading."""
    escaped = str(escape(text))
    return Markup(re.sub(r"\b\w{1,8}-\d\w{0,4}\b", r'<span class="whole">\g<0></span>', escaped))
