"""Fills the drafts of a preparation, one chunk of images after another, over several processes. Imports no torch."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.preparing import tables
from bench.data.preparing.draft import CHUNK, Chunk, Draft
from bench.data.resize import Resized, resize_scenes, resized_instances, takes_halved
from bench.data.scene import Instance, Scene
from bench.data.source import Source
from bench.errors import UserError
from models.categories import Segment

Size = tuple[int, int]
SKIP_HINT = "; `bench data prepare --skip-bad` leaves such images out"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _KEPT_BYTES = -1, -3, 32 << 20  # malloc.h; the largest that glibc takes


@dataclass(frozen=True)
class _Task:
    """Some images of a split, from a source that knows of these only, and the drafts that lack them, by size."""

    source: Source
    split: str
    first: int
    ids: tuple[str, ...]
    drafts: Mapping[Size, Path]
    skip_bad: bool


def fill(
    source: Source, split: str, ids: Sequence[str], drafts: Mapping[Size, Draft], processes: int, skip_bad: bool = False
) -> Generator[int]:
    """Writes the chunks that the drafts, by size, lack; each image is read once for all sizes.

    Yields the first image of every chunk, in order, as soon as all drafts have it. What is written does not depend on
    `processes`. An image that cannot be read is recorded where `skip_bad`; else its UserError is raised. Memory stays
    bounded: 2 `processes` tasks, one chunk a process.
    """
    lacking = {first: _lacking(drafts, first) for first in range(0, len(ids), CHUNK)}
    tasks = (
        _Task(source.part(split, some), split, first, some, paths, skip_bad)
        for first, paths in lacking.items()
        if paths and (some := tuple(ids[first : first + CHUNK]))
    )
    with ExitStack() as stack:
        if processes > 1 and sum(map(bool, lacking.values())) > 1:
            context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_worker))
            stack.callback(pool.shutdown, cancel_futures=True)  # when interrupted, do not work off the rest
            finished: Iterator[int] = _in_order(pool, tasks, 2 * processes)
        else:
            finished = map(_fill_chunk, tasks)
        for first, paths in lacking.items():
            if paths:
                next(finished)
            yield first


def _lacking(drafts: Mapping[Size, Draft], first: int) -> dict[Size, Path]:
    return {size: draft.path for size, draft in drafts.items() if not draft.has(first)}


def _in_order(pool: ProcessPoolExecutor, tasks: Iterable[_Task], ahead: int) -> Iterator[int]:
    """Results in the tasks' order, with few tasks on their way, for each holds a part of the annotations."""
    waiting: deque[Future[int]] = deque()
    try:
        for task in tasks:
            if len(waiting) == ahead:
                yield waiting.popleft().result()
            waiting.append(pool.submit(_fill_chunk, task))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            "a process that prepares data was killed (too little memory?); the same command goes on from there"
        ) from None


def _begin_worker() -> None:
    """Leaves Ctrl-C to the parent, ends when the parent does, even by SIGKILL, and keeps the memory it has freed.

    glibc would give every picture's megabyte back and take it again page by page: a sixth of all the time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _fill_chunk(task: _Task) -> int:
    """Writes the task's chunk into every draft. Returns its first image."""
    parts = {size: _Part(size, len(task.ids)) for size in task.drafts}
    bad: dict[str, str] = {}
    segments, instances = Counter[int](), Counter[int]()  # by category, at native size
    for place, id in enumerate(task.ids):
        try:
            native, resized = _read(task, id)
        except UserError as error:
            if not task.skip_bad:
                raise UserError(f"{error}{SKIP_HINT}") from None
            bad[id] = str(error)
            continue
        segments.update(segment.category for segment in native.table.values())
        instances.update(instance.category for instance in native.instances or ())
        for size, one in resized.items():
            parts[size].add(place, native, one)
    totals = [_row(counter, len(task.source.categories)) for counter in (segments, instances)]
    for size, path in task.drafts.items():
        Draft(path).write(task.first, parts[size].chunk(totals, bad))
    return task.first


def _read(task: _Task, id: str) -> tuple[Scene, dict[Size, Resized]]:
    """One image at its native size and at every size of the task."""
    found: dict[Size, Resized] = {}
    for halved in (True, False):  # one reading for all sizes, unless some need the whole picture and some need not
        if sizes := [size for size in task.drafts if takes_halved(size) == halved]:
            native = task.source.scene(task.split, id, halved)
            found |= zip(sizes, resize_scenes(native, sizes), strict=True)
    return native, found


class _Part:
    """A chunk at one size on its way. It keeps of the native scenes what is small."""

    def __init__(self, size: Size, length: int) -> None:
        self.images = np.zeros((length, *size, 3), dtype=np.uint8)
        self.segments = np.zeros((length, *size), dtype=np.uint16)
        self.tables: list[Mapping[int, Segment]] = [{}] * length
        self.instances: list[tuple[int, Instance]] = []

    def add(self, place: int, native: Scene, resized: Resized) -> None:
        self.images[place], self.segments[place], self.tables[place] = resized.image, resized.segments, native.table
        self.instances += [(place, one) for one in resized_instances(native.instances or (), resized.rles)]

    def chunk(self, totals: Sequence[NDArray[np.int64]], bad: dict[str, str]) -> Chunk:
        """`totals`: how many segments and instances there were natively of each category."""
        rows = tables.segment_rows(self.segments, self.tables), tables.instance_rows(self.instances)
        columns = rows[0].numbers[:, 2], rows[1].numbers[:, 1]
        left = [np.bincount(column, minlength=len(total)) for column, total in zip(columns, totals, strict=True)]
        counts = np.stack([totals[0], totals[0] - left[0], totals[1], totals[1] - left[1]])
        return Chunk(self.images, self.segments, *rows, counts, bad)


def _row(counter: Counter[int], categories: int) -> NDArray[np.int64]:
    return np.array([counter[category] for category in range(categories)], dtype=np.int64)
