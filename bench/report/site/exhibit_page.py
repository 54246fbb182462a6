"""A page an exhibit: its tables and figures, what a rerun costs, its files, and its runs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.report.drawing.figures import FORMATS
from bench.report.exhibit import Exhibit, Figure, Section
from bench.report.site.grid import Grid, grid
from bench.report.site.html import Frame, address, render
from bench.report.site.links import Links
from bench.report.site.overview import title_of
from bench.report.site.rerun import Rerun, rerun
from bench.report.tables.runs import Run, run_lines
from bench.report.tables.table import TIE

KINDS = {"md": "Markdown", "csv": "CSV", "tex": "LaTeX"}  # of the files of an exhibit
PICTURES = {kind: kind.upper() for kind in FORMATS}  # of a figure


@dataclass(frozen=True)
class Download:
    """One file of the report by its kind."""

    kind: str
    href: str


@dataclass(frozen=True)
class Picture:
    """`source`: an address, of a file beside the page or holding the picture itself."""

    source: str
    alt: str
    files: tuple[Download, ...]


@dataclass(frozen=True)
class Part:
    """A section ready for the template."""

    section: Section
    grid: Grid
    pictures: tuple[Picture, ...]
    rerun: Rerun | None


@dataclass(frozen=True)
class ExhibitPage:
    exhibit: Exhibit
    title: str
    parts: tuple[Part, ...]
    printed: Grid | None
    runs: tuple[tuple[Run, str], ...]  # each with where it leads
    files: tuple[Download, ...]


def exhibit_page(exhibit: Exhibit, links: Links, damaged: Mapping[str, str]) -> str:
    """The page among the others, its pictures files beside it."""
    return _render(exhibit, links, damaged, Frame(), lambda figure: address(f"{figure.name}.svg"))


def lone_page(exhibit: Exhibit, links: Links, damaged: Mapping[str, str], drawn: Mapping[str, bytes]) -> str:
    """The page by itself; `drawn` are the SVGs of its figures by name."""
    return _render(exhibit, links, damaged, Frame(alone=True), lambda figure: inside(drawn[figure.name]))


def inside(svg: bytes) -> str:
    """An address that holds the picture itself."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _render(
    exhibit: Exhibit, links: Links, damaged: Mapping[str, str], frame: Frame, source: Callable[[Figure], str]
) -> str:
    def picture(figure: Figure) -> Picture:
        files = () if frame.alone else _downloads(figure.name, PICTURES)
        return Picture(source(figure), figure.alt, files)

    def part(section: Section) -> Part:
        pictures = tuple(map(picture, section.figures))
        return Part(section, grid(section.table, links), pictures, rerun(exhibit, section))

    page = ExhibitPage(
        exhibit=exhibit,
        title=title_of(exhibit),
        parts=tuple(map(part, exhibit.sections)),
        printed=grid(exhibit.printed, links) if exhibit.printed else None,
        runs=tuple((run, links.run(run)) for run in run_lines(exhibit.records)),
        files=() if frame.alone else _downloads(exhibit.suite.name, KINDS),
    )
    return render("exhibit.html.j2", frame, page=page, damaged=damaged, tie=TIE)


def _downloads(name: str, kinds: Mapping[str, str]) -> tuple[Download, ...]:
    return tuple(Download(word, address(f"{name}.{kind}")) for kind, word in kinds.items())
