"""One image's `segments_info` against the pixels of its panoptic PNG. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.native.panoptic_png import ids_of
from bench.data.problem import Kind, Problem
from models.categories import Categories, Segment

MAX_SEGMENTS = 65535  # the prepared form keeps segment numbers in uint16


@dataclass(frozen=True)
class Runs:
    """An id picture as runs of equal ids in row order; sorting a few thousand runs instead of every pixel is about
    ten times faster. `ids` and `areas`: each id there is, and its pixels; `which`: the place in `ids` of each run."""

    shape: tuple[int, int]
    lengths: NDArray[np.int64]
    ids: NDArray[np.int32]
    which: NDArray[np.int64]
    areas: NDArray[np.int64]

    @classmethod
    def of(cls, raw: NDArray[Any]) -> Runs:
        """Of an (H, W) picture of ids."""
        flat = raw.ravel()
        starts = np.append(0, (flat[1:] != flat[:-1]).nonzero()[0] + 1)
        return cls._beginning(starts, flat[starts], (raw.shape[0], raw.shape[1]))

    @classmethod
    def of_colours(cls, pixels: NDArray[np.uint8]) -> Runs:
        """Of the (H, W, 3) pixels of a panoptic PNG: no picture of their ids is made."""
        flat = pixels.ravel()
        changes = (flat[3:] != flat[:-3]).nonzero()[0] // 3 + 1  # up to three colours at one place
        starts = np.append(0, changes[np.diff(changes, prepend=0) > 0])
        ids = ids_of(pixels.reshape(-1, 3).take(starts, axis=0))
        return cls._beginning(starts, ids, (pixels.shape[0], pixels.shape[1]))

    @classmethod
    def _beginning(cls, starts: NDArray[np.int64], found: NDArray[Any], shape: tuple[int, int]) -> Runs:
        """Runs of the ids `found` that begin at the pixels `starts`."""
        lengths = np.diff(starts, append=shape[0] * shape[1])
        ids, which = np.unique(found, return_inverse=True)
        areas = np.bincount(which, weights=lengths).astype(np.int64)  # exact: far below 2**53
        return cls(shape, lengths, ids, which, areas)


def renumbered(
    runs: Runs, infos: Sequence[Mapping[str, Any]], categories: Categories
) -> tuple[NDArray[np.int32], dict[int, Segment]]:
    """(H, W) segments 1 .. n in the order of `infos`, 0 = void, and their table. Only where there is no problem."""
    number = {0: 0} | {int(info["id"]): n for n, info in enumerate(infos, start=1)}
    new = np.array([number[value] for value in runs.ids.tolist()], dtype=np.int32)
    table = {}
    for n, info in enumerate(infos, start=1):
        category = categories.index_of[info["category_id"]]
        table[n] = Segment(category, categories.is_thing[category], bool(info.get("iscrowd", 0)))
    return np.repeat(new[runs.which], runs.lengths).reshape(runs.shape), table


def problems_of(
    json: Path, infos: Any, png: Path, runs: Runs | None, categories: Categories, image: str
) -> list[Problem]:
    """All that is wrong with one image's segments; without `runs` what the json alone tells."""

    def problem(file: Path, kind: Kind, reason: str) -> Problem:
        return Problem(file, kind, f"image {image} {reason}", image)

    if not isinstance(infos, list) or not all(_is_segment(info) for info in infos):
        return [problem(json, "format", "has a segment without a whole number `id` or `category_id`")]
    found = [problem(json, kind, reason) for kind, reason in _in_itself(infos, categories)]
    if runs is not None:
        areas = dict(zip(runs.ids.tolist(), runs.areas.tolist(), strict=True))
        if unlisted := areas.keys() - {info["id"] for info in infos} - {0}:
            found.append(problem(png, "unlisted id", f"has PNG ids without an entry in the json: {_some(unlisted)}"))
        if unseen := {info["id"] for info in infos} - areas.keys() - {0}:
            found.append(problem(json, "unseen id", f"lists segment ids that its PNG lacks: {_some(unseen)}"))
        for info in infos:
            area, counted = info.get("area"), areas.get(info["id"])
            if area is not None and counted is not None and area != counted:
                text = f"gives segment {info['id']} the area {area}, its PNG has {counted} pixels of it"
                found.append(problem(json, "area", text))
    return found


def _in_itself(infos: Sequence[Mapping[str, Any]], categories: Categories) -> Iterator[tuple[Kind, str]]:
    listed = [info["id"] for info in infos]
    if repeated := {id for id in listed if listed.count(id) > 1}:
        yield "duplicate", f"lists a segment id twice: {_some(repeated)}"
    if 0 in listed:
        yield "format", "lists the segment id 0, which stands for void"
    if len(listed) > MAX_SEGMENTS:
        yield "format", f"has {len(listed)} segments, more than {MAX_SEGMENTS}"
    for category in dict.fromkeys(info["category_id"] for info in infos):
        if category not in categories.index_of:
            yield "category", f"has category id {category}, which the json's `categories` lack"


def _is_segment(info: Any) -> bool:
    keys = ("id", "category_id")
    return isinstance(info, Mapping) and all(type(info.get(key)) is int for key in keys)


def _some(ids: Iterable[int]) -> str:
    shown = sorted(ids)
    return ", ".join(map(str, shown[:5])) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
