"""Which trackers there are, what each needs, and where its files lie. No torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.errors import UserError

PROJECT = "maskattn-bench"  # trackio's word for what holds runs
FOLDER = "tracking"  # beside results/, which is the record; ignored by git: event files are named after the host


@dataclass(frozen=True)
class Choice:
    """`packages`: what it needs; `show`: the command that shows a folder of it."""

    packages: tuple[str, ...]
    show: str


TRACKERS = {
    "tensorboard": Choice(("accelerate", "tensorboard"), "tensorboard --logdir {folder}"),
    "trackio": Choice(("accelerate", "trackio"), f"TRACKIO_DIR={{folder}} trackio show --project {PROJECT}"),
}


def folder_of(name: str, results: Path) -> Path:
    return Path(os.path.normpath(results / ".." / FOLDER / name))


def require_packages(name: str) -> None:
    """Raises UserError where one that the tracker needs is not installed."""
    absent = [package for package in TRACKERS[name].packages if find_spec(package) is None]
    if absent:
        raise UserError(f"--track {name} needs {' and '.join(absent)}: python -m pip install {' '.join(absent)}")
