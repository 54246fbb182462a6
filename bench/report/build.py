"""Writes everything under reports/. The same records give the same bytes: nothing in here knows the time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import UserError
from bench.report.gaps import Missing
from bench.report.page import Page, render_page
from bench.report.render_csv import render_csv
from bench.report.render_md import render_markdown
from bench.report.render_tex import render_latex
from bench.report.runs import run_lines
from bench.report.table4 import build_exhibit
from bench.spec import Suite
from bench.store import Record, Store, write_bytes


def build_reports(store: Store, suites: Sequence[Suite], missing: Mapping[str, Missing], out: Path) -> list[Path]:
    """Markdown, CSV and LaTeX for each suite, and index.html for all of them; returns the files written.

    `missing` maps a dataset that is not there to what is missing and how to get it. A damaged record is left out and
    named in the report. Raises UserError where two suites share a name.
    """
    _check_names(suites)
    records, damaged = read_records(store)
    exhibits = [build_exhibit(suite, records, missing) for suite in suites]
    out.mkdir(parents=True, exist_ok=True)
    results = Path(os.path.relpath(store.root.resolve(), out.resolve())).as_posix()
    files: dict[Path, str] = {}
    for exhibit in exhibits:
        files[out / f"{exhibit.suite.name}.md"] = render_markdown(exhibit, results, damaged)
        files[out / f"{exhibit.suite.name}.csv"] = render_csv(exhibit)
        files[out / f"{exhibit.suite.name}.tex"] = render_latex(exhibit)
    files[out / "index.html"] = render_page(Page(exhibits, run_lines(records), damaged, results))
    for path, content in files.items():
        write_bytes(path, content.encode())
    return list(files)


def read_records(store: Store) -> tuple[list[Record], dict[str, str]]:
    """The records that can be read, by id, and what is wrong with each of the others."""
    records, damaged = [], {}
    for name in store.run_ids():
        try:
            records.append(store.record(name))
        except UserError as error:
            damaged[name] = str(error).replace(str(store.root), store.root.name)
    return records, damaged


def _check_names(suites: Sequence[Suite]) -> None:
    names = [suite.name for suite in suites]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two suites are named '{twice[0]}', and both would write {twice[0]}.md; rename one")
