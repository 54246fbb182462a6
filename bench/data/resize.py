"""A scene at other sizes, and what its segments measure there. Imports no torch.

Images are squashed, bilinear with antialiasing (PIL's resize); labels and masks take the nearest pixel, by whole-number
arithmetic so that the truth is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.decoding import HALVED_FROM
from bench.data.run_lengths import nearest_index, resize_masks
from bench.data.scene import Instance, Scene
from bench.errors import UserError

HALVED_UP_TO = 128  # the longer side of a prepared size that is made from pictures decoded at half size
MIN_FACTOR = HALVED_FROM / 2 / HALVED_UP_TO  # pixels for one, at least, in the bilinear resize after halving
HALVED_TOLERANCE = 3  # mean absolute difference over an image, of 255; tests/data/test_resize.py holds it to that
RULE = (
    "image: PIL bilinear with antialiasing, squashed; "
    f"for sizes up to {HALVED_UP_TO} a JPEG of {HALVED_FROM} pixels and more on its shorter side is decoded at half "
    f"size (libjpeg's scaled DCT) and halved by means while {MIN_FACTOR} times the size is left, which changes an "
    f"image by less than {HALVED_TOLERANCE} of 255 on average; "
    "labels: nearest, index floor((2i + 1) n / 2m)"
)


class Measures(NamedTuple):
    """Of the S segments of one image, ascending: numbers (S,), areas (S,) in pixels, boxes (S, 4) as x, y, w, h."""

    numbers: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]


def takes_halved(size: tuple[int, int]) -> bool:
    """Whether this prepared size is made from pictures that the reader may decode at half size: see RULE."""
    return max(size) <= HALVED_UP_TO


def resize_labels(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(h, w) labels -> (H, W) of the same type, nearest."""
    if labels.shape == size:
        return labels
    rows, columns = nearest_index(labels.shape[0], size[0]), nearest_index(labels.shape[1], size[1])
    return labels.take(rows, axis=0).take(columns, axis=1)


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3) -> (H, W, 3), bilinear; when shrinking, PIL widens the filter (antialiasing)."""
    height, width = size
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def resize_halved(
    image: NDArray[np.uint8], native: tuple[int, int], sizes: Sequence[tuple[int, int]]
) -> list[NDArray[np.uint8]]:
    """An image decoded at half its `native` (h, w) -> (H, W, 3) at each of `sizes`, as RULE says."""
    halves = [Image.fromarray(image)]
    found = []
    for height, width in sizes:
        times = 0
        while min(native[0] / height, native[1] / width) >= MIN_FACTOR * 2 ** (times + 2):
            times += 1
        while len(halves) <= times:
            halves.append(halves[-1].reduce(2))
        extent = native[1] / 2 ** (times + 1), native[0] / 2 ** (times + 1)  # the half of an odd side has too much
        small = halves[times].resize((width, height), Image.Resampling.BILINEAR, box=(0.0, 0.0, *extent))
        found.append(np.asarray(small))
    return found


def resize_scene(scene: Scene, size: tuple[int, int]) -> Scene:
    """The scene at (H, W); segments and instances without a pixel left are dropped, numbers are kept."""
    return resize_scenes(scene, [size])[0]


def resize_scenes(scene: Scene, sizes: Sequence[tuple[int, int]]) -> list[Scene]:
    """The scene at each (H, W) of `sizes`, as `resize_scene` gives it. Raises UserError for a mask that is none."""
    native = scene.segments.shape[0], scene.segments.shape[1]
    halved = scene.image.shape[:2] != native
    images = resize_halved(scene.image, native, sizes) if halved else [resize_image(scene.image, s) for s in sizes]
    try:
        masks = resize_masks([instance.rle for instance in scene.instances or ()], sizes)
    except ValueError as error:
        raise UserError(f"image {scene.id}: {error}; run `bench data verify`") from None
    return [
        _resized(scene, image, resize_labels(scene.segments, size), rles)
        for size, image, rles in zip(sizes, images, masks, strict=True)
    ]


def _resized(
    scene: Scene, image: NDArray[np.uint8], segments: NDArray[np.int32], rles: Sequence[dict[str, Any] | None]
) -> Scene:
    areas = np.bincount(segments.ravel(), minlength=max(scene.table, default=0) + 1)
    table = {number: segment for number, segment in scene.table.items() if areas[number]}
    instances = None
    if scene.instances is not None:
        instances = [
            Instance(one.category, one.is_crowd, rle)
            for one, rle in zip(scene.instances, rles, strict=True)
            if rle is not None
        ]
    return Scene(scene.id, image, segments, table, instances)


def measure(segments: NDArray[Any]) -> Measures:
    """Area and box of every segment of an (H, W) map of numbers below 65,536 but 0."""
    flat = segments.ravel().astype(np.uint16)
    counts = np.bincount(flat)
    numbers = np.flatnonzero(counts[1:]) + 1
    areas = counts[numbers]
    if not len(numbers):
        return Measures(numbers, areas, np.zeros((0, 4), dtype=np.int64))
    where = np.argsort(flat, kind="stable")[counts[0] :].astype(np.int32)  # 16 bits: numpy sorts by radix
    ends = np.cumsum(areas)
    starts = ends - areas
    width = np.int32(segments.shape[1])
    top, bottom = where[starts] // width, where[ends - 1] // width  # in a segment the order is that of the rows
    x = where % width
    left, right = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
    boxes = np.stack([left, top, right - left + 1, bottom - top + 1], axis=1)
    return Measures(numbers, areas, boxes.astype(np.int64))
