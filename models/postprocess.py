"""From query predictions to semantic, panoptic and instance maps.

The class implementations of `transformers` number segments from 0 and write instances over each other; these do not.
Class probabilities here leave out the last, no-object column of a query's softmax: (Q, K), rows summing to at most 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.categories import Task
from models.interface import PredictedSegment, Prediction
from models.thresholds import (
    DETR_MIN_PIXELS,
    DETR_SCORE_THRESHOLD,
    MASK2FORMER_MASK_THRESHOLD,
    MASK2FORMER_OVERLAP_THRESHOLD,
    MASK2FORMER_SCORE_THRESHOLD,
)

MAX_INSTANCES = 100  # COCO's detections an image

Panoptic = tuple[Tensor, dict[int, PredictedSegment]]
PanopticRule = Callable[[Tensor, Tensor, Sequence[bool]], Panoptic]


def predict_from_queries(
    class_logits: Tensor,
    mask_logits: Tensor,
    size: tuple[int, int],
    is_thing: Sequence[bool],
    task: Task,
    panoptic: PanopticRule,
) -> list[Prediction]:
    """class_logits: (B, Q, K + 1), no-object last; mask_logits: (B, Q, h, w), upsampled to `size` before any decision.

    Image by image: at full size the masks of one image are already Q x H x W numbers.
    """
    pairs = zip(class_logits, mask_logits, strict=True)
    return [
        _predict_image(classes.float().softmax(-1)[:, :-1], _upsample(masks, size), is_thing, task, panoptic)
        for classes, masks in pairs
    ]


def _upsample(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(Q, h, w) logits -> (Q, H, W) probabilities."""
    return F.interpolate(mask_logits.float()[None], size=size, mode="bilinear", align_corners=False)[0].sigmoid()


def _predict_image(
    class_probs: Tensor, mask_probs: Tensor, is_thing: Sequence[bool], task: Task, panoptic: PanopticRule
) -> Prediction:
    if task == "semantic":
        return _classes_alone(class_probs, mask_probs)
    if task == "instance":
        class_probs, mask_probs = _with_background(class_probs, mask_probs, is_thing)
    return Prediction(
        votes_from_queries(class_probs, mask_probs).argmax(dim=0),
        *panoptic(class_probs, mask_probs, is_thing),
        *instances_from_queries(class_probs, mask_probs, is_thing),
    )


def _classes_alone(class_probs: Tensor, mask_probs: Tensor) -> Prediction:
    """One segment a category, scored by the mean share of the votes that it has."""
    votes = votes_from_queries(class_probs, mask_probs)
    best, semantic = votes.max(dim=0)
    share = best / votes.sum(dim=0).clamp(min=torch.finfo(votes.dtype).tiny)
    nothing = torch.zeros(len(votes), dtype=torch.bool, device=votes.device)
    return Prediction.of_classes(semantic, share, countable=nothing)


