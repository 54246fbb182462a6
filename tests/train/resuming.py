"""Trainings that are stopped after any step and go on in a network of other random weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.data.view import View
from bench.progress import Clock
from bench.record import Network, Scores
from bench.spec import Recipe
from bench.stop import Stop, StoppedError
from bench.train.checkpoints import Checkpoint, Checkpoints, Facts, Maker, Position
from bench.train.loop import Trainer
from bench.train.saver import Saver, resume
from bench.train.seeds import axis_seed
from models.registry import build

RUN = "some-run-0123456789"
SCORES = Scores.model_validate(
    dict.fromkeys(Scores.model_fields) | {"ap_classes": 0, "instance_truth": "", "images": 1, "miou": 0.1 + 0.2}
)
NETWORK = Network.no_network("unet-small", (32, 32), 3)
MAKER = Maker(attempt=1, torch="2.0", device="cpu", threads=1)


def recipe(**values: Any) -> Recipe:
    """Eight scenes in batches of two: four steps an epoch, eight in all. The rate falls with the step."""
    given = {"lr": 1e-3, "weight_decay": 1e-3, "batch_size": 2, "epochs": 2, "schedule": "poly", **values}
    return Recipe(**{"name": "r", "source": "", **given})


def facts_at(trainer: Trainer) -> Callable[[Position], Facts]:
    def facts(position: Position) -> Facts:
        return Facts(
            run_id=RUN,
            made_by=MAKER,
            steps=trainer.steps,
            epochs=trainer.recipe.epochs,
            position=position,
            network=NETWORK,
            untrained=SCORES,
            seconds={"seconds_total": 1.0},
            peak_memory_mb=1.0,
        )

    return facts


@dataclass
class Training:
    """A training in a folder, that goes on from what is there."""

    trainer: Trainer
    folder: Path
    found: Checkpoint | None
    checkpoints: Checkpoints
    saver: Saver
    stop: Stop

    def train(self, stop_after: Collection[int] = (), save_after: Collection[int] = ()) -> bool:
        """Whether it came to its end; it is asked to stop while a step of `stop_after` is in hand."""

        def report(row: Mapping[str, Any]) -> None:
            if row["step"] in save_after:
                self.saver.save()
            if row["step"] in stop_after:
                self.stop.ask("a test")

        try:
            self.trainer.train(self.folder / "history.jsonl", report, self.saver.after_step)
        except StoppedError:
            return False
        return True

    @property
    def history(self) -> str:
        return (self.folder / "history.jsonl").read_text()

    def state(self) -> dict[str, Tensor]:
        """Network and optimiser, copied; the chance left over is no result."""
        return {name: t.clone() for name, t in self.trainer.tensors().items() if not name.startswith("chance")}


def begin(
    data: View, folder: Path, name: str = "unet-small", options: Mapping[str, Any] | None = None, **values: Any
) -> Training:
    """`workers` of loading and values of the recipe may be given; a checkpoint every `minutes`, else at ends alone."""
    folder.mkdir(exist_ok=True)
    workers, minutes = values.pop("workers", 0), values.pop("minutes", 1e9)
    checkpoints = Checkpoints(folder / "checkpoint", RUN)
    going_on = (folder / "checkpoint").exists()
    torch.manual_seed(1 if going_on else axis_seed(0, "initialisation"))  # what is restored depends on no seed
    model = build(name, data.categories, data.size, **(options or {})).to(memory_format=torch.channels_last)
    trainer = Trainer(model, data, recipe(**values), 0, mixed=True, workers=workers)
    found, stop = resume(trainer, checkpoints), Stop()
    saver = Saver(trainer, checkpoints, minutes, stop, facts_at(trainer), Clock())
    return Training(trainer, folder, found, checkpoints, saver, stop)


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """To the bit, and with the same layout in memory."""
    if one.keys() != other.keys():
        return False
    return all(
        torch.equal(tensor, other[name]) and tensor.stride() == other[name].stride() for name, tensor in one.items()
    )
