"""Writes everything under reports/. The same records give the same bytes: nothing in here knows the time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.audit.audit import run_audit
from bench.errors import UserError
from bench.files import write_bytes
from bench.intervals import read_intervals
from bench.pairs import with_intervals
from bench.record import Record
from bench.report.audit import audit_pages
from bench.report.exhibit import PRIVATE, Exhibit
from bench.report.exhibits import (
    architecture,
    bars,
    comparison,
    costs,
    fractions,
    gallery,
    lambda_sweep,
    oracle,
    protocols,
    size_sweep,
    table2,
    table6,
    table8,
    table9,
)
from bench.report.gaps import Missing
from bench.report.render.csv import render_csv
from bench.report.render.latex import render_latex
from bench.report.render.markdown import render_markdown
from bench.report.site.exhibit_page import lone_page
from bench.report.site.html import address
from bench.report.site.links import Links
from bench.report.site.site import RESERVED, site_pages
from bench.report.written import write_report
from bench.spec import Suite
from bench.store import Store, with_history

Builder = Callable[[Suite, Sequence[Record], Mapping[str, Missing]], Exhibit]
BUILDERS: Mapping[str, Builder] = {  # by exhibit; all others compare networks
    "oracle": oracle.build_exhibit,
    "table2": table2.build_exhibit,
    "table5": bars.build_exhibit,
    "table6": table6.build_exhibit,
    "table7": bars.build_exhibit,
    "table8": table8.build_exhibit,
    "figure3": fractions.build_exhibit,
    "figure4": lambda_sweep.build_exhibit,
    "sizes": size_sweep.build_exhibit,
    "figure1": architecture.build_exhibit,
    "figure2": gallery.build_exhibit,
    "figure5": gallery.build_exhibit,
    "table9": table9.build_exhibit,
    "figure6": table9.build_exhibit,
    "figure7": table9.build_exhibit,
}
# exhibits that no suite makes, by name: from all records and the folder they lie in
STANDING: Mapping[str, Callable[[Sequence[Record], Path], Exhibit]] = {
    costs.SUBJECT.name: costs.build_exhibit,
    protocols.SUBJECT.name: protocols.build_exhibit,
}
TEXTS = ("md", "csv", "tex")  # of every exhibit


@dataclass(frozen=True)
class Found:
    """What a report is made of: the exhibits, those of suites first; the records, and what is wrong with the others."""

    exhibits: tuple[Exhibit, ...]
    records: tuple[Record, ...]
    damaged: Mapping[str, str]


def build_reports(store: Store, suites: Sequence[Suite], missing: Mapping[str, Missing], out: Path) -> list[Path]:
    """Markdown, CSV, LaTeX and figures for each suite, the audit, and the pages; returns all of the report's files.

    `missing` maps a dataset that is not there to what is missing and how to get it. A damaged record is left out and
    named in the report. Raises UserError where two suites share a name.
    """
    return write_found(store, gather(store, suites, missing), out)


def gather(store: Store, suites: Sequence[Suite], missing: Mapping[str, Missing]) -> Found:
    _check_names(suites)
    _check_free(suites)
    records, damaged = read_records(store)
    exhibits = [exhibit_of(suite, records, missing) for suite in suites]
    exhibits += [build(records, store.root) for build in STANDING.values()]
    return Found(tuple(exhibits), tuple(records), damaged)


def write_found(store: Store, found: Found, out: Path) -> list[Path]:
    """`build_reports`, its first half done."""
    results, audit = way_to_results(store, out), run_audit(store.root)
    files: dict[str, str | bytes] = {}
    for exhibit in found.exhibits:
        for kind in TEXTS:
            files[f"{exhibit.suite.name}.{kind}"] = text_of(exhibit, kind, results, found.damaged)
        for figure in exhibit.figures:
            files |= {f"{figure.name}.{kind}": content for kind, content in figure.draw().items()}
    files |= audit_pages(audit, store.root, results)
    files |= site_pages(found.exhibits, found.records, found.damaged, audit, results)
    _draw_private(found.exhibits, out / PRIVATE)
    return write_report(out, files)


def _draw_private(exhibits: Sequence[Exhibit], folder: Path) -> None:
    """No file that others get names these: they have them or not, as they have the pictures."""
    for figure in (figure for exhibit in exhibits for figure in exhibit.private):
        folder.mkdir(parents=True, exist_ok=True)
        for kind, content in figure.draw().items():
            write_bytes(folder / f"{figure.name}.{kind}", content)


def one_exhibit(store: Store, suite: Suite | str, missing: Mapping[str, Missing], out: Path, kind: str) -> str:
    """One exhibit alone: of a suite, or by its name one of STANDING. `kind`: of TEXTS, as `build_reports` writes it
    into `out`, or 'html', a page that holds all it needs.
    """
    records, damaged = read_records(store)
    exhibit = STANDING[suite](records, store.root) if isinstance(suite, str) else exhibit_of(suite, records, missing)
    results = way_to_results(store, out)
    if kind in TEXTS:
        return text_of(exhibit, kind, results, damaged)
    drawn = {figure.name: figure.draw()["svg"] for figure in exhibit.figures}
    return lone_page(exhibit, Links(results, frozenset(), alone=True), damaged, drawn)


def text_of(exhibit: Exhibit, kind: str, results: str, damaged: Mapping[str, str]) -> str:
    """One of TEXTS."""
    if kind == "md":
        return render_markdown(exhibit, results, damaged)
    return render_csv(exhibit) if kind == "csv" else render_latex(exhibit)


def way_to_results(store: Store, out: Path) -> str:
    """From the report's folder to the store's, as a link."""
    return address(Path(os.path.relpath(store.root.resolve(), out.resolve())).as_posix())


def exhibit_of(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    """The suite's exhibit, by the way of its kind."""
    return BUILDERS.get(suite.exhibit or "", comparison.build_exhibit)(suite, records, missing)


def read_records(store: Store) -> tuple[list[Record], dict[str, str]]:
    """The records that can be read, by id, and what is wrong with each of the others."""
    records, damaged = [], {}
    for name in store.run_ids():
        try:
            records.append(_light(with_history(store.record(name))))
        except UserError as error:
            damaged[name] = str(error).replace(str(store.root), store.root.name)
    intervals, unreadable = read_intervals(store.root)
    return with_intervals(records, intervals), damaged | unreadable


def _check_free(suites: Sequence[Suite]) -> None:
    for suite in suites:
        if suite.name in (*STANDING, *RESERVED):
            raise UserError(f"a suite is named '{suite.name}', which the report has a page of its own for; rename it")


def _light(record: Record) -> Record:
    """Without each module and each class, which no table shows: they are most of what a record takes in memory."""
    network = record.network and record.network.model_copy(update={"modules": ()})
    metrics = record.metrics and record.metrics.model_copy(update={"classes": ()})
    return replace(record, network=network, metrics=metrics)


def _check_names(suites: Sequence[Suite]) -> None:
    names = [suite.name for suite in suites]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two suites are named '{twice[0]}', and both would write {twice[0]}.md; rename one")
