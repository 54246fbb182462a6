"""What a resize alone costs: the truth of an image taken to a size and back, as a prediction. Imports no torch.

Not a strict bound: a network may know more than its grid holds (where an edge runs between two cells), and the three
ways differ for that reason. What is predicted:
- semantic and panoptic: `nearest` takes the labels as they come back, void included. `bilinear` and `stride4` give
  each pixel to the segment with the largest weight, equal ones to the first, and leave void only what no segment
  reaches: void is not part of the truth, and no network predicts it.
- crowd: its pixels keep their category in the semantic map; in the panoptic map they are void, since a crowd is
  neither to be found nor to be missed, and a predicted one could only be a false positive.
- instances: those of the dataset, else the thing segments, without the crowds, each by itself: half the weight makes
  a pixel. All have the score 1.0: nothing ranks them. The protocol keeps the first 100 of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from scipy.ndimage import find_objects

from bench.data.scene import Instance, Scene, semantic_of
from bench.evaluate.detections import Detections
from bench.evaluate.resample import Patch, Size, down_and_up, full_weight, nearest_and_back
from models.categories import PredictedSegment, Segment

Way = Literal["nearest", "bilinear", "stride4"]
WAYS: tuple[Way, ...] = get_args(Way)
STRIDE = 4  # of the mask heads of DETR and Mask2Former
SCORE = 1.0


class Loss(NamedTuple):
    """How many there were, crowds left out, and how many of them have no pixel left."""

    total: int = 0
    vanished: int = 0

    def __add__(self, other: Any) -> Loss:
        return Loss(self.total + other.total, self.vanished + other.vanished)


@dataclass(frozen=True)
class Lost:
    """What vanished: thing and stuff segments of the panoptic map, and instances."""

    things: Loss = field(default_factory=Loss)
    stuff: Loss = field(default_factory=Loss)
    instances: Loss = field(default_factory=Loss)

    def __add__(self, other: Lost) -> Lost:
        return Lost(self.things + other.things, self.stuff + other.stuff, self.instances + other.instances)


@dataclass(frozen=True)
class OraclePrediction:
    """As `EvaluatedPrediction`, its instances encoded: they never lie in memory together."""

    semantic: NDArray[np.uint8]
    panoptic: NDArray[np.int32]
    segments: dict[int, PredictedSegment]
    detections: Detections
    lost: Lost


def way_of(name: str) -> Way:
    """'oracle-nearest' -> 'nearest'. Raises ValueError for a name that is no oracle's."""
    for way in WAYS:
        if name == f"oracle-{way}":
            return way
    raise ValueError(f"no oracle is named {name!r}; expected oracle- and one of {', '.join(WAYS)}")


def predict(scene: Scene, size: Size, way: Way) -> OraclePrediction:
    """The scene's own truth after a resize to `size` (height, width) and back to its native size."""
    labels, instances = _nearest(scene, size) if way == "nearest" else _averaged(scene, _grid(size, way))
    left = np.bincount(labels.ravel(), minlength=max(scene.table, default=0) + 1) > 0
    kept = {number: segment for number, segment in scene.table.items() if left[number] and not segment.is_crowd}
    shown = np.zeros(len(left), dtype=np.int32)
    shown[list(kept)] = list(kept)
    found = [one for one in instances if _area(one)]
    return OraclePrediction(
        semantic=semantic_of(labels, scene.table),
        panoptic=shown[labels],
        segments={number: PredictedSegment(segment.category, SCORE) for number, segment in kept.items()},
        detections=Detections(
            [one.rle for one in found],
            np.array([one.category for one in found], dtype=np.int64),
            np.full(len(found), SCORE),
        ),
        lost=Lost(
            _loss(scene.table, kept, things=True),
            _loss(scene.table, kept, things=False),
            Loss(len(instances), len(instances) - len(found)),
        ),
    )


def _grid(size: Size, way: Way) -> Size:
    """Where the masks are averaged: at the size, or at every fourth pixel of it, rounded up as convolutions do."""
    return size if way == "bilinear" else (-(-size[0] // STRIDE), -(-size[1] // STRIDE))


def _nearest(scene: Scene, size: Size) -> tuple[NDArray[np.int32], list[Instance]]:
    labels = nearest_and_back(scene.segments, size)
    if scene.instances is None:
        masks = ((segment, labels == number) for number, segment in _things(scene))
        return labels, [Instance(segment.category, False, _encode(mask)) for segment, mask in masks]
    found = ((one, nearest_and_back(rle_codec.decode(one.rle), size)) for one in _own(scene.instances))
    return labels, [Instance(one.category, False, _encode(mask)) for one, mask in found]


def _averaged(scene: Scene, grid: Size) -> tuple[NDArray[np.int32], list[Instance]]:
    """The running argmax over the segments, one at a time."""
    native = (scene.segments.shape[0], scene.segments.shape[1])
    labels, heaviest = np.zeros(native, dtype=np.int32), np.zeros(native)
    instances = []
    own = scene.instances is not None
    for number, patch in _patches(scene.segments, grid):
        window = (patch.rows, patch.columns)
        np.copyto(labels[window], number, where=patch.weights > heaviest[window])
        np.maximum(heaviest[window], patch.weights, out=heaviest[window])
        segment = scene.table[number]
        if segment.is_thing and not segment.is_crowd and not own:
            instances.append(Instance(segment.category, False, _half(patch, native)))
    for one in _own(scene.instances or ()):
        left, top, wide, tall = (int(n) for n in rle_codec.toBbox(one.rle))
        mask = rle_codec.decode(one.rle)[top : top + tall, left : left + wide].astype(bool)
        patch = down_and_up(mask, (top, left), native, grid)
        instances.append(Instance(one.category, False, _half(patch, native)))
    return labels, instances


def _patches(segments: NDArray[np.int32], grid: Size) -> Iterator[tuple[int, Patch]]:
    """(number, weights) of each segment, by rising number."""
    native = (segments.shape[0], segments.shape[1])
    for number, window in enumerate(find_objects(segments), start=1):
        if window is not None:
            corner = (window[0].start, window[1].start)
            yield number, down_and_up(segments[window] == number, corner, native, grid)


def _half(patch: Patch, native: Size) -> dict[str, Any]:
    mask = np.zeros(native, dtype=np.uint8, order="F")
    mask[patch.rows, patch.columns] = 2 * patch.weights >= full_weight(native)
    return _rle(mask)


def _encode(mask: NDArray[Any]) -> dict[str, Any]:
    return _rle(np.asfortranarray(mask, dtype=np.uint8))


def _rle(mask: NDArray[np.uint8]) -> dict[str, Any]:
    rle: dict[str, Any] = rle_codec.encode(mask)
    return rle


def _things(scene: Scene) -> Iterator[tuple[int, Segment]]:
    return ((n, segment) for n, segment in scene.table.items() if segment.is_thing and not segment.is_crowd)


def _own(instances: Sequence[Instance]) -> list[Instance]:
    """Those that count: no crowd, and with a pixel at native size."""
    return [one for one in instances if not one.is_crowd and _area(one)]


def _area(instance: Instance) -> int:
    return int(rle_codec.area(instance.rle))


def _loss(table: dict[int, Segment], kept: dict[int, Segment], things: bool) -> Loss:
    counted = [number for number, s in table.items() if s.is_thing == things and not s.is_crowd]
    return Loss(len(counted), sum(number not in kept for number in counted))
