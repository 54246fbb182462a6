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
    """Of the S segments of one or more maps, ascending: maps (S,), numbers (S,), areas (S,) in pixels, boxes (S, 4) as
    x, y, w, h."""

    maps: NDArray[np.int64]
    numbers: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]


class Resized(NamedTuple):
    """A scene at another size: image (H, W, 3), segments (H, W) with the scene's numbers, and for each of its instances
    the mask's run lengths, None where no pixel is left."""

    image: NDArray[np.uint8]
    segments: NDArray[np.int32]
    rles: list[dict[str, Any] | None]


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
    halves, found = [Image.fromarray(image)], []
    narrow: dict[tuple[int, int], Image.Image] = {}  # halved so often, and to this width
    for height, width in sizes:
        times = 0
        while min(native[0] / height, native[1] / width) >= MIN_FACTOR * 2 ** (times + 2):
            times += 1
        while len(halves) <= times:
            halves.append(halves[-1].reduce(2))
        half, scale = halves[times], 2 ** (times + 1)  # the half of an odd side has too much
        if (times, width) not in narrow:  # Pillow resizes each row, then each column: sizes of one width share the rows
            box = 0.0, 0.0, native[1] / scale, float(half.height)
            narrow[times, width] = half.resize((width, half.height), Image.Resampling.BILINEAR, box=box)
        box = 0.0, 0.0, float(width), native[0] / scale
        found.append(np.asarray(narrow[times, width].resize((width, height), Image.Resampling.BILINEAR, box=box)))
    return found


def resize_scene(scene: Scene, size: tuple[int, int]) -> Scene:
    """The scene at (H, W); segments and instances without a pixel left are dropped, numbers are kept."""
    image, segments, rles = resize_scenes(scene, [size])[0]
    table = {number: scene.table[number] for number in measure(segments).numbers.tolist()}
    instances = None if scene.instances is None else resized_instances(scene.instances, rles)
    return Scene(scene.id, image, segments, table, instances)


def resize_scenes(scene: Scene, sizes: Sequence[tuple[int, int]]) -> list[Resized]:
    """The scene at each (H, W) of `sizes`. Raises UserError for a mask that is none."""
    native = scene.segments.shape[0], scene.segments.shape[1]
    halved = scene.image.shape[:2] != native
    images = resize_halved(scene.image, native, sizes) if halved else [resize_image(scene.image, s) for s in sizes]
    try:
        masks = resize_masks([instance.rle for instance in scene.instances or ()], sizes)
    except ValueError as error:
        raise UserError(f"image {scene.id}: {error}; run `bench data verify`") from None
    return [
        Resized(image, resize_labels(scene.segments, size), rles)
        for size, image, rles in zip(sizes, images, masks, strict=True)
    ]


def resized_instances(instances: Sequence[Instance], rles: Sequence[dict[str, Any] | None]) -> list[Instance]:
    """The instances that have a pixel left in `rles`, one for each."""
    return [
        Instance(one.category, one.is_crowd, rle) for one, rle in zip(instances, rles, strict=True) if rle is not None
    ]


def measure(segments: NDArray[Any]) -> Measures:
    """Area and box of every segment of an (H, W) map, or of (N, H, W), of numbers below 65,536 but 0; N also below."""
    height, width = segments.shape[-2:]
    begins = np.ones(segments.shape, dtype=bool)  # where a run of one number begins, in each row anew
    np.not_equal(segments[..., 1:], segments[..., :-1], out=begins[..., 1:])
    starts = begins.ravel().nonzero()[0]
    lengths = np.append(starts[1:], segments.size) - starts
    owner = segments.ravel()[starts]
    kept = owner.nonzero()[0]
    row, x = np.divmod(starts[kept], width)
    which, y = np.divmod(row, height)
    order = np.lexsort((owner[kept].astype(np.uint16), which.astype(np.uint16)))  # 16 bits: numpy sorts by radix
    runs, x, y, lengths = (which << 16 | owner[kept])[order], x[order], y[order], lengths[kept][order]
    first = np.diff(runs, prepend=-1).nonzero()[0]
    last = np.append(first, len(runs))[1:] - 1
    left, right = np.minimum.reduceat(x, first), np.maximum.reduceat(x + lengths, first)
    boxes = np.stack([left, y[first], right - left, y[last] - y[first] + 1], axis=1)  # runs are in the order of rows
    return Measures(runs[first] >> 16, runs[first] & 0xFFFF, np.add.reduceat(lengths, first), boxes)
