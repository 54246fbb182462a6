"""What a process is given to execute a run, and what it makes of it: the same in every process of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.cell import Cell
from bench.data.catalog import DataRoots
from bench.data.prepared import load
from bench.data.view import View
from bench.group import Group
from bench.initialisation import initialised
from bench.spec import RunSpec
from bench.train.checkpoints import CHECKPOINT_MINUTES
from bench.train.loop import Trainer
from models.interface import SegmentationModel

MOST_WORKERS = 8  # processes that make batches for a GPU


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
    threads: int  # of each process
    keep_weights: bool
    weights: Mapping[str, str] = field(default_factory=dict)
    roots: DataRoots | None = None
    others: tuple[Path, ...] = ()  # prepared validation splits of the spec's also_at
    checkpoint_minutes: float = CHECKPOINT_MINUTES


def job_of(cell: Cell, **settings: Any) -> Job:
    """Of a plan's run, whose data is prepared. settings: what is not the run's own."""
    assert cell.val is not None
    own: dict[str, Any] = {"spec": cell.spec, "train": cell.train, "val": cell.val, "others": cell.others}
    return Job(**own, weights=cell.weights, roots=cell.roots, **settings)


def set_torch_up(job: Job) -> None:
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.allow_tf32 = False  # matrix products have it off already


def training_view(job: Job) -> View:
    assert job.train is not None
    budget = job.spec.budget
    return View(load(job.train), job.spec.task, budget.train_percent, budget.held_out)


def evaluated_view(job: Job, train: View, number: int = 0) -> View:
    """What a network is evaluated on: 0 is the split of the run's scores, the validation split or what is held out of
    the training images; from 1 on the validation split at the sizes of the spec's also_at.
    """
    spec = job.spec
    percent, held_out = spec.budget.train_percent, spec.budget.held_out
    if number:
        return View(load(job.others[number - 1]), spec.task)
    return (
        View(train.prepared, spec.task, percent, held_out, "held out") if held_out else View(load(job.val), spec.task)
    )


def network_of(job: Job, train: View) -> SegmentationModel:
    return initialised(job.spec, train.categories, job.device, job.weights)


def trainer_of(job: Job, model: SegmentationModel, train: View, group: Group) -> Trainer:
    spec = job.spec
    workers = min(MOST_WORKERS, job.threads) if job.device.startswith("cuda") else 0  # a CPU has no core to spare
    mixed = spec.precision == "mixed"
    return Trainer(model, train, spec.recipe, spec.seed, mixed, workers, group, spec.norm_statistics)
