"""One run, from its spec to its record: build, count, evaluate untrained, train, evaluate, write."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.data.catalog import DataRoots, Missing
from bench.data.catalog import find as find_data
from bench.data.prepared import Prepared, load
from bench.data.source import Source
from bench.data.view import View
from bench.errors import UserError
from bench.evaluate.evaluator import Evaluator
from bench.evaluate.native import NativeResult, evaluate_oracle
from bench.evaluate.oracle import way_of
from bench.measure.cost import measure
from bench.predict import evaluate
from bench.spec import RunSpec
from bench.store import ClassScores, Metrics, Network, Scores, State, Status, Store, Vanished, write_json
from bench.train.loop import DivergedError, Trainer, fit_floor
from bench.train.seeds import axis_seed
from models.interface import SegmentationModel
from models.registry import build
from models.registry import find as find_model

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "transformers", "timm", "fvcore", "pycocotools", "numpy", "pillow")
MOST_WORKERS = 8  # processes that make batches for a GPU
REPORT_EVERY = 0.1  # seconds between two progress messages

Send = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """What a process needs to execute a run. `weights`: files behind digests in the spec, by option. An oracle has
    no `train`, and reads the dataset's own files below `roots`.
    """

    spec: RunSpec
    results: Path
    train: Path | None
    val: Path
    device: str
    threads: int
    keep_weights: bool
    weights: Mapping[str, str] = field(default_factory=dict)
    roots: DataRoots | None = None


def execute(job: Job, send: Send) -> Status | None:
    """Executes a run and writes its record, also where it fails. None: another process has this run in hand."""
    store = Store(job.results)
    with store.lock(job.spec.run_id) as mine:
        if not mine:
            return None
        done = store.whole(job.spec.run_id)
        if done is not None and done.state == "done":
            return done
        return _attempt(job, store, send)


def _attempt(job: Job, store: Store, send: Send) -> Status:
    run_id = job.spec.run_id
    number = store.begin(job.spec)
    attempt = surroundings(job.spec, job.device, job.threads, number)
    store.write_attempt(run_id, number, attempt)
    state: State = "done"
    reason = None
    clock = Clock()
    try:
        work = _network if find_model(job.spec.model).is_network else _oracle
        work(job, store.folder(run_id), send, clock)
    except DivergedError as error:
        state, reason = "diverged", str(error)
    except Exception as error:
        state, reason = "failed", f"{type(error).__name__}: {_first_line(error)}"
        attempt["traceback"] = _traceback()
    attempt |= clock.facts | {"end": now(), "seconds_total": clock.total(), "peak_memory_mb": _peak_memory_mb(job)}
    store.write_attempt(run_id, number, attempt)
    status = Status(run_id=run_id, state=state, attempt=number, reason=reason)
    store.finish(status)
    return status


def _network(job: Job, folder: Path, send: Send, clock: Clock) -> None:
    spec = job.spec
    assert job.train is not None
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.allow_tf32 = False  # matrix products have it off already
    percent, held_out = spec.budget.train_percent, spec.budget.held_out
    train = View(load(job.train), spec.task, percent, held_out)
    val = View(train.prepared, spec.task, percent, held_out, "held out") if held_out else View(load(job.val), spec.task)
    report = Reporter(send)
    with clock.time("build", report):
        torch.manual_seed(axis_seed(spec.seed, "initialisation"))
        options = {**spec.options, **job.weights}
        model = build(spec.model, train.categories, spec.size, spec.task, **options).to(job.device)
        model = model.to(memory_format=torch.channels_last)
    with clock.time("count", report):
        network = measure(model, spec.model, spec.size)
        write_json(folder / "network.json", network.model_dump(mode="json"))
    untrained = None
    if not model.fits_statistics:
        with clock.time("evaluate_untrained", report):
            untrained = _scores(evaluate(model, val, report.images))
    with clock.time("train", report):
        _train(job, model, train, folder, report, clock)
    with clock.time("evaluate", report):
        evaluator = evaluate(model, val, report.images, folder / "samples", protocols=True)
    clock.facts["evaluate_images_per_s"] = len(val) / clock.facts["seconds_evaluate"]
    _write(job, folder, evaluator, len(train), untrained)
    if job.keep_weights:
        _save(model, folder / "checkpoint" / "weights.safetensors")


def _oracle(job: Job, folder: Path, send: Send, clock: Clock) -> None:
    """Scores what a resize does to the native truth of the prepared images: nothing is built, counted or trained."""
    spec, val, report = job.spec, load(job.val), Reporter(send)
    source = _native(job, val)
    network = Network.no_network(spec.model, spec.size, len(source.categories))
    write_json(folder / "network.json", network.model_dump(mode="json"))
    with clock.time("evaluate", report):
        way, samples = way_of(spec.model), folder / "samples"
        result = evaluate_oracle(source, val.split, val.ids, spec.size, way, spec.task, report.images, samples)
    clock.facts["evaluate_images_per_s"] = len(val) / clock.facts["seconds_evaluate"]
    _write(job, folder, result.evaluator, train_images=0, vanished=_vanished(result))


def _native(job: Job, val: Prepared) -> Source:
    """The dataset's own files. Raises UserError where they are not those that were prepared."""
    assert job.roots is not None
    found = find_data(job.spec.dataset, job.roots)
    if isinstance(found, Missing):
        raise UserError(f"{found.name}: {found.what}; {found.how}")
    source = found.for_task(job.spec.task)
    if source.fingerprint(val.split) != val.manifest["fingerprint"]:
        raise UserError(f"the annotations of {found.name} have changed since they were prepared; run the suite again")
    return source


