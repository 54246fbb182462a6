"""Ground truth for networks that predict a set of queries: a label and a mask (and a box) for each target."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.categories import VOID, Segment, Task
from models.interface import Batch

MAX_SEGMENT_ID = 65535  # prepared segments are 16 bits wide


class QueryTargets(NamedTuple):
    """The T targets of one image. labels: (T,) int64; masks: (T, H, W) float32, 0 or 1."""

    labels: Tensor
    masks: Tensor


def query_targets(batch: Batch, task: Task) -> list[QueryTargets]:
    """What the queries of each image are to find.

    semantic: one target for each category present. instance: one for each thing segment. panoptic: one for each thing
    segment and one for each stuff category. Void gives none; crowds are part of a category, but no target of their own.
    """
    if task == "semantic":
        return [_category_targets(semantic) for semantic in batch.semantic]
    pairs = zip(batch.segments, batch.tables, strict=True)
    return [_segment_targets(segments, table, with_stuff=task == "panoptic") for segments, table in pairs]


def boxes_from_masks(masks: Tensor) -> Tensor:
    """(T, H, W) masks, none empty -> (T, 4) boxes (centre x, centre y, width, height) in fractions of the image.

    Boxes are half open: a mask of the one pixel (x, y) spans [x, x + 1) and [y, y + 1), so none is degenerate.
    """
    height, width = masks.shape[-2:]
    filled = masks > 0
    left, right = _extent(filled.any(dim=1))
    top, bottom = _extent(filled.any(dim=2))
    corners = torch.stack([left + right, top + bottom, 2 * (right - left), 2 * (bottom - top)], dim=1)
    return corners.float() / (2 * corners.new_tensor([width, height, width, height]))


def _extent(filled: Tensor) -> tuple[Tensor, Tensor]:
    """(T, S) bool -> the first filled position and one past the last, each (T,)."""
    size = filled.shape[1]
    positions = torch.arange(size, device=filled.device)
    return torch.where(filled, positions, size).amin(dim=1), torch.where(filled, positions + 1, 0).amax(dim=1)


def _category_targets(semantic: Tensor) -> QueryTargets:
    """semantic: (H, W) int64, 255 = void."""
    labels = semantic[semantic != VOID].unique()
    return QueryTargets(labels, (semantic == labels[:, None, None]).float())


def _segment_targets(segments: Tensor, table: dict[int, Segment], with_stuff: bool) -> QueryTargets:
    """segments: (H, W) int64 -> targets, those without a pixel dropped."""
    slots = _slots(table, with_stuff)
    count = len(slots)
    slot_of_segment = torch.full((MAX_SEGMENT_ID + 1,), count)  # slot `count`: no target
    for slot, (_, ids) in enumerate(slots):
        slot_of_segment[ids] = slot
    slot_map = slot_of_segment.to(segments.device)[segments]
    masks = slot_map == torch.arange(count, device=segments.device).view(-1, 1, 1)
    labels = torch.tensor([category for category, _ in slots], dtype=torch.int64, device=segments.device)
    present = masks.flatten(1).any(dim=1)
    return QueryTargets(labels[present], masks[present].float())


def _slots(table: dict[int, Segment], with_stuff: bool) -> list[tuple[int, list[int]]]:
    """(category, segment ids) of each target."""
    kept = [(number, segment) for number, segment in table.items() if not segment.is_crowd]
    slots = [(segment.category, [number]) for number, segment in kept if segment.is_thing]
    stuff: dict[int, list[int]] = {}
    for number, segment in kept:
        if with_stuff and not segment.is_thing:
            stuff.setdefault(segment.category, []).append(number)
    return slots + list(stuff.items())
