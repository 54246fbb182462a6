"""What every page shares: the templates, in which all text from data is escaped, and what surrounds a page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.report.tables.table import number

SHARED = {"site.css": "style.css", "site.js": "sort.js"}  # of all pages: file of the report -> template


@dataclass(frozen=True)
class Frame:
    """`root`: the way from the page to the report's folder. `alone`: style, script and pictures are in the page itself,
    and nothing in it leads out.
    """

    root: str = ""
    alone: bool = False


@cache
def environment() -> Environment:
    """All text is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["number"] = number
    made.filters["address"] = address
    return made


def address(path: str) -> str:
    """A relative path as a link: whatever its names hold is part of a name.

    >>> address("runs/<b>#1.html")
    'runs/%3Cb%3E%231.html'
    """
    return quote(path, safe="/")


def render(template: str, frame: Frame, **given: Any) -> str:
    return environment().get_template(template).render(frame=frame, **given)


def shared_files() -> dict[str, str]:
    return {name: environment().get_template(template).render() for name, template in SHARED.items()}
