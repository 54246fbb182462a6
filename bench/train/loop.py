"""The training loop: AdamW, one recipe, one line of history an epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.data.batches import batches
from bench.data.epochs import steps_per_epoch
from bench.data.view import View
from bench.files import write_bytes
from bench.group import ALONE, Group
from bench.spec import NormStatistics, Recipe
from bench.stop import StoppedError
from bench.train.checkpoints import Position
from bench.train.determinism import watched
from bench.train.seeds import axis_seed
from bench.train.state import restore, set_chance, state_of
from models.interface import Batch, Outputs, SegmentationModel
from models.norm_statistics import freeze, synchronise

POLY_POWER = 0.9  # facebookresearch/Mask2Former, ADE20K configuration
STEP_AT = 2 / 3  # facebookresearch/detr: lr_drop 200 of 300 epochs
STEP_FACTOR = 0.1
TRAIN = "train"  # the task of a group of processes

Report = Callable[[dict[str, Any]], None]
AfterStep = Callable[[bool], None]  # whether it was the last of its epoch


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


def fit_floor(
    model: SegmentationModel, data: View, recipe: Recipe, after_batch: Callable[[], None] = lambda: None
) -> None:
    """One pass over the training truth."""
    for batch in batches(data, recipe.batch_size, seed=0, epoch=0, augmentation=None, shuffle=False, drop_last=False):
        model.fit(batch)  # type: ignore[operator]
        after_batch()


class Trainer:
    """Trains a model on a prepared split. State: the network, the optimiser, the generator of chance, the position.

    The processes of a `group` train it together, each on its rows of every batch. What they have to agree on they have
    from the first: where to begin, and whether there is a next step. The generators of the others are a function of
    the step, so the state of the first is all.
    """

    def __init__(
        self,
        model: SegmentationModel,
        data: View,
        recipe: Recipe,
        seed: int,
        mixed: bool,
        workers: int = 0,
        group: Group = ALONE,
        norm_statistics: NormStatistics = "synchronised",
    ) -> None:
        self.workers = workers  # processes that make batches; they change none
        self.group, self.norm_statistics = group, norm_statistics
        self.model, self.data, self.recipe, self.seed = model, data, recipe, seed
        self.device = next(model.parameters()).device
        self.autocast = mixed and self.device.type == "cuda"
        groups = model.parameter_groups(recipe.lr, recipe.backbone_lr_factor)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.epoch_steps = steps_per_epoch(len(data), recipe.batch_size, drop_last=True)
        self.steps = self.epoch_steps * recipe.epochs
        self.step = 0
        self.sums: dict[str, float] = {}  # of the epoch in hand
        self.lines: list[str] = []  # of history, an epoch each
        self.seconds = 0.0  # of training, without what is done after a step
        self.waited = 0.0  # of these, until a step had its batch
        self._restored = 0, 0.0  # the step and the seconds of training from which this process went on
        self.nondeterministic: list[str] | None = None  # on a GPU, by the first step
        self._chance: Mapping[str, Tensor] | None = None  # the generators' states that a restored epoch goes on from
        self._network: Callable[[Tensor], Outputs] = model  # as it is called: with the other processes, where there are
        self._loader: Iterator[Batch] | None = None  # of the epoch in hand

    @property
    def images_per_s(self) -> float:
        """Of the whole training, whichever processes it had."""
        return self._images(self.step) / self.seconds if self.seconds else 0.0

    def position(self) -> Position:
        return Position(
            step=self.step, sums=self.sums, history=tuple(self.lines), seconds=self.seconds, waited=self.waited
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of its state that is tensors, by name; views, which the next step changes."""
        return state_of(self.model, self.optimizer, self.device)

    def restore(self, position: Position, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from there. Raises ValueError, and has changed nothing, where it does not fit this training."""
        epochs, rest = divmod(position.step, self.epoch_steps)
        if position.step > self.steps or len(position.history) != epochs or bool(position.sums) != bool(rest):
            raise ValueError(f"its step {position.step} and its {len(position.history)} epochs do not fit the training")
        self._chance = restore(self.model, self.optimizer, self.device, tensors)
        self.step, self.sums, self.lines = position.step, dict(position.sums), list(position.history)
        self.seconds, self.waited = position.seconds, position.waited
        self._restored = position.step, position.seconds

    def train(self, history: Path, report: Report, after_step: AfterStep = lambda epoch_end: None) -> None:
        """All epochs that are left. Raises DivergedError, and what `after_step` raises.

        `report` is called after each step, with this process's speed and the time left at that speed; then, the step's
        line of history written where it ends an epoch, `after_step`: the place to save the training or to leave it.
        """
        write_bytes(history, "".join(line + "\n" for line in self.lines).encode())
        with history.open("a") as lines, self.group.leads(TRAIN, StoppedError, DivergedError):
            self._begin()
            while self.step < self.steps:
                self.group.tell(True)
                row = self._advance()
                if row["epoch_end"]:
                    row["line"] = self._end_epoch()
                    lines.write(row["line"] + "\n")
                    lines.flush()
                report(row)
                after_step(row["epoch_end"])

    def follow(self) -> None:
        """What a process that follows does while the first is in `train`."""
        self._begin()
        while self.group.tell():
            with suppress(DivergedError):  # the first process raises it as well, and says that this is the end
                if self._advance()["epoch_end"]:
                    self._end_epoch()

    def _begin(self) -> None:
        """Every process of the group goes on from where the first is."""
        if self.group.size > 1:
            position, tensors = self.group.tell(self.position()), self.group.share(self.tensors())
            if self.group.rank:
                self.restore(position, tensors)
            if self.norm_statistics == "synchronised":
                synchronise(self.model)
        self._network = self.group.averaging(self.model)

    def _advance(self) -> dict[str, Any]:
        """Takes the next step and returns the progress after it."""
        counted = time.monotonic()
        epoch = self.step // self.epoch_steps
        loader = self._loader = self._loader or self._begin_epoch(epoch)
        terms = self._watched_step(self._next(loader).to(self.device))
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.step % self.epoch_steps == 0:
            self._loader = None
        self.seconds += time.monotonic() - counted
        return self._progress(epoch, terms)

    def _begin_epoch(self, epoch: int) -> Iterator[Batch]:
        """Sets network and generators up; what is left of the epoch's batches."""
        self.model.train()
        if self.norm_statistics == "frozen":
            freeze(self.model)
        torch.manual_seed(axis_seed(self.seed, "loss sampling", epoch))
        loader = self._batches(epoch, first_step=self.step % self.epoch_steps)
        if self._chance is not None and self.step % self.epoch_steps:
            set_chance(self._chance, self.device)  # after the loader, which draws a number of its own
        self._chance = None
        return loader

    def _next(self, loader: Iterator[Batch]) -> Batch:
        started = time.monotonic()
        batch = next(loader)
        self.waited += time.monotonic() - started
        return batch

    def _watched_step(self, batch: Batch) -> dict[str, float]:
        """A step; the first on a GPU tells which operators are not deterministic there."""
        if self.nondeterministic is not None or self.device.type != "cuda":
            return self._step(batch)
        terms, self.nondeterministic = watched(lambda: self._step(batch))
        return terms

    def _end_epoch(self) -> str:
        means = {name: value / self.epoch_steps for name, value in self.sums.items()}
        row = {"epoch": len(self.lines) + 1, "step": self.step, "loss": sum(means.values()), "terms": means}
        self.lines.append(json.dumps(row, allow_nan=False))
        self.sums = {}
        return self.lines[-1]

    def _images(self, steps: int) -> int:
        return steps * min(self.recipe.batch_size, len(self.data))

    def _progress(self, epoch: int, terms: Mapping[str, float]) -> dict[str, Any]:
        steps, seconds = self.step - self._restored[0], self.seconds - self._restored[1]
        return {
            "epoch": epoch + 1,
            "epochs": self.recipe.epochs,
            "epoch_end": self.step % self.epoch_steps == 0,
            "step": self.step,
            "steps": self.steps,
            "loss": sum(terms.values()),
            "terms": terms,
            "rate": self.recipe.lr * rate_factor(self.recipe, self.step - 1, self.steps),
            "images_per_s": self._images(steps) / seconds,
            "left_s": seconds / steps * (self.steps - self.step),
        }

    def _batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
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
            first_step=first_step,
            share=(self.group.rank, self.group.size),
        )

    def _step(self, batch: Batch) -> dict[str, float]:
        factor = rate_factor(self.recipe, self.step, self.steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        if self.group.rank:  # dropout and points that have nothing in common with the other processes'
            torch.manual_seed(axis_seed(self.seed, "loss sampling", self.step, self.group.rank))
        images = batch.images.to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            outputs = self._network(images)
        terms = self.model.loss({name: value.float() for name, value in outputs.items()}, batch)
        means = self.group.mean(torch.stack([t.detach() for t in terms.values()]))
        values = dict(zip(terms, means.tolist(), strict=True))
        if not all(math.isfinite(value) for value in values.values()):
            raise DivergedError(f"the loss is not finite at step {self.step + 1} of {self.steps}: {values}")
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.step += 1
        return values
