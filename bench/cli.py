"""The commands: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, unknown

if TYPE_CHECKING:
    from bench.data.catalog import DataRoots
    from bench.plan import Cell, Choice, Plan

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
COCO_CLASSES = 133
COMMANDS = ("run", "plan", "status", "report", "data", "models", "cost", "score", "doctor")


class Parser(argparse.ArgumentParser):
    """One line for a mistake, with 'did you mean' for a command or an option."""

    def error(self, message: str) -> Any:
        print(f"bench: {message} (see `{self.prog} --help`)", file=sys.stderr)  # noqa: T201
        sys.exit(MISTAKE)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 all done, 1 some run failed or a problem was found, 2 the user's mistake."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
            raise unknown("command", arguments[0], COMMANDS)
        options = parser().parse_args(arguments)
        return int(options.call(options))
    except UserError as error:
        print(f"bench: {error}", file=sys.stderr)  # noqa: T201
        return MISTAKE
    except KeyboardInterrupt:
        print("bench: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def parser() -> Parser:
    top = Parser(prog="bench", description="A reproducibility benchmark for MaskAttn-UNet (arXiv 2503.10686).")
    commands = top.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    run = _command(commands, "run", cmd_run, "train and evaluate every run of a suite that is not done yet")
    _suite_options(run)
    run.add_argument("--only", choices=("missing", "failed"), help="only what never ended, or only what failed")
    run.add_argument("--fail-fast", action="store_true", help="start nothing new after a failure")
    run.add_argument("--jobs", type=_positive, default=1, metavar="N", help="runs at a time (default 1)")
    run.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")

    plan = _command(commands, "plan", cmd_plan, "what `run` would do, what is done, how long it may take")
    _suite_options(plan)
    _json_option(plan)
    status = _command(commands, "status", cmd_status, "how many runs of a suite are done, failed, missing")
    _suite_options(status)
    _json_option(status)

    report = _command(commands, "report", cmd_report, "rebuild the tables and the page from results/")
    report.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    report.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")
    _data_options(report)

    _data_commands(_command(commands, "data", None, "list, prepare and verify datasets"))
    _json_option(_command(commands, "models", cmd_models, "the registered networks"))

    cost = _command(commands, "cost", cmd_cost, "parameters and FLOPs of a network at an input size")
    cost.add_argument("--model", required=True, metavar="NAME")
    cost.add_argument("--input", required=True, metavar="HxW", help="height x width, such as 128x128")
    cost.add_argument("--classes", type=_positive, default=COCO_CLASSES, metavar="N", help="default 133, COCO's")
    _json_option(cost)

    score = _command(commands, "score", cmd_score, "score anyone's predictions in COCO's formats")
    score.add_argument(
        "--truth", type=Path, required=True, metavar="JSON", help="panoptic json; PNGs in its stem's folder"
    )
    score.add_argument("--predictions", type=Path, required=True, metavar="JSON", help="panoptic json, likewise")
    score.add_argument("--instances", type=Path, metavar="JSON", help="COCO results: detections with RLE and score")
    score.add_argument("--instances-truth", type=Path, metavar="JSON", help="default: the truth's thing segments")
    _json_option(score)

    doctor = _command(commands, "doctor", cmd_doctor, "can this machine run the benchmark?")
    _data_options(doctor)
    return top


def _command(commands: Any, name: str, call: Any, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    command.set_defaults(call=call)
    return command


def _suite_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--suite", required=True, metavar="NAME", help="a suite of bench/suites, or a YAML file")
    command.add_argument("--profile", default="smoke", metavar="NAME", help="smoke (default), quick, full or paper")
    command.add_argument("--models", metavar="A,B", help="only these networks")
    command.add_argument("--datasets", metavar="A,B", help="only these datasets")
    command.add_argument("--seeds", metavar="0,1", help="these seeds instead of the suite's")
    command.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    _data_options(command)


def _data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dataset", action="append", default=[], metavar="NAME=PATH", help="a COCO-panoptic folder; may be repeated"
    )
    command.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the official layouts (else BENCH_DATA_ROOT)"
    )
    command.add_argument(
        "--prepared", type=Path, metavar="DIR", help="where prepared data lie (else BENCH_PREPARED, else ./prepared)"
    )


def _json_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="machine-readable output")


def _data_commands(command: argparse.ArgumentParser) -> None:
    parts = command.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _data_options(_command(parts, "list", cmd_data_list, "the known datasets and where they are"))
    prepare = _command(parts, "prepare", cmd_data_prepare, "resize a dataset once, for every run to read")
    verify = _command(parts, "verify", cmd_data_verify, "read every file of a dataset and of its prepared forms")
    for part in (prepare, verify):
        part.add_argument("name", metavar="DATASET")
        _data_options(part)
    prepare.add_argument("--sizes", default="128x128", metavar="HxW,HxW", help="default 128x128")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


# --- what the options mean -------------------------------------------------------------------------------------------


def _roots(options: argparse.Namespace) -> DataRoots:
    from bench.data.catalog import DataRoots

    paths = {}
    for given in options.dataset:
        name, equals, path = given.partition("=")
        if not (name and equals and path):
            raise UserError(f"--dataset takes NAME=PATH, such as coco=/data/coco; got {given!r}")
        paths[name] = Path(path)
    root = options.data_root or os.environ.get("BENCH_DATA_ROOT")
    return DataRoots(paths, Path(root) if root else None)


def _prepared(options: argparse.Namespace) -> Path:
    return Path(options.prepared or os.environ.get("BENCH_PREPARED") or "prepared")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def _seeds(text: str | None) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in _names(text))
    except ValueError:
        seeds = (-1,)
    if any(seed < 0 for seed in seeds):
        raise UserError(f"--seeds takes whole numbers from 0, such as 0,1,2; got {text!r}")
    return seeds


def _choice(options: argparse.Namespace) -> Choice:
    from bench.plan import Choice, load_named
    from bench.spec import Profile, Suite

    roots = _roots(options)
    suite = load_named("suite", options.suite, Suite)
    datasets = _names(options.datasets)
    return Choice(
        suite=suite,
        profile=load_named("profile", options.profile, Profile),
        roots=roots,
        prepared=_prepared(options),
        models=_names(options.models),
        datasets=datasets,
        seeds=_seeds(options.seeds),
    )


# --- suites ----------------------------------------------------------------------------------------------------------


def cmd_run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from bench.plan import make_plan
    from bench.store import Store

    choice, console = _choice(options), Console(highlight=False)
    store = Store(options.results)
    device = _device(options.device)
    plan = make_plan(choice, store, _preparation(console))
    _say_missing(console, plan)
    chosen = [cell for cell in plan.cells if _is_chosen(cell, options.only)]
    console.print(_headline(choice, plan, chosen), soft_wrap=True)
    if not chosen:
        return FAILED if any(cell.state in ("failed", "diverged") for cell in plan.cells) else OK
    return _execute(console, plan, chosen, store, _machine(options.jobs, device, choice.profile.keep_weights), options)


def _execute(console: Any, plan: Plan, chosen: list[Cell], store: Any, machine: Any, options: Any) -> int:
    from bench.display import Display
    from bench.execute.local import execute_all

    _check_disk(chosen, store.root, machine.keep_weights)
    with Display(console, chosen, len(chosen), store) as display:
        for cell in plan.cells:
            if cell.state == "done":
                display.done_before(cell)
        execute_all(chosen, store, machine, display.event, options.fail_fast)
    if display.live is None:
        console.print(display.table())
    skipped = len(chosen) - display.ended
    failed = len(display.failures)
    console.print(f"{display.ended - failed} done, {failed} failed, {skipped} not started", soft_wrap=True)
    for run_id in display.failures:
        console.print(f"  failed: {run_id}", soft_wrap=True)
    if failed:
        console.print("`--only failed` runs these again", soft_wrap=True)
    console.print("next: python -m bench report", soft_wrap=True)
    return FAILED if failed or skipped else OK


def _is_chosen(cell: Cell, only: str | None) -> bool:
    """A run that diverged did end: it would diverge again, so it is redone only when asked for."""
    if only == "missing":
        return cell.state == "missing"
    if only == "failed":
        return cell.state in ("failed", "diverged")
    return cell.state in ("missing", "failed")


def _preparation(console: Any) -> Any:
    """Prints one line when a preparation starts and one when it ends."""

    def progress(what: str, done: int, of: int) -> None:
        if console.is_terminal:
            console.print(f"{what}: {done} of {of}", end="\n" if done == of else "\r")
        elif done == of:
            console.print(f"{what}: {of} images")

    return progress


def _say_missing(console: Any, plan: Plan) -> None:
    for missing in plan.missing.values():
        console.print(f"{missing.name}: {missing.what}; {missing.how}", soft_wrap=True, markup=False)
    if plan.missing and set(plan.sources) == {"scenes"}:
        console.print("running on the embedded dataset 'scenes' in a column of its own", soft_wrap=True)


def _headline(choice: Choice, plan: Plan, chosen: list[Cell]) -> str:
    """How many runs, the expected time and the disk."""
    from bench.display import amount, duration

    done = sum(cell.state == "done" for cell in plan.cells)
    text = f"{choice.suite.name}, profile {choice.profile.name}: {len(plan.cells)} runs, {done} done"
    if not chosen:
        return text + ", nothing to do"
    known = [cell.seconds for cell in chosen if cell.seconds is not None]
    unknown_times = len(chosen) - len(known)
    times = [f"about {duration(sum(known))} by past runs"] if known else []
    if unknown_times:
        times.append(f"no past run tells the time of {unknown_times} ({choice.profile.summary})")
    disk = amount(_disk_needed(chosen, choice.profile.keep_weights))
    return f"{text}, {len(chosen)} to run; time: {'; '.join(times)}; disk: up to {disk}"


RECORD_BYTES = 2_000_000  # a record with its pictures and images.parquet
WEIGHT_BYTES = 260_000_000  # the largest network's, 63 M parameters in float32


def _disk_needed(cells: list[Cell], keep_weights: bool) -> int:
    return len(cells) * (RECORD_BYTES + (WEIGHT_BYTES if keep_weights else 0))


def _check_disk(cells: list[Cell], results: Path, keep_weights: bool) -> None:
    from bench.display import amount
    from bench.execute.local import free_bytes

    need, free = _disk_needed(cells, keep_weights), free_bytes(results.resolve())
    if free < need:
        raise UserError(f"{results} has {amount(free)} free and these runs may need {amount(need)}; make room first")


def _device(name: str) -> str:
    from bench.execute.local import count_gpus

    if name == "auto":
        return "cuda:0" if count_gpus() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"--device is auto, cpu, cuda or cuda:N; got {name!r}")
    if kind == "cuda" and int(number or 0) >= count_gpus():
        raise UserError(f"--device {name}: this machine shows {count_gpus()} CUDA devices; use --device cpu")
    return name


def _machine(jobs: int, device: str, keep_weights: bool) -> Any:
    from bench.execute.local import Machine

    cores = len(os.sched_getaffinity(0))
    return Machine(device=device, jobs=jobs, threads=max(1, cores // jobs), keep_weights=keep_weights)


def cmd_plan(options: argparse.Namespace) -> int:
    from bench.display import duration
    from bench.plan import make_plan
    from bench.spec import size_text
    from bench.store import Store

    choice = _choice(options)
    plan = make_plan(choice, Store(options.results))
    if options.json:
        return _print_json(
            {
                "suite": choice.suite.name,
                "profile": choice.profile.name,
                "runs": [
                    {"run_id": c.spec.run_id, "state": c.state, "expected_seconds": c.seconds}
                    | c.spec.model_dump(mode="json", include={"model", "dataset", "size", "seed"})
                    for c in plan.cells
                ],
                "missing": {name: {"what": m.what, "how": m.how} for name, m in plan.missing.items()},
            }
        )
    console = _console()
    _say_missing(console, plan)
    for size in dict.fromkeys(cell.spec.size for cell in plan.cells):
        console.print(f"size {size_text(size)}: height {size[0]}, width {size[1]}")
    for cell in plan.cells:
        expected = f", about {duration(cell.seconds)}" if cell.seconds is not None else ""
        console.print(f"{cell.state:9}{cell.spec.run_id}{expected if cell.state != 'done' else ''}", soft_wrap=True)
    console.print(
        _headline(choice, plan, [c for c in plan.cells if c.state in ("missing", "pending", "failed")]), soft_wrap=True
    )
    return OK


def cmd_status(options: argparse.Namespace) -> int:
    from collections import Counter

    from bench.plan import make_plan
    from bench.store import Store

    choice = _choice(options)
    plan = make_plan(choice, Store(options.results))
    counts = Counter(cell.state for cell in plan.cells)
    bad = {c.spec.run_id: c.status.reason for c in plan.cells if c.status is not None and c.state != "done"}
    if options.json:
        missing = {name: entry.what for name, entry in plan.missing.items()}
        return _print_json({"runs": len(plan.cells), "states": dict(counts), "failures": bad, "missing": missing})
    console = _console()
    console.print(
        f"{counts['done']}/{len(plan.cells)} done" + "".join(f", {n} {s}" for s, n in counts.items() if s != "done")
    )
    for run_id, reason in bad.items():
        console.print(f"{run_id}: {reason}", soft_wrap=True, markup=False)
    _say_missing(console, plan)
    return OK


def cmd_report(options: argparse.Namespace) -> int:
    from bench.data.catalog import Missing, find
    from bench.plan import HERE, load_named
    from bench.report.build import build_reports
    from bench.spec import Suite
    from bench.store import Store

    roots = _roots(options)
    suites = [load_named("suite", path.stem, Suite) for path in sorted((HERE / "suites").glob("*.yaml"))]
    found = {name: find(name, roots) for suite in suites for name in suite.datasets}
    missing = {name: entry for name, entry in found.items() if isinstance(entry, Missing)}
    for path in build_reports(Store(options.results), suites, missing, options.out):
        _console().print(str(path), soft_wrap=True)
    return OK


# --- data ------------------------------------------------------------------------------------------------------------


def cmd_data_list(options: argparse.Namespace) -> int:
    from bench.data.catalog import DATASETS, Missing, find

    roots, console = _roots(options), _console()
    for name in dict.fromkeys((*DATASETS, *roots.paths)):
        entry = find(name, roots)
        if isinstance(entry, Missing):
            console.print(f"{name}: missing: {entry.what}; {entry.how}", soft_wrap=True, markup=False)
            continue
        categories = entry.categories
        splits = ", ".join(f"{split} {len(entry.ids(split))} images" for split in entry.splits)
        things = sum(categories.is_thing)
        console.print(f"{name}: {splits}; {things} things, {len(categories) - things} stuff", soft_wrap=True)
    return OK


def cmd_data_prepare(options: argparse.Namespace) -> int:
    from bench.data.prepared import prepare
    from bench.spec import parse_size, size_text

    source, console = _source(options), _console()
    try:
        sizes = [parse_size(text) for text in _names(options.sizes)]
    except ValueError as error:
        raise UserError(f"--sizes: {error}") from None
    for size in sizes:
        for split in source.splits:
            what = f"preparing {source.name} {split} at {size_text(size)}"
            report = _preparation(console)
            made = prepare(source, split, size, None, _prepared(options), lambda d, n, what=what: report(what, d, n))
            lost = made.manifest["segments_vanished"]
            console.print(
                f"{made.folder}: {len(made)} images, {lost} of {made.manifest['segments_total']} segments vanished",
                soft_wrap=True,
            )
    return OK


def cmd_data_verify(options: argparse.Namespace) -> int:
    from bench.data.source import verify_source
    from bench.data.verify import verify

    source, console = _source(options), _console()
    problems = [problem for split in source.splits for problem in verify_source(source, split)]
    folders = sorted(path.parent for path in (_prepared(options) / source.name).glob("*/manifest.json"))
    problems += [problem for folder in folders for problem in verify(folder)]
    for problem in problems:
        console.print(problem, soft_wrap=True, markup=False)
    console.print(f"{source.name}: {len(problems)} problems; {len(folders)} prepared forms read", soft_wrap=True)
    return FAILED if problems else OK


def _source(options: argparse.Namespace) -> Any:
    from bench.data.catalog import Missing, find

    entry = find(options.name, _roots(options))
    if isinstance(entry, Missing):
        raise UserError(f"{entry.name}: {entry.what}; {entry.how}")
    return entry


# --- one network, one set of predictions, this machine ---------------------------------------------------------------


def cmd_models(options: argparse.Namespace) -> int:
    from models.registry import ENTRIES

    if options.json:
        return _print_json(
            [{"name": e.name, "family": e.family, "summary": e.summary, "options": dict(e.options)} for e in ENTRIES]
        )
    for entry in ENTRIES:
        defaults = " ".join(f"{key}={value}" for key, value in entry.options.items())
        _console().print(
            f"{entry.name:27}{entry.summary}{f' [{defaults}]' if defaults else ''}", markup=False, soft_wrap=True
        )
    return OK


def cmd_cost(options: argparse.Namespace) -> int:
    from bench.spec import parse_size
    from models.registry import UnknownNameError, find

    try:
        find(options.model)
        size = parse_size(options.input)
    except (UnknownNameError, ValueError) as error:
        raise UserError(str(error)) from None
    from bench.measure.cost import measure, numbered_categories
    from models.registry import build

    try:
        model = build(options.model, numbered_categories(options.classes), size)
    except ValueError as error:
        raise UserError(str(error)) from None
    network = measure(model, options.model, size)
    if options.json:
        return _print_json(network.model_dump(mode="json"))
    console = _console()
    console.print(f"{network.model} at {network.input} (height x width), {network.classes} classes, batch 1")
    console.print(f"parameters: {network.parameters_total:,} ({network.parameters_trainable:,} trainable)")
    if network.flops is not None:
        console.print(f"FLOPs: {network.flops / 1e9:.2f} G, one multiply-add counted once (fvcore)")
        left = ", ".join(f"{name.removeprefix('aten::')} x{count}" for name, count in network.uncounted.items())
        console.print(f"not counted: {left or 'nothing'}", soft_wrap=True)
    return OK


def cmd_score(options: argparse.Namespace) -> int:
    from bench.display import percent
    from bench.evaluate.score import score_files

    scores = score_files(options.truth, options.predictions, options.instances, options.instances_truth)
    if options.json:
        return _print_json(scores)
    for name, value in scores.items():
        text = percent(value) + " %" if isinstance(value, float) else str("-" if value is None else value)
        _console().print(f"{name:16}{text}", markup=False, soft_wrap=True)
    return OK


def cmd_doctor(options: argparse.Namespace) -> int:
    from bench.doctor import examine

    problems = 0
    for line in examine(_roots(options), _prepared(options)):
        problems += not line.ok
        _console().print(f"{'ok  ' if line.ok else 'FAIL'}  {line.text}", markup=False, soft_wrap=True)
    return FAILED if problems else OK


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: Any) -> int:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
    return OK