def _with_background(class_probs: Tensor, mask_probs: Tensor, is_thing: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """The queries of the instance task, none of which was trained to find the background, and one more that claims
    what they leave over for the first category that is no thing."""
    things = torch.tensor(is_thing, device=class_probs.device)
    class_probs = class_probs * things
    if all(is_thing):
        return class_probs, mask_probs
    claimed = (class_probs.sum(dim=1)[:, None, None] * mask_probs).amax(dim=0)
    background = torch.zeros_like(class_probs[:1])
    background[0, is_thing.index(False)] = 1
    return torch.cat([class_probs, background]), torch.cat([mask_probs, 1 - claimed[None]])


def votes_from_queries(class_probs: Tensor, mask_probs: Tensor) -> Tensor:
    """class_probs: (Q, K); mask_probs: (Q, H, W) -> (K, H, W): the mask-weighted votes for each category."""
    return torch.einsum("qk,qhw->khw", class_probs, mask_probs)


def detr_panoptic(class_probs: Tensor, mask_probs: Tensor, is_thing: Sequence[bool]) -> Panoptic:
    """DETR's rule: each pixel to the strongest mask among the confident queries."""
    return panoptic_from_queries(
        class_probs, mask_probs, is_thing, score_threshold=DETR_SCORE_THRESHOLD, min_pixels=DETR_MIN_PIXELS
    )


def mask2former_panoptic(class_probs: Tensor, mask_probs: Tensor, is_thing: Sequence[bool]) -> Panoptic:
    """Mask2Former's rule: masks weighted by score, pixels below the mask threshold void, hidden masks dropped."""
    return panoptic_from_queries(
        class_probs,
        mask_probs,
        is_thing,
        score_threshold=MASK2FORMER_SCORE_THRESHOLD,
        mask_threshold=MASK2FORMER_MASK_THRESHOLD,
        overlap_threshold=MASK2FORMER_OVERLAP_THRESHOLD,
        weigh_by_score=True,
    )


def panoptic_from_queries(
    class_probs: Tensor,
    mask_probs: Tensor,
    is_thing: Sequence[bool],
    *,
    score_threshold: float,
    mask_threshold: float = 0.0,
    overlap_threshold: float = 0.0,
    min_pixels: int = 1,
    weigh_by_score: bool = False,
) -> Panoptic:
    """One segment for each confident query, those of one stuff category merged.

    class_probs: (Q, K); mask_probs: (Q, H, W). A query counts when its best category beats `score_threshold` and
    no-object. A pixel goes to the query of highest mask probability (times score, if `weigh_by_score`), and stays
    void where that is below `mask_threshold`. A query is dropped when it owns less than `overlap_threshold` of its own
    mask (probability of at least 0.5); a segment when it has fewer than `min_pixels` pixels.
    Returns (H, W) int64 segment ids from 1, 0 = void, and the table of exactly these ids.
    """
    scores, labels = class_probs.max(dim=1)
    kept = (scores > score_threshold) & (scores > 1 - class_probs.sum(dim=1))
    scores, labels, masks = scores[kept], labels[kept], mask_probs[kept]
    owner, alive = _owners(masks * scores.view(-1, 1, 1) if weigh_by_score else masks, labels, is_thing, min_pixels)
    panoptic = torch.zeros(mask_probs.shape[-2:], dtype=torch.int64, device=mask_probs.device)
    table: dict[int, PredictedSegment] = {}
    stuff_ids: dict[int, int] = {}
    for query in alive:
        label, score = int(labels[query]), float(scores[query])
        owned = owner == query
        pixels = owned & (masks[query] >= mask_threshold)
        if not pixels.any() or owned.sum() < overlap_threshold * (masks[query] >= 0.5).sum():
            continue
        segment = len(table) + 1 if is_thing[label] else stuff_ids.setdefault(label, len(table) + 1)
        panoptic[pixels] = segment
        table[segment] = PredictedSegment(label, max(score, table[segment].score if segment in table else 0.0))
    return _drop_small(panoptic, table, min_pixels)


def _owners(strengths: Tensor, labels: Tensor, is_thing: Sequence[bool], min_pixels: int) -> tuple[Tensor, list[int]]:
    """The strongest query of each pixel (H, W), after the pixels of too small segments went to the next strongest.

    strengths: (N, H, W); labels: (N,). Returns the owners, and the queries that are left.
    """
    alive = list(range(len(labels)))
    group = _groups(labels.tolist(), is_thing)
    while alive:
        index = torch.tensor(alive, device=strengths.device)
        owner = index[strengths[index].argmax(dim=0)]
        areas = torch.bincount(owner.flatten(), minlength=len(group)).tolist()
        totals = [sum(area for area, other in zip(areas, group, strict=True) if other == own) for own in group]
        large = [query for query in alive if totals[query] >= min_pixels]
        if len(large) == len(alive):
            return owner, alive
        alive = large
    return torch.full(strengths.shape[-2:], -1, device=strengths.device), []


def _groups(labels: Sequence[int], is_thing: Sequence[bool]) -> list[int]:
    """The first query of each query's segment: its own for a thing, the category's first for stuff."""
    first: dict[int, int] = {}
    return [n if is_thing[label] else first.setdefault(label, n) for n, label in enumerate(labels)]


def _drop_small(panoptic: Tensor, table: dict[int, PredictedSegment], min_pixels: int) -> Panoptic:
    """Makes void the segments that the mask threshold left too small, and closes the gaps in the ids."""
    areas = torch.bincount(panoptic.flatten(), minlength=len(table) + 1).tolist()
    kept = [segment for segment in table if areas[segment] >= min_pixels]
    renumber = torch.zeros(len(table) + 1, dtype=torch.int64)
    renumber[kept] = torch.arange(1, len(kept) + 1)
    return renumber.to(panoptic.device)[panoptic], {new: table[old] for new, old in enumerate(kept, start=1)}


def instances_from_queries(
    class_probs: Tensor, mask_probs: Tensor, is_thing: Sequence[bool], limit: int = MAX_INSTANCES
) -> tuple[Tensor, Tensor, Tensor]:
    """The `limit` best (query, thing category) pairs; a query may appear with several categories.

    class_probs: (Q, K); mask_probs: (Q, H, W). Score: class probability times the mean mask probability over the mask
    (facebookresearch/Mask2Former:mask2former/maskformer_model.py, instance_inference); empty masks are dropped.
    Returns masks (N, H, W) bool, categories (N,) int64, scores (N,) float32, best first.
    """
    things = torch.tensor(
        [k for k, thing in enumerate(is_thing) if thing], dtype=torch.int64, device=class_probs.device
    )
    pairs = class_probs[:, things].flatten()
    best, order = pairs.topk(min(limit, len(pairs)))
    queries = torch.div(order, max(len(things), 1), rounding_mode="floor")
    categories = things[order % max(len(things), 1)]
    masks = mask_probs > 0.5
    areas = masks.flatten(1).sum(dim=1)
    quality = (mask_probs * masks).flatten(1).sum(dim=1) / areas.clamp(min=1)
    scores = best * quality[queries]
    order = scores.argsort(descending=True, stable=True)
    order = order[areas[queries[order]] > 0]
    return masks[queries[order]], categories[order], scores[order]
