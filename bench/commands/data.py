"""data list, prepare, verify."""

from __future__ import annotations

import argparse
from functools import partial

from bench.commands.options import data_roots, name_list, prepared_root, terminal
from bench.commands.suites import preparation
from bench.data.catalog import DATASETS, Missing, find
from bench.data.prepared import prepare as prepare_split
from bench.data.source import Source, verify_source
from bench.data.verify import verify as verify_prepared
from bench.errors import FAILED, OK, UserError
from bench.spec import parse_size, size_text


def list(options: argparse.Namespace) -> int:
    roots, console = data_roots(options), terminal()
    for name in dict.fromkeys((*DATASETS, *roots.paths)):
        entry = find(name, roots)
        if isinstance(entry, Missing):
            console.print(f"{name}: missing: {entry.what}; {entry.how}")
            continue
        splits = ", ".join(f"{split} {len(entry.ids(split))} images" for split in entry.splits)
        things = sum(entry.categories.is_thing)
        console.print(f"{name}: {splits}; {things} things, {len(entry.categories) - things} stuff")
    return OK


def prepare(options: argparse.Namespace) -> int:
    source, console = _source(options), terminal()
    try:
        sizes = [parse_size(text) for text in name_list(options.sizes)]
    except ValueError as error:
        raise UserError(f"--sizes: {error}") from None
    for size in sizes:
        for split in source.splits:
            progress = partial(preparation(console), f"preparing {source.name} {split} at {size_text(size)}")
            made = prepare_split(source, split, size, None, prepared_root(options), progress)
            lost, total = made.manifest["segments_vanished"], made.manifest["segments_total"]
            console.print(f"{made.folder}: {len(made)} images, {lost} of {total} segments vanished")
    return OK


def verify(options: argparse.Namespace) -> int:
    source, console = _source(options), terminal()
    problems = [problem for split in source.splits for problem in verify_source(source, split)]
    folders = sorted(path.parent for path in (prepared_root(options) / source.name).glob("*/manifest.json"))
    problems += [problem for folder in folders for problem in verify_prepared(folder)]
    for problem in problems:
        console.print(problem)
    console.print(f"{source.name}: {len(problems)} problems; {len(folders)} prepared forms read")
    return FAILED if problems else OK


def _source(options: argparse.Namespace) -> Source:
    entry = find(options.name, data_roots(options))
    if isinstance(entry, Missing):
        raise UserError(f"{entry.name}: {entry.what}; {entry.how}")
    return entry
