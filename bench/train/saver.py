"""When a training is saved: at the ends of epochs, every few minutes, and when it is asked to leave."""

from __future__ import annotations

import time
from collections.abc import Callable

from safetensors import SafetensorError

from bench.progress import Clock
from bench.stop import Stop
from bench.train.checkpoints import Checkpoint, Checkpoints, Facts, Position
from bench.train.loop import Trainer

WRITING_SHARE = 1 / 20  # most of the time that checkpoints at the ends of epochs may take


def resume(trainer: Trainer, checkpoints: Checkpoints) -> Checkpoint | None:
    """Restores the training from the newest checkpoint that is whole and fits; None: there is none, it starts anew."""
    for found in checkpoints.candidates():
        try:
            trainer.restore(found.facts.position, found.tensors())
        except (ValueError, SafetensorError) as error:
            checkpoints.set_aside(found.path, str(error))
        else:
            return found
    return None


class Saver:
    """Saves a training while it runs. `facts`: what a checkpoint says at a position."""

    def __init__(
        self,
        trainer: Trainer,
        checkpoints: Checkpoints,
        minutes: float,
        stop: Stop,
        facts: Callable[[Position], Facts],
        clock: Clock,
    ) -> None:
        self.trainer, self.checkpoints, self.minutes, self.stop = trainer, checkpoints, minutes, stop
        self.facts, self.clock = facts, clock
        self.ended = time.monotonic()  # when the last checkpoint was written
        self.took = 0.0  # seconds that it took

    def after_step(self, epoch_end: bool) -> None:
        """Saves where it is time to, and at the very end. Raises StoppedError where the run was asked to leave."""
        since = time.monotonic() - self.ended
        due = since >= 60 * self.minutes or (epoch_end and self.took <= WRITING_SHARE * since)
        if due or self.stop.by is not None or self.trainer.step == self.trainer.steps:
            self.save()
        self.stop.check()

    def save(self) -> None:
        started = time.monotonic()
        with self.clock.time("checkpoints"):
            facts = self.facts(self.trainer.position())
            self.checkpoints.write(facts, self.trainer.tensors())
        self.stop.place = facts.place
        self.ended = time.monotonic()
        self.took = self.ended - started
