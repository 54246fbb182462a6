"""report: the whole of it into a folder, or one exhibit to the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench.commands.options import data_roots, terminal
from bench.commands.progress import advancing
from bench.data.catalog import Missing, find
from bench.errors import OK, UserError, unknown
from bench.named import ALL, known_suites, suites_named
from bench.report.build import STANDING, Found, gather, one_exhibit, write_found
from bench.report.lacking import compute_lacking
from bench.report.site.links import RUNS
from bench.spec import Suite
from bench.store import Store


def report(options: argparse.Namespace) -> int:
    store = Store(options.results)
    if not store.root.is_dir():
        raise UserError(f"no results at {store.root}; `python -m bench run --suite table4` makes some")
    if options.format:
        return _print_one(options, store)
    console, suites = terminal(), known_suites()
    named = [suite for name in options.suite if name not in STANDING for suite in suites_named(name)]
    suites += [suite for suite in named if suite not in suites]  # a name of ours: it is there already
    missing = _missing(options, suites)
    found = gather(store, suites, missing)
    if _compute_intervals(store, found, console):
        found = gather(store, suites, missing)
    _say(write_found(store, found, options.out), options.out)
    return OK


def _print_one(options: argparse.Namespace, store: Store) -> int:
    """Nothing else goes to the standard output, so that it can be redirected."""
    if len(options.suite) != 1 or ALL in options.suite:
        raise UserError(
            f"--format {options.format} prints one exhibit: name one, such as --suite table4 --format {options.format}"
        )
    (name,) = options.suite
    suite = name if name in STANDING else _suite(name)
    missing = _missing(options, [suite] if isinstance(suite, Suite) else [])
    if isinstance(suite, Suite):
        _compute_intervals(store, gather(store, [suite], missing), terminal(stderr=True))
    sys.stdout.write(one_exhibit(store, suite, missing, options.out, options.format))
    return OK


def _compute_intervals(store: Store, found: Found, console: Console) -> int:
    """How many were computed."""
    with advancing(console) as advance:
        kept, said = compute_lacking(store, found, advance)
        for line in said:
            console.print(line)
    return kept


def _suite(name: str) -> Suite:
    """Raises UserError, which knows the exhibits that no suite makes."""
    known = [suite.name for suite in known_suites()]
    if name not in known and "/" not in name and not name.endswith((".yaml", ".yml")):
        raise unknown("suite", name, [*known, *STANDING])
    (suite,) = suites_named(name)
    return suite


def _missing(options: argparse.Namespace, suites: Sequence[Suite]) -> Mapping[str, Missing]:
    roots = data_roots(options)
    found = {name: find(name, roots) for suite in suites for name in suite.datasets}
    return {name: entry for name, entry in found.items() if isinstance(entry, Missing)}


def _say(paths: Sequence[Path], out: Path) -> None:
    """Every file but the pages of runs, which are many."""
    console, runs = terminal(), [path for path in paths if path.parent == out / RUNS]
    for path in paths:
        if path.parent != out / RUNS:
            console.print(str(path))
    if runs:
        console.print(f"{out / RUNS}: {len(runs)} pages of runs")
    console.print(f"open {out / 'index.html'}")
