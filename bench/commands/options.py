"""What the options mean, the same for every command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.data.catalog import DataRoots
from bench.errors import UserError
from bench.plan import Choice, load_named
from bench.spec import Profile, Suite

WIDE = 160  # columns of a table that goes to a file


def data_roots(options: argparse.Namespace) -> DataRoots:
    paths = {}
    for given in options.dataset:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise UserError(f"--dataset takes NAME=PATH, such as coco=/data/coco; got {given!r}")
        paths[name] = Path(path)
    root = options.data_root or os.environ.get("BENCH_DATA_ROOT")
    return DataRoots(paths, Path(root) if root else None)


def prepared_root(options: argparse.Namespace) -> Path:
    return Path(options.prepared or os.environ.get("BENCH_PREPARED") or "prepared")


def name_list(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def seed_list(text: str | None) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in name_list(text))
    except ValueError:
        seeds = (-1,)
    if any(seed < 0 for seed in seeds):
        raise UserError(f"--seeds takes whole numbers from 0, such as 0,1,2; got {text!r}")
    return seeds


def read_choice(options: argparse.Namespace) -> Choice:
    return Choice(
        suite=load_named("suite", options.suite, Suite),
        profile=load_named("profile", options.profile, Profile),
        roots=data_roots(options),
        prepared=prepared_root(options),
        models=name_list(options.models),
        datasets=name_list(options.datasets),
        seeds=seed_list(options.seeds),
    )


def terminal() -> Console:
    """Prints what is given, in lines as long as they are where no terminal is."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, markup=False, soft_wrap=True, width=WIDE)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
