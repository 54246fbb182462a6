"""Writes everything under reports/. The same records give the same bytes: nothing in here knows the time."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.disk import require
from bench.errors import UserError
from bench.files import write_bytes
from bench.record import Record
from bench.report import costs, oracle, protocols, table4
from bench.report.audit import audit_pages
from bench.report.exhibit import Exhibit
from bench.report.gaps import Missing
from bench.report.page import Page, render_page
from bench.report.render_csv import render_csv
from bench.report.render_md import render_markdown
from bench.report.render_tex import render_latex
from bench.report.runs import run_lines
from bench.spec import Suite
from bench.store import Store, with_history

Builder = Callable[[Suite, Sequence[Record], Mapping[str, Missing]], Exhibit]
BUILDERS: Mapping[str, Builder] = {"oracle": oracle.build_exhibit}  # by exhibit; all others compare networks
# exhibits that no suite makes: from all records and the folder they lie in
STANDING: tuple[Callable[[Sequence[Record], Path], Exhibit], ...] = (costs.build_exhibit, protocols.build_exhibit)


def build_reports(store: Store, suites: Sequence[Suite], missing: Mapping[str, Missing], out: Path) -> list[Path]:
    """Markdown, CSV, LaTeX and figures for each suite, and index.html for all of them; returns the files written.

    `missing` maps a dataset that is not there to what is missing and how to get it. A damaged record is left out and
    named in the report. Raises UserError where two suites share a name.
    """
    _check_names(suites)
    records, damaged = read_records(store)
    exhibits = [exhibit_of(suite, records, missing) for suite in suites]
    exhibits += [build(records, store.root) for build in STANDING]
    _check_free({exhibit.suite.name for exhibit in exhibits[len(suites) :]}, suites)
    drawn = {figure.name: figure.draw() for exhibit in exhibits for figure in exhibit.figures}
    results = Path(os.path.relpath(store.root.resolve(), out.resolve())).as_posix()
    files: dict[Path, str | bytes] = {}
    for exhibit in exhibits:
        files[out / f"{exhibit.suite.name}.md"] = render_markdown(exhibit, results, damaged)
        files[out / f"{exhibit.suite.name}.csv"] = render_csv(exhibit)
        files[out / f"{exhibit.suite.name}.tex"] = render_latex(exhibit)
        for figure in exhibit.figures:
            files |= {out / f"{figure.name}.{kind}": content for kind, content in drawn[figure.name].items()}
    pictures = {name: by_kind["svg"] for name, by_kind in drawn.items()}
    files |= {out / name: text for name, text in audit_pages(store.root, results).items()}
    files[out / "index.html"] = render_page(Page(exhibits, run_lines(records), damaged, results, pictures))
    written = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
    require(out, sum(map(len, written.values())), "the report")
    for path, content in written.items():
        write_bytes(path, content)
    return list(files)


def exhibit_of(suite: Suite, records: Sequence[Record], missing: Mapping[str, Missing]) -> Exhibit:
    """The suite's exhibit, by the way of its kind."""
    return BUILDERS.get(suite.exhibit or "", table4.build_exhibit)(suite, records, missing)


def read_records(store: Store) -> tuple[list[Record], dict[str, str]]:
    """The records that can be read, by id, and what is wrong with each of the others."""
    records, damaged = [], {}
    for name in store.run_ids():
        try:
            records.append(_light(with_history(store.record(name))))
        except UserError as error:
            damaged[name] = str(error).replace(str(store.root), store.root.name)
    return records, damaged


def _check_free(names: Collection[str], suites: Sequence[Suite]) -> None:
    for suite in suites:
        if suite.name in names:
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
