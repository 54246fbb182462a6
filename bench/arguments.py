"""The parser, and the options that several commands have in common."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.errors import MISTAKE

CHECKPOINT_MINUTES = 10.0
STALL_MINUTES = 30.0  # the longest silence of a healthy run: one step of training, or adding up AP


class Parser(argparse.ArgumentParser):
    """One line for a mistake."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> Any:
        print(f"bench: {message} (see `{self.prog} --help`)", file=sys.stderr)  # noqa: T201
        sys.exit(MISTAKE)


def suite_options(command: argparse.ArgumentParser) -> None:
    which = "a suite of bench/suites, all (every exhibit's), or a YAML file"
    command.add_argument("--suite", required=True, metavar="NAME", help=which)
    command.add_argument("--profile", default="smoke", metavar="NAME", help="smoke (default), quick, full or paper")
    command.add_argument("--models", metavar="A,B", help="only these networks")
    command.add_argument("--datasets", metavar="A,B", help="only these datasets")
    results_option(command)
    data_options(command)


def seed_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seeds", metavar="0,1", help="these seeds instead of the suite's")
    command.add_argument(
        "--tuned",
        nargs="?",
        const="0.3,1,3",
        metavar="F,F",
        help="every network at the best rate of its `bench tune` (with the --factors it was given)",
    )


def run_options(command: argparse.ArgumentParser) -> None:
    only = "only what never ended, what failed, or what ended and cannot be read"
    command.add_argument("--only", choices=("missing", "failed", "damaged"), help=only)
    command.add_argument("--fail-fast", action="store_true", help="start nothing new after a failure")
    command.add_argument("--jobs", type=positive, default=1, metavar="N", help="runs at a time (default 1)")
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    command.add_argument(
        "--checkpoint-minutes",
        type=positive_number,
        default=CHECKPOINT_MINUTES,
        metavar="N",
        help="most minutes of a training that a crash can cost (default 10); it is saved at ends of epochs, too",
    )
    command.add_argument(
        "--stall-minutes",
        type=positive_number,
        default=STALL_MINUTES,
        metavar="N",
        help="a run without any progress for so long is killed and recorded as failed (default 30)",
    )


def data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dataset", action="append", default=[], metavar="NAME=PATH", help="a COCO-panoptic folder; may be repeated"
    )
    command.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the official layouts (else BENCH_DATA_ROOT)"
    )
    command.add_argument(
        "--prepared", type=Path, metavar="DIR", help="where prepared data lie (else BENCH_PREPARED, else ./prepared)"
    )


def results_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")


def json_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="machine-readable output")


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number
