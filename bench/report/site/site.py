"""All pages of the report but the audit's, from exhibits and records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.audit.audit import Audit
from bench.paper.numbers import paper
from bench.record import Record
from bench.report.exhibit import Exhibit
from bench.report.site.exhibit_page import exhibit_page
from bench.report.site.html import Frame, render, shared_files
from bench.report.site.links import Links, page_of
from bench.report.site.overview import overview, title_of
from bench.report.site.overview import page_of as exhibit_file
from bench.report.site.run_page import Use, run_page
from bench.report.tables.grouping import floors, networks
from bench.report.tables.runs import Run, run_lines
from bench.report.tables.table import runs_behind
from bench.spec import Suite

MOST_PAGES = 1000  # of runs: beyond, the list of runs leads to the records' own files
RESERVED = ("index", "audit", "runs")  # pages that no suite may take the name of


@dataclass(frozen=True)
class RunList:
    """The template's: every run with where it leads; how many have no page of their own."""

    lines: tuple[tuple[Run, str], ...]
    without: int


def site_pages(
    exhibits: Sequence[Exhibit], records: Sequence[Record], damaged: Mapping[str, str], audit: Audit, results: str
) -> dict[str, str]:
    """File name -> content. `results`: the way from the report's folder to the store."""
    uses = uses_of(exhibits)
    paged = paged_runs(uses, records)
    links = Links(results, frozenset(record.run_id for record in paged))
    listed = RunList(tuple((run, links.run(run)) for run in run_lines(records)), len(records) - len(paged))
    shown = {"audit": audit, "damaged": damaged, "paper": paper()}
    files = {
        **shared_files(),
        "index.html": render("index.html.j2", Frame(), page=overview(audit, exhibits), runs=len(records), **shown),
        "runs.html": render("runs.html.j2", Frame(), page=listed, damaged=damaged),
    }
    files |= {exhibit_file(exhibit): exhibit_page(exhibit, links, damaged) for exhibit in exhibits}
    for record in paged:
        files[page_of(record.run_id)] = run_page(record, results, tuple(uses.get(record.run_id, ())))
    return files


def paged_runs(uses: Mapping[str, Sequence[Use]], records: Sequence[Record]) -> list[Record]:
    """The runs that have a page: those of exhibits first, at most MOST_PAGES."""
    return sorted(records, key=lambda record: (record.run_id not in uses, record.run_id))[:MOST_PAGES]


def uses_of(exhibits: Sequence[Exhibit]) -> dict[str, list[Use]]:
    """Run -> the exhibits that it stands in."""
    uses: defaultdict[str, list[Use]] = defaultdict(list)
    for exhibit in exhibits:
        behind = runs_behind([section.table for section in exhibit.sections])
        for record in exhibit.records:
            if record.run_id in behind or record.status.state != "done" or not behind:
                uses[record.run_id].append(_use(exhibit, record))
    return uses


def _use(exhibit: Exhibit, record: Record) -> Use:
    """A suite may show a run that it does not plan."""
    suite, spec = exhibit.suite, record.spec
    if not isinstance(suite, Suite) or spec.budget.held_out or spec.model not in (*networks(suite), *floors(suite)):
        return Use(title_of(exhibit), exhibit_file(exhibit), None, False)
    return Use(title_of(exhibit), exhibit_file(exhibit), suite.name, spec.dataset in suite.datasets)
