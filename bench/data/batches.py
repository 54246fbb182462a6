"""Prepared arrays -> batches. The only file of this folder that imports torch.

Order and augmentation are functions of (seed, epoch, image) alone, never of a running generator: they are the same for
any number of workers, and a run resumed at (epoch, step) continues exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from bench.data.prepared import Prepared
from bench.data.resize import resize_image, resize_labels
from bench.data.scene import semantic_of
from bench.data.view import View
from bench.spec import Augmentation
from models.categories import Segment
from models.interface import Batch

PAD = 128  # grey around a shrunk image; its labels are void


class Sample(NamedTuple):
    """image (H, W, 3) uint8, segments (H, W) with 0 = void, and its table."""

    image: NDArray[np.uint8]
    segments: NDArray[np.uint16]
    table: dict[int, Segment]


class SceneDataset(Dataset[Sample]):
    """The images of a prepared split as they appear in one epoch."""

    def __init__(
        self, prepared: Prepared | View, *, seed: int = 0, epoch: int = 0, augmentation: Augmentation | None = None
    ) -> None:
        self.prepared, self.seed, self.epoch, self.augmentation = prepared, seed, epoch, augmentation

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, index: int) -> Sample:
        prepared = self.prepared
        sample = Sample(np.array(prepared.images[index]), np.array(prepared.segments[index]), prepared.table(index))
        if self.augmentation is None:
            return sample
        return augmented(sample, self.augmentation, _uniforms(self.seed, "augment", self.epoch, index))


def augmented(sample: Sample, by: Augmentation, uniforms: tuple[float, float, float, float]) -> Sample:
    """Scale, crop or pad back to the size at a random place, flip; from four numbers in [0, 1).

    The table is kept whole: it may name segments that were cropped away.
    """
    image, segments, table = sample
    size = height, width = image.shape[0], image.shape[1]
    scale = by.scale[0] + (by.scale[1] - by.scale[0]) * uniforms[0]
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    rows = _overlap(scaled[0], height, uniforms[1])
    columns = _overlap(scaled[1], width, uniforms[2])
    new_image, new_segments = np.full_like(image, PAD), np.zeros(size, dtype=segments.dtype)
    new_image[rows[1], columns[1]] = resize_image(image, scaled)[rows[0], columns[0]]
    new_segments[rows[1], columns[1]] = resize_labels(segments, scaled)[rows[0], columns[0]]
    if uniforms[3] < by.flip:
        new_image, new_segments = new_image[:, ::-1], new_segments[:, ::-1]
    return Sample(np.ascontiguousarray(new_image), np.ascontiguousarray(new_segments), table)


def collate(samples: list[Sample]) -> Batch:
    """B samples -> one Batch; images become float32 in [0, 1]."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    semantic = np.stack([semantic_of(sample.segments, sample.table) for sample in samples])
    segments = np.stack([sample.segments for sample in samples]).astype(np.int64)
    return Batch(
        images.permute(0, 3, 1, 2).contiguous().float() / 255,
        torch.from_numpy(semantic.astype(np.int64)),
        torch.from_numpy(segments),
        [sample.table for sample in samples],
    )


def batches(
    prepared: Prepared | View,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    augmentation: Augmentation | None,
    shuffle: bool,
    drop_last: bool,
    workers: int = 0,
    first_step: int = 0,
) -> Iterator[Batch]:
    """The batches of one epoch from step `first_step` on, on the CPU.

    `drop_last` drops a last batch that is not full, unless it is the only one.
    """
    order = epoch_order(len(prepared), seed, epoch) if shuffle else list(range(len(prepared)))
    steps = steps_per_epoch(len(prepared), batch_size, drop_last)
    plan = [order[step * batch_size : (step + 1) * batch_size] for step in range(first_step, steps)]
    dataset = SceneDataset(prepared, seed=seed, epoch=epoch, augmentation=augmentation)
    loader: DataLoader[Any] = DataLoader(dataset, batch_sampler=plan, collate_fn=collate, num_workers=workers)
    return iter(loader)


def steps_per_epoch(images: int, batch_size: int, drop_last: bool) -> int:
    """How many batches an epoch has; at least one where there is an image."""
    full, rest = divmod(images, batch_size)
    return full + (1 if rest and not (drop_last and full) else 0)


def epoch_order(images: int, seed: int, epoch: int) -> list[int]:
    """A random order of 0 .. images - 1."""
    words = _generator(seed, "order", epoch, 0).random_raw(images)
    return np.argsort(words, kind="stable").tolist()


def _uniforms(seed: int, axis: str, epoch: int, index: int) -> tuple[float, float, float, float]:
    words = _generator(seed, axis, epoch, index).random_raw(4)
    a, b, c, d = ((words >> np.uint64(11)) * 2.0**-53).tolist()
    return a, b, c, d


def _generator(seed: int, axis: str, epoch: int, index: int) -> np.random.Philox:
    """Raw Philox words only: numpy promises that a bit generator's stream stays the same between versions."""
    digest = hashlib.sha256(f"{seed}/{axis}/{epoch}/{index}".encode()).digest()
    return np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64))


def _overlap(scaled: int, length: int, place: float) -> tuple[slice, slice]:
    """Which part of the scaled axis goes where on the target's: cropped where longer, padded where shorter."""
    slack = abs(scaled - length)
    start = min(slack, int(place * (slack + 1)))
    inner, whole = slice(start, start + min(scaled, length)), slice(0, min(scaled, length))
    return (inner, whole) if scaled >= length else (whole, inner)
