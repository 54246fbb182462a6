"""Fills the draft of a preparation, one chunk of images after another, over several processes. Imports no torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import tables
from bench.data.chunks import CHUNK, Chunk, chunk_file, write_chunk
from bench.data.resize import resize_scenes, takes_halved
from bench.data.scene import Scene
from bench.data.source import Source
from bench.errors import UserError

Size = tuple[int, int]
Progress = Callable[[int, int], None]
SKIP_HINT = "; `bench data prepare --skip-bad` leaves such images out"


@dataclass(frozen=True)
class _Task:
    """Some images of a split, from a source that knows of these only, and the files to write, by size."""

    source: Source
    split: str
    ids: tuple[str, ...]
    files: Mapping[Size, Path]
    skip_bad: bool


def fill(
    source: Source,
    split: str,
    ids: Sequence[str],
    drafts: Mapping[Size, Path],
    processes: int,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes the chunks that the drafts, by size, do not have yet; each image is read once for all sizes.

    What is written does not depend on `processes`. An image that cannot be read is recorded where `skip_bad`; else its
    UserError is raised. Memory stays bounded: 2 `processes` tasks and one chunk a process.
    """
    left = [first for first in range(0, len(ids), CHUNK) if _lacking(drafts, first)]
    done = len(ids) - sum(min(CHUNK, len(ids) - first) for first in left)
    tasks = (_task(source, split, ids, first, drafts, skip_bad) for first in left)
    with ExitStack() as stack:
        if processes > 1 and len(left) > 1:
            context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context, initializer=_follow_parent))
            stack.callback(pool.shutdown, cancel_futures=True)  # when interrupted, do not work off the rest
            finished: Iterable[int] = _in_order(pool, tasks, 2 * processes)
        else:
            finished = map(_fill_chunk, tasks)
        for count in finished:
            done += count
            if progress is not None:
                progress(done, len(ids))


def _lacking(drafts: Mapping[Size, Path], first: int) -> dict[Size, Path]:
    files = {size: chunk_file(draft, first) for size, draft in drafts.items()}
    return {size: file for size, file in files.items() if not file.exists()}


def _task(
    source: Source, split: str, ids: Sequence[str], first: int, drafts: Mapping[Size, Path], skip_bad: bool
) -> _Task:
    some = tuple(ids[first : first + CHUNK])
    return _Task(source.part(split, some), split, some, _lacking(drafts, first), skip_bad)


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


def _follow_parent() -> None:
    """In a worker: leaves Ctrl-C to the parent, and ends when the parent does, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _fill_chunk(task: _Task) -> int:
    """Writes the task's files. Returns how many images it had."""
    parts: dict[Size, list[Scene]] = {size: [] for size in task.files}
    bad: dict[str, str] = {}
    segments, instances = Counter[int](), Counter[int]()  # by category, at native size
    for id in task.ids:
        try:
            native, resized = _read(task, id)
        except UserError as error:
            if not task.skip_bad:
                raise UserError(f"{error}{SKIP_HINT}") from None
            bad[id] = str(error)
            continue
        segments.update(segment.category for segment in native.table.values())
        instances.update(instance.category for instance in native.instances or ())
        for size, scene in resized.items():
            parts[size].append(scene)
    totals = [_row(counter, len(task.source.categories)) for counter in (segments, instances)]
    for size, file in task.files.items():
        write_chunk(file, _chunk(parts[size], size, bad, totals))
    return len(task.ids)


def _read(task: _Task, id: str) -> tuple[Scene, dict[Size, Scene]]:
    """One image at its native size and at every size of the task."""
    found: dict[Size, Scene] = {}
    for halved in (True, False):  # one reading for all sizes, unless some need the whole picture and some need not
        if sizes := [size for size in task.files if takes_halved(size) == halved]:
            native = task.source.scene(task.split, id, halved)
            found |= zip(sizes, resize_scenes(native, sizes), strict=True)
    return native, found


def _chunk(scenes: Sequence[Scene], size: Size, bad: dict[str, str], totals: Sequence[NDArray[np.int64]]) -> Chunk:
    """`totals`: how many segments and instances there were of each category."""
    shape = (len(scenes), *size)
    segments = tables.join(
        (tables.Rows(tables.segment_rows(image, scene)) for image, scene in enumerate(scenes)),
        len(tables.SEGMENT_COLUMNS),
    )
    instances = tables.join(
        (tables.instance_rows(image, scene) for image, scene in enumerate(scenes)), len(tables.INSTANCE_COLUMNS)
    )
    categories = segments.numbers[:, 2], instances.numbers[:, 1]
    left = [np.bincount(column, minlength=len(total)) for column, total in zip(categories, totals, strict=True)]
    return Chunk(
        [scene.id for scene in scenes],
        bad,
        np.array([scene.image for scene in scenes], dtype=np.uint8).reshape(*shape, 3),
        np.array([scene.segments for scene in scenes], dtype=np.uint16).reshape(shape),
        segments,
        instances,
        np.stack([totals[0], totals[0] - left[0], totals[1], totals[1] - left[1]]),
    )


def _row(counter: Counter[int], categories: int) -> NDArray[np.int64]:
    return np.array([counter[category] for category in range(categories)], dtype=np.int64)
