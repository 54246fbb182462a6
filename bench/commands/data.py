"""data list, download, prepare, verify."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

from rich.console import Console

from bench.commands.options import data_roots, name_list, preparation, prepared_root, print_json, terminal
from bench.commands.progress import advancing
from bench.commands.vanished import vanished_table
from bench.data.catalog import DATASETS, DataRoots, Missing, find
from bench.data.downloading.download import CITYSCAPES
from bench.data.downloading.download import download as fetch_dataset
from bench.data.prepared import prepare_sizes
from bench.data.problem import Problem
from bench.data.source import NoTruthError, Source, forms
from bench.data.verified import remember
from bench.data.verify_prepared import verify as verify_prepared
from bench.data.verify_source import verify_source
from bench.disk import amount
from bench.errors import FAILED, MISTAKE, OK, UserError
from bench.spec import parse_size, size_text
from models.categories import TASKS


def list(options: argparse.Namespace) -> int:
    roots, console = data_roots(options), terminal()
    for name in dict.fromkeys((*DATASETS, *roots.paths)):
        entry = find(name, roots)
        if isinstance(entry, Missing):
            console.print(f"{name}: missing: {entry.what}; {entry.how}")
            continue
        splits = ", ".join(f"{split} {len(entry.ids(split))} images" for split in entry.splits)
        things = sum(entry.categories.is_thing)
        console.print(f"{name}: {splits}; {things} things, {len(entry.categories) - things} stuff; {entry.form}")
        for task in TASKS:
            try:
                entry.for_task(task)
            except NoTruthError as error:
                console.print(f"  {error.what}; {error.how}")
    return OK


def download(options: argparse.Namespace) -> int:
    given = options.data_root or os.environ.get("BENCH_DATA_ROOT")
    if not given:
        raise UserError("where to? name a folder with --data-root or BENCH_DATA_ROOT")
    root, console = Path(given), terminal()
    if options.name == "cityscapes":
        if not isinstance(find("cityscapes", DataRoots(root=root)), Missing):
            console.print(f"cityscapes: already in {root}")
            return OK
        console.print(CITYSCAPES.format(root=root, folder=root / "cityscapes"))
        return MISTAKE
    if options.mirror and not options.mirror.startswith(("http://", "https://")):
        raise UserError(f"--mirror: expected a URL that begins with http:// or https://, got {options.mirror!r}")
    with advancing(console, amount) as advance:
        folder = fetch_dataset(
            options.name, root, mirror=options.mirror, keep=options.keep_archives, progress=advance, say=console.print
        )
    console.print(f"{options.name}: whole in {folder}; next: `bench data verify {options.name} --data-root {root}`")
    return OK


def prepare(options: argparse.Namespace) -> int:
    source, console = _source(options), terminal()
    try:
        sizes = [parse_size(text) for text in name_list(options.sizes)]
    except ValueError as error:
        raise UserError(f"--sizes: {error}") from None
    made = []
    for one, split in product(forms(source), source.splits):
        what = f"preparing {source.name} {split} at {', '.join(map(size_text, sizes))}"
        progress = partial(preparation(console), what)
        made += prepare_sizes(one, split, sizes, None, prepared_root(options), progress, skip_bad=options.skip_bad)
    for prepared in made:
        console.print(str(prepared.folder))
        for skipped in prepared.manifest["skipped"]:
            console.print(f"  left out: {skipped['reason']}")
    console.print(vanished_table(made))
    return OK


def verify(options: argparse.Namespace) -> int:
    entry, console = find(options.name, data_roots(options)), terminal()
    folders = sorted(path.parent for path in (prepared_root(options) / options.name).glob("[!.]*/manifest.json"))
    if isinstance(entry, Missing) and not folders:
        raise UserError(f"{entry.name}: {entry.what}; {entry.how}")
    problems = []
    with advancing(Console(stderr=True) if options.json else console) as advance:
        for problem in _problems(entry, folders, partial(advance, f"reading {options.name}")):
            problems.append(problem)
            if not options.json:
                console.print(str(problem))
    if not isinstance(entry, Missing):
        remember(entry, prepared_root(options), len(problems))
    kinds = Counter(problem.kind for problem in problems)
    if options.json:
        found = [problem.to_json() for problem in problems]
        missing = entry.what if isinstance(entry, Missing) else None
        told = {
            "dataset": options.name,
            "missing": missing,
            "prepared": len(folders),
            "kinds": kinds,
            "problems": found,
        }
        print_json(told)
    else:
        if isinstance(entry, Missing):
            console.print(f"{entry.name}: {entry.what}; only its prepared forms were read")
        by_kind = ": " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) if kinds else ""
        console.print(f"{options.name}: {len(problems)} problems{by_kind}; {len(folders)} prepared forms read")
    return FAILED if problems else OK


def _problems(
    entry: Source | Missing, folders: Sequence[Path], progress: Callable[[int, int], None]
) -> Iterator[Problem]:
    """Of the dataset's own files, where it is here, then of its prepared forms."""
    if not isinstance(entry, Missing):
        yield from verify_source(entry, progress=progress)
    for folder in folders:
        for reason in verify_prepared(folder):
            yield Problem(folder, "prepared", reason)


def _source(options: argparse.Namespace) -> Source:
    entry = find(options.name, data_roots(options))
    if isinstance(entry, Missing):
        raise UserError(f"{entry.name}: {entry.what}; {entry.how}")
    return entry
