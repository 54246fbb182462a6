"""The training loop: AdamW, one recipe, one line of history an epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from bench.data.batches import batches, steps_per_epoch
from bench.data.view import View
from bench.spec import Recipe
from bench.train.seeds import axis_seed
from models.interface import Batch, SegmentationModel

POLY_POWER = 0.9  # facebookresearch/Mask2Former, ADE20K configuration
STEP_AT = 2 / 3  # facebookresearch/detr: lr_drop 200 of 300 epochs
STEP_FACTOR = 0.1

Report = Callable[[dict[str, Any]], None]


class DivergedError(Exception):
    """The loss is not finite any more. The message has the step and the loss parts."""


def rate_factor(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step, as a factor of the recipe's."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    if recipe.schedule == "poly":
        return float((1 - step / steps) ** POLY_POWER)
    if recipe.schedule == "step" and step >= STEP_AT * steps:
        return STEP_FACTOR
    return 1.0


def fit_floor(model: SegmentationModel, data: View, recipe: Recipe) -> None:
    """One pass over the training truth."""
    for batch in batches(data, recipe.batch_size, seed=0, epoch=0, augmentation=None, shuffle=False, drop_last=False):
        model.fit(batch)  # type: ignore[operator]


class Trainer:
    """Trains a model on a prepared split. State: the optimiser and the step reached."""

    def __init__(
        self, model: SegmentationModel, data: View, recipe: Recipe, seed: int, mixed: bool, workers: int = 0
    ) -> None:
        self.workers = workers  # processes that make batches; they change none
        self.model, self.data, self.recipe, self.seed = model, data, recipe, seed
        self.device = next(model.parameters()).device
        self.autocast = mixed and self.device.type == "cuda"
        groups = model.parameter_groups(recipe.lr, recipe.backbone_lr_factor)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.epoch_steps = steps_per_epoch(len(data), recipe.batch_size, drop_last=True)
        self.steps = self.epoch_steps * recipe.epochs
        self.step = 0
        self.images_per_s = 0.0
        self.waited = 0.0  # seconds that steps waited for their batch

    def train(self, history: Path, report: Report) -> None:
        """All epochs. Raises DivergedError. `report` is called after each step, with the time left estimated."""
        started = time.monotonic()
        with history.open("a") as lines:
            for epoch in range(self.recipe.epochs):
                row = self._epoch(epoch, started, report)
                lines.write(json.dumps(row, allow_nan=False) + "\n")
                lines.flush()

    def _epoch(self, epoch: int, started: float, report: Report) -> dict[str, Any]:
        self.model.train()
        torch.manual_seed(axis_seed(self.seed, "loss sampling", epoch))
        sums: dict[str, float] = {}
        first = self.step
        for batch in self._waiting_for(self._batches(epoch)):
            terms = self._step(batch.to(self.device))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            report(self._progress(epoch, sum(terms.values()), time.monotonic() - started))
        count = self.step - first
        means = {name: value / count for name, value in sums.items()}
        return {"epoch": epoch + 1, "step": self.step, "loss": sum(means.values()), "terms": means}

    def _waiting_for(self, loader: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, with the time it took to get them added up."""
        while True:
            start = time.monotonic()
            batch = next(loader, None)
            self.waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def _progress(self, epoch: int, loss: float, elapsed: float) -> dict[str, Any]:
        images = self.step * min(self.recipe.batch_size, len(self.data))
        self.images_per_s = images / elapsed
        return {
            "epoch": epoch + 1,
            "epochs": self.recipe.epochs,
            "epoch_end": self.step % self.epoch_steps == 0,
            "step": self.step,
            "steps": self.steps,
            "loss": loss,
            "images_per_s": self.images_per_s,
            "left_s": elapsed / self.step * (self.steps - self.step),
        }

    def _batches(self, epoch: int) -> Iterator[Batch]:
        recipe = self.recipe
        return batches(
            self.data,
            recipe.batch_size,
            seed=self.seed,
            epoch=epoch,
            augmentation=recipe.augmentation,
            shuffle=True,
            drop_last=True,
            workers=self.workers,
        )

    def _step(self, batch: Batch) -> dict[str, float]:
        factor = rate_factor(self.recipe, self.step, self.steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        images = batch.images.to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            outputs = self.model(images)
        terms = self.model.loss({name: value.float() for name, value in outputs.items()}, batch)
        values = dict(zip(terms, torch.stack([t.detach() for t in terms.values()]).tolist(), strict=True))
        if not all(math.isfinite(value) for value in values.values()):
            raise DivergedError(f"the loss is not finite at step {self.step + 1} of {self.steps}: {values}")
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.step += 1
        return values
