"""How fast this machine is at a network: a short run of it, in a folder that is thrown away. Imports no torch.

It is executed as every run is, in a process of the fork server, so what it takes is what a run takes. Its pictures are
those of `scenes`, on every machine the same, under the categories of the plan's dataset.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from bench.cell import Cell, trains_by_steps
from bench.data.native.stand_in import StandIn
from bench.data.prepared import Prepared, load, prepare
from bench.estimate.calibration import Calibration, Hardware, Images, Seconds, Setting, Steps
from bench.execute.local import Machine, execute_all
from bench.machine import processor
from bench.record import Record
from bench.spec import Budget, OtherSize
from bench.stop import Stop
from bench.store import Store
from models.categories import Categories

WARM_UP = 3  # steps that are left out: allocators, libraries and clocks are not ready
STEPS = 20
FLOOR_BATCHES = 2
IMAGES = 16  # evaluated, two batches

Done = Callable[[Cell, Calibration | str], None]  # (what was calibrated, the result or why there is none)


@dataclass(frozen=True)
class Wanted:
    """A run of a plan that stands for all of its setting. `categories`: of its task."""

    cell: Cell
    setting: Setting
    categories: Categories


@dataclass
class _Heard:
    """What a run said while it was trained: (step, seconds of training until then), not of every step."""

    steps: list[tuple[int, float]] = field(default_factory=list)

    def hear(self, message: Mapping[str, Any], batch: int) -> None:
        if message["kind"] == "step" and message["images_per_s"] > 0:
            self.steps.append((message["step"], message["step"] * batch / message["images_per_s"]))


def this_hardware(machine: Machine) -> Hardware:
    """As an attempt of a run here would name it."""
    device = gpu_name(int(machine.device.partition(":")[2] or 0)) if machine.device.startswith("cuda") else "cpu"
    return Hardware(device=device, processor=processor(), threads=machine.threads)


def calibrate(wanted: Iterable[Wanted], machine: Machine, done: Done) -> Stop:
    """Calibrates each, one after the other; `done` is called after each. What is returned names a signal that ended it
    before.
    """
    with TemporaryDirectory(prefix="bench-calibration-") as folder:
        root, store, before = Path(folder), Store(Path(folder) / "results"), os.getloadavg()[0]
        cells = {cell.spec.run_id: (one, cell) for one in wanted for cell in [_short(one, root)]}
        heard: dict[str, _Heard] = {run_id: _Heard() for run_id in cells}
        loads: dict[str, float] = {}

        def event(cell: Cell, message: dict[str, Any]) -> None:
            run_id = cell.spec.run_id
            loads.setdefault(run_id, max(before, os.getloadavg()[0] - machine.threads))
            heard[run_id].hear(message, cell.spec.recipe.batch_size)
            if message["kind"] == "end" and message["status"] is not None:
                one = cells[run_id][0]
                done(one.cell, _result(one, cell, store, heard[run_id], loads[run_id]))
                shutil.rmtree(store.folder(run_id))  # its weights

        return execute_all([cell for _, cell in cells.values()], store, machine, event, fail_fast=False)


def _short(wanted: Wanted, root: Path) -> Cell:
    """The run of the setting that is measured: one epoch of a few steps, on pictures prepared below `root`."""
    spec, source = wanted.cell.spec, StandIn(wanted.categories)
    batches = WARM_UP + STEPS if trains_by_steps(spec) else FLOOR_BATCHES
    images = batches * spec.recipe.batch_size
    train = prepare(source, "train", spec.size, images, root, processes=1)
    val = prepare(source, "val", spec.size, IMAGES, root, processes=1)
    others = [prepare(source, "val", other.size, IMAGES, root, processes=1) for other in spec.also_at]
    short = spec.model_copy(
        update={
            "dataset": source.name,
            "profile": "calibration",
            "budget": Budget(train_images=images, val_images=IMAGES),
            "train_hash": train.split_hash,
            "val_hash": val.split_hash,
            "train_pixels": train.manifest["pixel_hash"],
            "val_pixels": val.manifest["pixel_hash"],
            "also_at": tuple(_other(prepared) for prepared in others),
            "recipe": spec.recipe.model_copy(update={"epochs": 1}),
        }
    )
    folders = tuple(prepared.folder for prepared in others)
    return Cell(short, None, train.folder, val.folder, folders, wanted.cell.weights)


def _other(prepared: Prepared) -> OtherSize:
    pixels = prepared.manifest["pixel_hash"]
    return OtherSize(size=prepared.size, val_hash=prepared.split_hash, val_pixels=pixels)


def _result(wanted: Wanted, cell: Cell, store: Store, heard: _Heard, load_average: float) -> Calibration | str:
    """Of a run that has ended."""
    found = store.look(cell.spec.run_id)
    if isinstance(found, Record) and found.status.state == "done":
        return _calibration(wanted, found, heard, cell, load_average)
    return found.status.reason or found.status.state if isinstance(found, Record) else "it left no record"


def _calibration(wanted: Wanted, record: Record, heard: _Heard, cell: Cell, load_average: float) -> Calibration | str:
    attempt = record.attempt
    hardware, steps = Hardware.of(attempt), _steps(heard)
    if steps is None and trains_by_steps(record.spec):
        return "its steps were too short to be told apart"
    assert hardware is not None
    assert record.network is not None
    assert cell.train is not None
    train = load(cell.train)
    return Calibration(
        setting=wanted.setting,
        hardware=hardware,
        steps=steps,
        seconds=_seconds(attempt, steps, cell, len(train)),
        images=Images(
            dataset=cell.spec.dataset,
            train=len(train),
            val=IMAGES,
            segments_per_image=round(len(train.segment_rows.numbers) / len(train), 2),
        ),
        flops=record.network.flops,
        load=load_average,
        cores=len(os.sched_getaffinity(0)),
        versions=attempt["versions"],
        git_commit=attempt["git_commit"],
        date=attempt["start"],
    )


def _steps(heard: _Heard) -> Steps | None:
    """Of the reports after the warm-up: the time between two, over the steps between them."""
    known = [one for one in heard.steps if one[0] >= WARM_UP]
    times = [(b - a) / (n - m) for (m, a), (n, b) in pairwise(known)]
    if not times:
        return None
    low, median, high = quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Steps(warm_up=known[0][0], measured=known[-1][0] - known[0][0], median_s=median, low_s=low, high_s=high)


def _seconds(attempt: Mapping[str, Any], steps: Steps | None, cell: Cell, images: int) -> Seconds:
    """What is left of the total when the images' times are taken out is what does not depend on them."""
    train_image = steps.median_s / cell.spec.recipe.batch_size if steps else attempt["seconds_train"] / images
    untrained, others = attempt.get("seconds_evaluate_untrained"), attempt.get("seconds_evaluate_other_sizes")
    known = (images * train_image, attempt["seconds_evaluate"], untrained or 0.0, others or 0.0)
    return Seconds(
        train_image=train_image,
        untrained_image=untrained and untrained / IMAGES,
        trained_image=attempt["seconds_evaluate"] / IMAGES,
        other_sizes_image=others and others / (IMAGES * len(cell.others)),
        fixed=max(0.0, attempt["seconds_total"] - sum(known)),
    )


def gpu_name(number: int) -> str:
    """Of a CUDA device, asked of the driver: as torch names it, without importing torch."""
    driver, name = ctypes.CDLL("libcuda.so.1"), ctypes.create_string_buffer(256)
    device = ctypes.c_int()
    found = driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(device), number) == 0
    if not found or driver.cuDeviceGetName(name, 256, device) != 0:
        raise OSError(f"the driver does not name CUDA device {number}")
    return name.value.decode()
