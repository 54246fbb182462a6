"""The parser, and the options that several commands have in common."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.errors import MISTAKE
from bench.track.choices import TRACKERS

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


def run_id_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run-id", metavar="ID,ID", help="only these runs of the suite; `bench plan` lists their ids")


def run_options(command: argparse.ArgumentParser) -> None:
    only = "only what never ended, what failed, or what ended and cannot be read"
    command.add_argument("--only", choices=("missing", "failed", "damaged"), help=only)
    command.add_argument("--fail-fast", action="store_true", help="start nothing new after a failure")
    command.add_argument("--jobs", type=positive, metavar="N", help="runs at a time (default 1)")
    command.add_argument(
        "--processes", type=positive, metavar="N", help="of each run, which share its batches (default 1; torchrun's)"
    )
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
    command.add_argument("--track", choices=tuple(TRACKERS), help="also write what is trained into this tracker")
    _cluster_options(command)


def _cluster_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--executor", choices=("local", "ray"), default="local", help="local (default), or the nodes of a Ray cluster"
    )
    command.add_argument(
        "--address", metavar="HOST:PORT", help="of the Ray cluster's head (else RAY_ADDRESS, else Ray on this machine)"
    )
    command.add_argument(
        "--cpus-per-run", type=positive, metavar="N", help="processors of each run on a Ray cluster (default 1)"
    )
    command.add_argument(
        "--gpus-per-run",
        type=part_of_one,
        metavar="N",
        help="GPUs of each, 0 to 1, such as 0.5 for two runs a GPU (default 1 where the cluster has GPUs, else 0)",
    )


def estimate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--calibrate", action="store_true", help="first time 20 steps of each network on this machine, into results/"
    )
    command.add_argument("--again", action="store_true", help="with --calibrate: also what this machine has timed")
    command.add_argument(
        "--price-per-hour",
        action="append",
        default=[],
        metavar="NAME=AMOUNT",
        help="of the hardware whose name has NAME in it, such as H100=2.5; may be repeated",
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


def json_option(command: argparse._ActionsContainer) -> None:
    command.add_argument("--json", action="store_true", help="machine-readable output")


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def part_of_one(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return number


def positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number
