"""Reads every file of a dataset and tells every problem, image by image over the cores. Imports no torch."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.data.problem import FaultError, Problem
from bench.data.source import Checked, Source, Survey
from bench.errors import UserError

CHUNK = 32  # images a task


@dataclass(frozen=True)
class _Task:
    source: Source
    split: str
    ids: tuple[str, ...]


def verify_source(
    source: Source, processes: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Iterator[Problem]:
    """Every problem, as soon as it is found: of the listings, of images in two splits, of each image's files.

    The order does not depend on `processes` (None: one a core, fewer for few images; they are spawned). `progress(done,
    total)` counts images. Memory holds the listings and a few images a process.
    """
    surveys = {split: _survey(source, split) for split in source.splits}
    yield from dict.fromkeys(problem for survey in surveys.values() for problem in survey.problems)
    yield from _overlaps(surveys)
    total = sum(len(survey.pictures) for survey in surveys.values())
    done = 0
    for count, problems in _checked(_tasks(source, surveys), processes or _processes(total)):
        yield from problems
        done += count
        if progress is not None:
            progress(done, total)


def _survey(source: Source, split: str) -> Survey:
    if isinstance(source, Checked):
        return source.survey(split)
    try:
        return Survey({id: id for id in source.ids(split)}, [])
    except UserError as error:
        return Survey({}, [_problem(error, f"{source.name} {split}", None)])


def _overlaps(surveys: Mapping[str, Survey]) -> Iterator[Problem]:
    """Images that two splits hold, by id or by file name."""
    splits = list(surveys)
    for place, one in enumerate(splits):
        for other in splits[place + 1 :]:
            here, there = surveys[one].pictures, surveys[other].pictures
            owner = {name: id for id, name in there.items()}
            for id, name in here.items():
                if id in there:
                    yield Problem(Path(name), "overlap", f"image {id} is in both {one} and {other}", id)
                elif name in owner:
                    text = f"is image {id} of {one} and image {owner[name]} of {other}"
                    yield Problem(Path(name), "overlap", text, id)


def _tasks(source: Source, surveys: Mapping[str, Survey]) -> Iterator[_Task]:
    for split, survey in surveys.items():
        ids = list(survey.pictures)
        for first in range(0, len(ids), CHUNK):
            some = tuple(ids[first : first + CHUNK])
            yield _Task(source.part(split, some), split, some)


def _checked(tasks: Iterator[_Task], processes: int) -> Iterator[tuple[int, list[Problem]]]:
    """Each task's images and problems, in order; no more tasks are in hand than keep the processes busy."""
    if processes == 1:
        yield from map(_check, tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting: deque[Future[tuple[int, list[Problem]]]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(_check, task))
                if len(waiting) > 3 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _check(task: _Task) -> tuple[int, list[Problem]]:
    return len(task.ids), [problem for id in task.ids for problem in _check_image(task.source, task.split, id)]


def _check_image(source: Source, split: str, id: str) -> list[Problem]:
    if isinstance(source, Checked):
        return source.check(split, id)
    try:
        source.scene(split, id)
    except UserError as error:
        return [_problem(error, f"{source.name} {split}", id)]
    return []


def _problem(error: UserError, where: str, image: str | None) -> Problem:
    return error.problem if isinstance(error, FaultError) else Problem(Path(where), "unreadable", str(error), image)


def _processes(images: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, images // (4 * CHUNK)))  # below four chunks each, starting them costs more
