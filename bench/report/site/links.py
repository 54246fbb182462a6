"""Where the numbers and the runs of a page lead."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.site.html import address
from bench.report.tables.runs import Run
from bench.report.tables.table import Cell

RUNS = "runs"  # the folder of their pages, in the report's


@dataclass(frozen=True)
class Links:
    """`results`: the way from the report's folder to the store, as a link. `paged`: the runs that have a page.
    `alone`: the page is by itself, so nothing leads out of it.
    """

    results: str
    paged: frozenset[str]
    alone: bool = False

    def run(self, run: Run) -> str:
        """The run's page, or its file where it has none; '' where nothing may lead out."""
        if self.alone:
            return ""
        return address(page_of(run.id)) if run.id in self.paged else f"{self.results}/{address(run.file)}"

    def cell(self, cell: Cell) -> str:
        """One run: its page. Several: the first of them in the page's own list of runs, which leads to each."""
        if cell.runs and (self.alone or len(cell.runs) > 1):
            return f"#{address(cell.runs[0])}"
        if self.alone or not cell.link:
            return ""
        paged = cell.file is None and cell.runs[0] in self.paged
        return address(page_of(cell.runs[0])) if paged else f"{self.results}/{address(cell.link)}"


def page_of(run_id: str) -> str:
    """A run's page in the report's folder."""
    return f"{RUNS}/{run_id}.html"
