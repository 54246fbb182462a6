"""What the options mean, the same for every command."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.data.catalog import DataRoots
from bench.errors import UserError
from bench.named import ALL, load_named, suites_named
from bench.plan import Choice, Progress
from bench.spec import NAME, Profile

WIDE = 160  # columns of a table that goes to a file


def data_roots(options: argparse.Namespace) -> DataRoots:
    paths = {}
    for given in options.dataset:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise UserError(f"--dataset takes NAME=PATH, such as coco=/data/coco; got {given!r}")
        if not re.fullmatch(NAME, name):
            raise UserError(f"--dataset: a name is lower-case letters, digits, - and _; got {name!r}")
        paths[name] = Path(path)
    root = options.data_root or os.environ.get("BENCH_DATA_ROOT")
    if root and not Path(root).is_dir():
        raise UserError(f"no data root at {root}; give the folder that holds coco, ade20k or cityscapes")
    return DataRoots(paths, Path(root) if root else None)


def prepared_root(options: argparse.Namespace) -> Path:
    return Path(options.prepared or os.environ.get("BENCH_PREPARED") or "prepared")


def name_list(text: str | None) -> tuple[str, ...]:
    """'a,b' -> ('a', 'b'); nothing given -> (). Raises UserError where something was given and nothing is in it."""
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not names:
        raise UserError(f"expected names with commas between them, got {text!r}")
    return names


def seed_list(text: str | None) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in name_list(text))
    except ValueError:
        seeds = (-1,)
    if any(seed < 0 for seed in seeds):
        raise UserError(f"--seeds takes whole numbers from 0, such as 0,1,2; got {text!r}")
    return seeds


def read_choice(options: argparse.Namespace) -> Choice:
    """Of a command that takes one suite."""
    if options.suite == ALL:
        raise UserError(f"--suite {ALL} is every exhibit's; this command takes one suite")
    return read_choices(options)[0]


def read_choices(options: argparse.Namespace) -> list[Choice]:
    """One for each suite. With `--suite all` a suite takes of the networks and paths given those that are its own."""
    profile, roots = load_named("profile", options.profile, Profile), data_roots(options)
    models, datasets = name_list(options.models), name_list(options.datasets)
    prepared, seeds = prepared_root(options), seed_list(options.seeds)
    if options.suite != ALL:
        (suite,) = suites_named(options.suite)
        return [Choice(suite, profile, roots, prepared, models, datasets, seeds)]
    choices = []
    for suite in suites_named(ALL):
        own = tuple(name for name in models if name in {entry.name for entry in suite.models})
        paths = {name: path for name, path in roots.paths.items() if name in (datasets or suite.datasets)}
        if own or not models:
            choices.append(Choice(suite, profile, DataRoots(paths, roots.root), prepared, own, datasets, seeds))
    taken = {name for choice in choices for name in (*choice.roots.paths, *choice.models)}
    strange = [name for name in (*roots.paths, *models) if name not in taken]
    if strange:
        raise UserError(f"no suite that has an exhibit has {strange[0]}; see bench/suites")
    return choices


def terminal(stderr: bool = False) -> Console:
    """Prints what is given, in lines as long as they are where no terminal is."""
    make = partial(Console, highlight=False, markup=False, soft_wrap=True, stderr=stderr)
    console = make()
    return console if console.is_terminal else make(width=WIDE)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")


def preparation(console: Console) -> Progress:
    """One line for each preparation, growing in place where there is a terminal."""

    def progress(what: str, done: int, of: int) -> None:
        if console.is_terminal:
            console.print(f"{what}: {done} of {of}", end="\n" if done == of else "\r")
        elif done == of:
            console.print(f"{what}: {of} images")

    return progress