def _vanished(result: NativeResult) -> Vanished:
    lost = {name: loss._asdict() for name, loss in vars(result.lost).items()}
    return Vanished.model_validate({"truth_hash": result.truth_hash, **lost})


def _train(job: Job, model: SegmentationModel, data: View, folder: Path, report: Reporter, clock: Clock) -> None:
    spec = job.spec
    if model.fits_statistics:
        fit_floor(model, data, spec.recipe)
        return
    workers = min(MOST_WORKERS, job.threads) if job.device.startswith("cuda") else 0  # a CPU has no core to spare
    trainer = Trainer(model, data, spec.recipe, spec.seed, spec.precision == "mixed", workers)
    trainer.train(folder / "history.jsonl", report.step)
    clock.facts["train_images_per_s"] = trainer.images_per_s
    clock.facts["seconds_waiting_for_data"] = round(trainer.waited, 3)


def _write(
    job: Job,
    folder: Path,
    evaluator: Evaluator,
    train_images: int,
    untrained: Scores | None = None,
    vanished: Vanished | None = None,
) -> None:
    metrics = Metrics(
        protocol=job.spec.protocol,
        train_images=train_images,
        final=_scores(evaluator),
        untrained=untrained,
        classes=tuple(ClassScores(**row) for row in evaluator.classes()),
        vanished=vanished,
        protocols=evaluator.protocols(),
    )
    evaluator.write_images(folder / "images.parquet")
    write_json(folder / "metrics.json", metrics.model_dump(mode="json"))


def _save(model: SegmentationModel, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, target.with_suffix(".tmp"))
    target.with_suffix(".tmp").replace(target)


def _scores(evaluator: Evaluator) -> Scores:
    return Scores.model_validate(evaluator.metrics())


class Clock:
    """Times of the phases, for attempts/<n>.json: metrics and history hold nothing that differs between equal runs."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.facts: dict[str, float] = {}

    @contextmanager
    def time(self, phase: str, report: Reporter) -> Iterator[None]:
        report.phase = phase
        report.send({"kind": "phase", "phase": phase})
        start = time.monotonic()
        yield
        self.facts[f"seconds_{phase}"] = round(time.monotonic() - start, 3)

    def total(self) -> float:
        return round(time.monotonic() - self.started, 3)


class Reporter:
    """Sends progress to the parent, at most every REPORT_EVERY seconds, and always at the end of an epoch."""

    def __init__(self, send: Send) -> None:
        self.send, self.phase, self.last = send, "", 0.0

    def step(self, row: dict[str, Any]) -> None:
        if row["epoch_end"] or time.monotonic() - self.last > REPORT_EVERY:
            self.last = time.monotonic()
            self.send({"kind": "step", **row})

    def images(self, done: int, of: int) -> None:
        if done == of or time.monotonic() - self.last > REPORT_EVERY:
            self.last = time.monotonic()
            self.send({"kind": "images", "phase": self.phase, "done": done, "of": of})


def surroundings(spec: RunSpec, device: str, threads: int, number: int) -> dict[str, Any]:
    """What an attempt ran on. No host name, no user name, no path."""
    on_gpu = device.startswith("cuda")
    return {
        "schema_version": 1,
        "number": number,
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "processor": _processor(),
        "threads": threads,
        "training_precision": "bfloat16" if on_gpu and spec.precision == "mixed" else "float32",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "seed": spec.seed,
        "git_commit": _git_commit(),
        "start": now(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git_commit() -> str | None:
    """The checkout's commit, with '-dirty' where tracked files differ; None outside a checkout."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _peak_memory_mb(job: Job) -> float:
    """GPU: the allocator's peak. CPU: the process's largest resident size, libraries included."""
    if job.device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(job.device) / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _first_line(error: Exception) -> str:
    return _scrub((str(error).splitlines() or [""])[0])


def _traceback() -> str:
    return _scrub(traceback.format_exc())


def _scrub(text: str) -> str:
    """A text without the paths of this machine: records go into git."""
    for folder in (str(PROJECT), sys.prefix, sys.base_prefix, os.path.expanduser("~")):  # noqa: PTH111
        text = text.replace(folder + os.sep, "")
    return text
