"""A scene at another size, and what its segments measure there. Imports no torch.

Images are squashed, bilinear with antialiasing (PIL's resize); labels and masks take the nearest pixel, by whole-number
arithmetic so that the truth is the same on every machine.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from bench.data.coco_instances import text_rle
from bench.data.scene import Instance, Scene

RULE = "image: PIL bilinear with antialiasing, squashed; labels: nearest, index floor((2i + 1) n / 2m)"


class Measures(NamedTuple):
    """Of the S segments of one image, ascending: numbers (S,), areas (S,) in pixels, boxes (S, 4) as x, y, w, h."""

    numbers: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]


def nearest_index(length: int, target: int) -> NDArray[np.int64]:
    """(target,) index of the source pixel under the centre of each target pixel: floor((i + 1/2) length / target)."""
    return (2 * np.arange(target, dtype=np.int64) + 1) * length // (2 * target)


def resize_labels(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(h, w) labels -> (H, W) of the same type, nearest."""
    if labels.shape == size:
        return labels
    rows, columns = nearest_index(labels.shape[0], size[0]), nearest_index(labels.shape[1], size[1])
    return labels[rows[:, None], columns[None, :]]


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3) -> (H, W, 3), bilinear; when shrinking, PIL widens the filter (antialiasing)."""
    if image.shape[:2] == size:
        return image
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_scene(scene: Scene, size: tuple[int, int]) -> Scene:
    """The scene at (H, W); segments and instances without a pixel left are dropped, numbers are kept."""
    segments = resize_labels(scene.segments, size)
    left = set(np.unique(segments).tolist())
    table = {number: segment for number, segment in scene.table.items() if number in left}
    instances = None
    if scene.instances is not None:
        resized = (_resize_instance(instance, size) for instance in scene.instances)
        instances = [instance for instance in resized if instance is not None]
    return Scene(scene.id, resize_image(scene.image, size), segments, table, instances)


def measure(segments: NDArray[Any]) -> Measures:
    """Area and box of every segment of an (H, W) map but 0."""
    width = segments.shape[1]
    flat = segments.ravel().astype(np.int64)
    where = np.flatnonzero(flat)
    where = where[np.argsort(flat[where], kind="stable")]
    numbers, starts, areas = np.unique(flat[where], return_index=True, return_counts=True)
    if not len(numbers):
        return Measures(numbers, areas, np.zeros((0, 4), dtype=np.int64))
    y, x = where // width, where % width
    left, top = np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts)
    right, bottom = np.maximum.reduceat(x, starts), np.maximum.reduceat(y, starts)
    return Measures(numbers, areas, np.stack([left, top, right - left + 1, bottom - top + 1], axis=1))


def _resize_instance(instance: Instance, size: tuple[int, int]) -> Instance | None:
    mask = resize_labels(coco_mask.decode(instance.rle), size)
    if not mask.any():
        return None
    return Instance(instance.category, instance.is_crowd, text_rle(coco_mask.encode(np.asfortranarray(mask))))
