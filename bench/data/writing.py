"""Fills the prepared arrays, one chunk of images after another, over several processes. Imports no torch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import tables
from bench.data.resize import resize_scene
from bench.data.source import Source

CHUNK = 32  # images a task: large enough to hide its cost, small enough to show progress
IMAGES, SEGMENTS = "images.npy", "segments.npy"


@dataclass(frozen=True)
class Filled:
    """What filling found: the rows of both tables, and how many segments and instances have no pixel at this size."""

    segments: tables.Rows
    instances: tables.Rows
    segments_total: int
    segments_vanished: int
    instances_vanished: int


@dataclass(frozen=True)
class _Task:
    source: Source
    split: str
    ids: tuple[str, ...]
    first: int
    size: tuple[int, int]
    folder: Path


def fill(
    source: Source,
    split: str,
    ids: list[str],
    size: tuple[int, int],
    folder: Path,
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> Filled:
    """Writes images.npy and segments.npy into `folder`; memory stays bounded, the arrays are memory maps.

    The result does not depend on `processes`. Raises UserError from the first image that cannot be read.
    """
    shape = (len(ids), *size)
    np.lib.format.open_memmap(folder / IMAGES, "w+", np.uint8, (*shape, 3)).flush()
    np.lib.format.open_memmap(folder / SEGMENTS, "w+", np.uint16, shape).flush()
    tasks = _tasks(source, split, ids, size, folder)
    parts = []
    with ExitStack() as stack:
        if processes > 1:
            context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context))
            stack.callback(pool.shutdown, cancel_futures=True)  # when interrupted, do not work off the rest
            done = pool.map(_fill_chunk, tasks)
        else:
            done = map(_fill_chunk, tasks)
        for part in done:
            parts.append(part)
            if progress is not None:
                progress(min(len(parts) * CHUNK, len(ids)), len(ids))
    return Filled(
        tables.join((part.segments for part in parts), len(tables.SEGMENT_COLUMNS)),
        tables.join((part.instances for part in parts), len(tables.INSTANCE_COLUMNS)),
        sum(part.segments_total for part in parts),
        sum(part.segments_vanished for part in parts),
        sum(part.instances_vanished for part in parts),
    )


def _tasks(source: Source, split: str, ids: list[str], size: tuple[int, int], folder: Path) -> Iterator[_Task]:
    for first in range(0, len(ids), CHUNK):
        some = tuple(ids[first : first + CHUNK])
        yield _Task(source.part(split, some), split, some, first, size, folder)


def _fill_chunk(task: _Task) -> Filled:
    images = np.load(task.folder / IMAGES, mmap_mode="r+")
    segments = np.load(task.folder / SEGMENTS, mmap_mode="r+")
    segment_parts, instance_parts = [], []
    total = vanished = instances_vanished = 0
    for image, id in enumerate(task.ids, start=task.first):
        native = task.source.scene(task.split, id)
        scene = resize_scene(native, task.size)
        images[image], segments[image] = scene.image, scene.segments
        segment_parts.append(tables.Rows(tables.segment_rows(image, scene)))
        instance_parts.append(tables.instance_rows(image, scene))
        total += len(native.table)
        vanished += len(native.table) - len(scene.table)
        instances_vanished += len(native.instances or ()) - len(scene.instances or ())
    images.flush()
    segments.flush()
    return Filled(
        tables.join(segment_parts, len(tables.SEGMENT_COLUMNS)),
        tables.join(instance_parts, len(tables.INSTANCE_COLUMNS)),
        total,
        vanished,
        instances_vanished,
    )
