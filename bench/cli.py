"""The commands and their options. What a command needs is imported when it is called, so that --help is quick."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.arguments import (
    Parser,
    data_options,
    estimate_options,
    json_option,
    positive,
    results_option,
    run_id_option,
    run_options,
    seed_options,
    suite_options,
)
from bench.errors import INTERRUPTED, MISTAKE, OK, UserError, unknown

COCO_CLASSES = 133
COMMANDS = (
    "audit", "run", "tune", "plan", "status", "report", "compare", "evaluate",
    "data", "models", "cost", "score", "doctor",
)  # fmt: skip
FORMATS = ("md", "csv", "tex", "html")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 all done, 1 some run failed or a problem was found, 2 the user's mistake, 130 and 143 stopped by
    Ctrl-C and by SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
            raise unknown("command", arguments[0], COMMANDS)
        options = parser().parse_args(arguments)
        module, function = options.call
        command = getattr(importlib.import_module(f"bench.commands.{module}"), function)
        return int(command(options))
    except UserError as error:
        print(f"bench: {error}", file=sys.stderr)  # noqa: T201
        return MISTAKE
    except KeyboardInterrupt:
        print("bench: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # no such folder, no right to write, no space left
        print(f"bench: {error}", file=sys.stderr)  # noqa: T201
        return MISTAKE


def parser() -> Parser:
    top = Parser(prog="bench", description="A reproducibility benchmark for MaskAttn-UNet (arXiv 2503.10686).")
    commands = top.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _audit_command(commands)
    _suite_commands(commands)
    _result_commands(commands)
    _data_commands(_command(commands, "data", "data", "list, download, prepare and verify datasets"))
    json_option(_command(commands, "models", "single", "the registered networks"))
    _cost_command(commands)
    _score_command(commands)
    _doctor_command(commands)
    return top


def _audit_command(commands: Any) -> None:
    audit = _command(commands, "audit", "audit", "which claims of the paper hold, from files alone, in a second")
    audit.add_argument(
        "--layer",
        action="append",
        choices=("arithmetic", "cost", "measured"),
        help="only this one (may be repeated): the printed numbers, counted costs, finished runs",
    )
    audit.add_argument("--only", metavar="C57,A21", help="these claims and findings, in full")
    audit.add_argument("--all", action="store_true", help="every claim, not only what speaks against the paper")
    audit.add_argument(
        "--search", action="store_true", help="first search for a reading of the paper that has its cost"
    )
    results_option(audit)
    json_option(audit)


def _suite_commands(commands: Any) -> None:
    run = _command(commands, "run", "suites", "train and evaluate every run of a suite that is not done yet")
    suite_options(run)
    run_id_option(run)
    seed_options(run)
    run_options(run)
    tune = _command(commands, "tune", "tune", "search every network's learning rate on a part of the training images")
    suite_options(tune)
    tune.set_defaults(seeds=None)  # the suite's first, for every network
    tune.add_argument(
        "--factors", default="0.3,1,3", metavar="F,F", help="of the recipe's rate, 1 among them (default 0.3,1,3)"
    )
    run_options(tune)
    for name, summary in (
        ("plan", "what `run` would do, what is done, how long it may take"),
        ("status", "how many runs of a suite are done, failed, missing"),
    ):
        command = _command(commands, name, "suites", summary)
        suite_options(command)
        run_id_option(command)
        seed_options(command)
        output = command.add_mutually_exclusive_group()
        json_option(output)
        if name == "plan":
            output.add_argument(
                "--slurm", type=Path, metavar="FILE", help="prepare the data, write an sbatch array of what is not done"
            )
            estimate_options(command)


def _result_commands(commands: Any) -> None:
    """What reads finished runs."""
    report = _command(commands, "report", "report", "rebuild the tables, figures and pages from results/")
    report.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="NAME",
        help="a suite file of yours, beside those of bench/suites; with --format the one to print, by name or file",
    )
    report.add_argument("--format", choices=FORMATS, help="print one exhibit (html: one page that holds all it needs)")
    results_option(report)
    report.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")
    data_options(report)
    _compare_command(commands)
    again = _command(commands, "evaluate", "evaluate", "evaluate finished runs again, from their kept weights")
    again.add_argument("runs", nargs="*", metavar="RUN", help="ids of runs, the names of folders in results/")
    again.add_argument("--all", action="store_true", help="all whose record lacks a number of today")
    again.add_argument("--accept", action="store_true", help="write the numbers also where they are not as recorded")
    results_option(again)
    data_options(again)


def _compare_command(commands: Any) -> None:
    compare = _command(commands, "compare", "compare", "two finished runs: what differs, and which are ties")
    compare.add_argument("runs", nargs=2, metavar="RUN", help="ids of runs, or how one of them alone begins")
    compare.add_argument("--resamples", type=positive, default=1000, metavar="N", help="of the images; default 1000")
    results_option(compare)
    json_option(compare)


def _cost_command(commands: Any) -> None:
    cost = _command(commands, "cost", "cost", "what networks cost: FLOPs, parameters, memory, latency")
    cost.add_argument("--model", metavar="NAME")
    cost.add_argument("--input", metavar="HxW", help="height x width, such as 128x128")
    cost.add_argument("--classes", type=positive, default=COCO_CLASSES, metavar="N", help="default 133, COCO's")
    cost.add_argument(
        "--all", action="store_true", help="every network, at the sizes of the cost tables, into results/"
    )
    cost.add_argument("--sizes", metavar="HxW,HxW", help="with --all: these instead")
    cost.add_argument("--again", action="store_true", help="with --all: also what has a record")
    results_option(cost)
    json_option(cost)


def _score_command(commands: Any) -> None:
    score = _command(commands, "score", "single", "score anyone's predictions in COCO's formats")
    score.add_argument(
        "--truth", type=Path, required=True, metavar="JSON", help="panoptic json; PNGs in its stem's folder"
    )
    score.add_argument("--predictions", type=Path, required=True, metavar="JSON", help="panoptic json, likewise")
    score.add_argument("--instances", type=Path, metavar="JSON", help="COCO results: detections with RLE and score")
    score.add_argument("--instances-truth", type=Path, metavar="JSON", help="default: the truth's thing segments")
    json_option(score)


def _doctor_command(commands: Any) -> None:
    doctor = _command(
        commands, "doctor", "single", "can this machine run the benchmark, and are its data and results intact?"
    )
    results_option(doctor)
    doctor.add_argument(
        "--deep", action="store_true", help="read prepared data and records whole, compute the metrics again"
    )
    data_options(doctor)


def _command(commands: Any, name: str, module: str, summary: str) -> argparse.ArgumentParser:
    """A command that is the function of its own name in bench.commands.<module>."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    command.set_defaults(call=(module, name))
    return command


def _data_commands(command: argparse.ArgumentParser) -> None:
    parts = command.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    data_options(_command(parts, "list", "data", "the known datasets and where they are"))
    download = _command(
        parts, "download", "data", "fetch the official archives and unpack them where they are looked for"
    )
    download.add_argument("name", metavar="DATASET", help="coco or ade20k; for cityscapes the steps are told")
    download.add_argument("--data-root", type=Path, metavar="DIR", help="made where absent (else BENCH_DATA_ROOT)")
    download.add_argument("--mirror", metavar="URL", help="fetch <URL>/<archive> instead of the official addresses")
    download.add_argument("--keep-archives", action="store_true", help="leave the archives after unpacking them")
    prepare = _command(parts, "prepare", "data", "resize a dataset once, for every run to read")
    verify = _command(parts, "verify", "data", "read every file of a dataset and of its prepared forms")
    for part in (prepare, verify):
        part.add_argument("name", metavar="DATASET")
        data_options(part)
    json_option(verify)
    prepare.add_argument(
        "--sizes", default="128x128", metavar="HxW,HxW", help="made in one pass over the images; default 128x128"
    )
    prepare.add_argument(
        "--skip-bad", action="store_true", help="leave out images that cannot be read; the manifest says which and why"
    )
