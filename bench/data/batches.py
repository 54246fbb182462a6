"""Batches for training and evaluation: the same for every network, on every machine.

Order and augmentation are functions of (seed, epoch, image) alone, never of a running generator: they are the same for
any number of workers, and a run resumed at (epoch, step) continues exactly.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from bench.data.augment import Uniforms, augment
from bench.data.epochs import share_of, steps_per_epoch
from bench.data.prepared import Prepared
from bench.data.scene import semantic_of
from bench.data.view import View
from bench.spec import Augmentation
from models.categories import Segment
from models.interface import Batch


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch; `plan` has the images of each."""

    def __init__(
        self,
        data: Prepared | View,
        plan: Sequence[Sequence[int]],
        seed: int,
        epoch: int,
        augmentation: Augmentation | None,
    ) -> None:
        self.data, self.plan, self.seed, self.epoch, self.augmentation = data, plan, seed, epoch, augmentation

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> Batch:
        chosen, size = self.plan[step], self.data.size
        images = np.empty((len(chosen), *size, 3), np.uint8)
        segments = np.empty((len(chosen), *size), np.uint16)
        semantic = np.empty((len(chosen), *size), np.int64)
        tables = []
        for place, image in enumerate(chosen):
            table = self._fill(image, images[place], segments[place])
            semantic[place] = semantic_of(segments[place], table)
            tables.append(table)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last, as the networks run
        numbers = torch.from_numpy(segments.astype(np.int64))
        return Batch(pixels.float().div_(255), torch.from_numpy(semantic), numbers, tables)

    def _fill(self, image: int, pixels: NDArray[np.uint8], segments: NDArray[np.uint16]) -> dict[int, Segment]:
        """Writes one image as it appears in this epoch; returns the table of the segments that are left."""
        data, table = self.data, self.data.table(image)
        if self.augmentation is None:
            pixels[:], segments[:] = data.images[image], data.segments[image]
            return table
        chance = _uniforms(self.seed, "augment", self.epoch, image)
        augment(
            np.asarray(data.images[image]),
            np.asarray(data.segments[image]),
            self.augmentation,
            chance,
            (pixels, segments),
        )
        left = np.bincount(segments.ravel(), minlength=1 + max(table, default=0))
        return {number: segment for number, segment in table.items() if left[number]}


def batches(
    data: Prepared | View,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    augmentation: Augmentation | None,
    shuffle: bool,
    drop_last: bool,
    workers: int = 0,
    first_step: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """The batches of one epoch from step `first_step` on, on the CPU.

    `drop_last` drops a last batch that is not full, unless it is the only one. `workers`: processes that make them
    ahead of time; 0 makes each when it is asked for. `share`: the rows of process r of N alone, as (r, N).
    """
    order = epoch_order(len(data), seed, epoch) if shuffle else list(range(len(data)))
    steps = steps_per_epoch(len(data), batch_size, drop_last)
    whole = (order[step * batch_size : (step + 1) * batch_size] for step in range(first_step, steps))
    plan = [rows[share_of(len(rows), *share)] for rows in whole]
    dataset = EpochBatches(data, plan, seed, epoch, augmentation)
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=None, num_workers=workers, worker_init_fn=_hear_nothing)
    return iter(loader)


def _hear_nothing(_worker: int) -> None:
    """A signal to all processes of a job is for the run, which leaves in order: a worker that died of it, as torch has
    it do, would make the run fail.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def epoch_order(images: int, seed: int, epoch: int) -> list[int]:
    """A random order of 0 .. images - 1."""
    words = _generator(seed, "order", epoch, 0).random_raw(images)
    return np.argsort(words, kind="stable").tolist()


def _uniforms(seed: int, axis: str, epoch: int, index: int) -> Uniforms:
    words = _generator(seed, axis, epoch, index).random_raw(4)
    a, b, c, d = ((words >> np.uint64(11)) * 2.0**-53).tolist()
    return a, b, c, d


def _generator(seed: int, axis: str, epoch: int, index: int) -> np.random.Philox:
    """Raw Philox words only: numpy promises that a bit generator's stream stays the same between versions."""
    digest = hashlib.sha256(f"{seed}/{axis}/{epoch}/{index}".encode()).digest()
    return np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64))
