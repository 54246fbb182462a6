"""`scenes`: the embedded dataset, drawn by the program so that everything runs on a fresh machine. Imports no torch.

Textured stuff in wavy regions, things that overlap and occlude one another, some void, now and then a crowd. Its
numbers are never a reproduction of the paper's. Drawn in whole numbers only: every machine makes the same bytes.

Counted over the 2,000 training images (the 500 of val agree within chance; tests/data/test_scenes.py):
- 10 thing categories, each in 22 to 25 % of the images and on 0.9 to 2.2 % of the pixels; 6 stuff categories, each in
  49 to 53 % and on 13 to 15 %; 2.5 % void. Mean 0.47 and standard deviation 0.19 in each of red, green and blue.
- 2 to 9 things an image, 6.7 on average; a crowd in every ninth image. Of 16,384 pixels a thing has 209 in the middle
  of all, 13 or fewer in one of twenty, 1,218 or more in another.
- What the sizes of the paper's Table 8 cost: of 13,438 things 0.2 % vanish at 64x64, 0.5 % at 48x64 and 3.4 % at 32x32,
  where half have 1 to 15 pixels. No stuff vanishes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.native.drawing import (
    HUES,
    SHAPES,
    SINE,
    TEXTURES,
    TURNS,
    UNIT,
    UPRIGHT,
    Draws,
    Field,
    Mask,
    car_wheels,
    color,
    local_axes,
    tree_crown,
    wave,
)
from bench.data.scene import Scene
from bench.data.source import check_split
from bench.errors import UserError
from models.categories import Categories, Category, Segment, Task

SIDE = 128  # native height and width
SIZES = {"train": 2000, "val": 500}  # the splits' lengths; `scene` draws any further id too
VERSION = 1  # goes up whenever a byte of any scene changes
DIAMETERS = (6, 8, 10, 13, 16, 20, 24, 28, 32, 36, 42, 48, 54, 60)  # pixels
MIN_PIXELS = 4  # what is left of a thing below this becomes void
CROWD_PERCENT = 10
THINGS = tuple(SHAPES)
STUFF = tuple(TEXTURES)
_HUE = {name: n * HUES // len(THINGS) for n, name in enumerate(THINGS)} | {
    name: n * HUES // len(STUFF) + 70 for n, name in enumerate(STUFF)
}
_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)


class Scenes:
    """The drawn dataset as a `Source`: 10 things, 6 stuff, 128x128; it has no instance annotation of its own."""

    name = "scenes"
    form = "drawn"
    splits = tuple(SIZES)

    @property
    def categories(self) -> Categories:
        return CATEGORIES

    def ids(self, split: str) -> list[str]:
        check_split(self, split)
        return [f"{split}-{index:06d}" for index in range(SIZES[split])]

    def scene(self, split: str, id: str, halve: bool = False) -> Scene:
        """Draws one image; any number after the split's name will do. There is no JPEG that could be halved."""
        check_split(self, split)
        match = re.fullmatch(rf"{split}-([0-9]+)", id)
        if not match:
            raise UserError(f"scenes {split} has no image {id}; expected an id like {split}-000017")
        key = self.splits.index(split) << 60 | int(match[1])
        return draw_scene(id, Draws(Draws(key).word()))

    def fingerprint(self, split: str) -> str:
        check_split(self, split)
        return hashlib.sha256(f"scenes {VERSION} {split} {SIZES[split]}".encode()).hexdigest()

    def has_instances(self, split: str) -> bool:
        check_split(self, split)
        return False

    def for_task(self, task: Task) -> Scenes:
        return self

    def part(self, split: str, ids: Sequence[str]) -> Scenes:
        return self


def _categories() -> Categories:
    def category(id: int, name: str) -> Category:
        return Category(id, name, name in THINGS, color(_HUE[name], 170 if name in THINGS else 90, 230))

    return Categories(tuple(category(id, name) for id, name in enumerate(THINGS + STUFF, start=1)))


CATEGORIES = _categories()
_INDEX = {category.name: index for index, category in enumerate(CATEGORIES.entries)}


@dataclass
class _Canvas:
    """What is being drawn: image (H, W, 3) 0 .. 255, segments (H, W), and the category of each segment number."""

    image: Field
    segments: NDArray[np.int32]
    table: dict[int, Segment]

    def add(self, name: str, crowd: bool = False) -> int:
        number = len(self.table) + 1
        self.table[number] = Segment(_INDEX[name], name in SHAPES, crowd)
        return number


@dataclass(frozen=True)
class _Thing:
    """One object before it is drawn: centre, width and height in pixels, rotation in turns of 22.5 degrees."""

    name: str
    center: tuple[int, int]
    extent: tuple[int, int]
    turn: int


def draw_scene(id: str, draws: Draws) -> Scene:
    canvas = _Canvas(np.zeros((SIDE, SIDE, 3), np.int64), np.zeros((SIDE, SIDE), np.int32), {})
    _draw_stuff(canvas, draws)
    things = _place_things(draws)
    clutter = draws.between(0, len(things))  # an unlabelled object lies between the labelled ones
    for n, thing in enumerate(things):
        if n == clutter:
            _draw_clutter(canvas, draws)
        _draw_thing(canvas, draws, thing, canvas.add(thing.name))
    if draws.chance(CROWD_PERCENT):
        _draw_crowd(canvas, draws)
    return _finish(id, canvas, draws)


def _draw_stuff(canvas: _Canvas, draws: Draws) -> None:
    """Two to four regions between wavy borders, in an order and direction of the image's own; thin void between."""
    count = draws.between(2, 4)
    turn = draws.between(0, TURNS - 1)
    along = (_COLUMNS - 64) * SINE[turn] + (_ROWS - 64) * SINE[(turn + 4) % TURNS]
    across = (_COLUMNS - 64) * SINE[(turn + 4) % TURNS] - (_ROWS - 64) * SINE[turn]
    bend = wave(across * draws.between(4, 14) // UNIT + draws.between(0, 1023)) * draws.between(4, 14)
    level = (along + bend) // UNIT + 64
    step = 100 // count
    borders = [14 + n * step + draws.between(-step // 3, step // 3) for n in range(1, count)]
    region = sum(((level >= border).astype(np.int64) for border in borders), np.zeros_like(level))
    for n, kind in enumerate(draws.order(len(STUFF))[:count]):
        inside = region == n
        _paint_stuff(canvas, draws, STUFF[kind], inside)
    edges = (region[1:, 1:] != region[:-1, 1:]) | (region[1:, 1:] != region[1:, :-1])
    canvas.segments[1:, 1:][edges] = 0


def _paint_stuff(canvas: _Canvas, draws: Draws, name: str, inside: Mask) -> None:
    tone = np.array(color(_hue(draws, name), draws.between(40, 130), draws.between(110, 200)))
    scale, turn, strength = draws.between(6, 18), draws.between(0, TURNS - 1), draws.between(18, 52)
    x, y = _COLUMNS[inside], _ROWS[inside]
    light = TEXTURES[name](x, y, scale, turn) * strength // UNIT
    canvas.image[inside] = tone + light[:, None]
    canvas.segments[inside] = canvas.add(name)


def _place_things(draws: Draws) -> list[_Thing]:
    """Two to nine things of one to four kinds, large ones mostly first, some on purpose near another."""
    kinds = [THINGS[k] for k in draws.order(len(THINGS))[: draws.between(1, 4)]]
    placed: list[tuple[int, _Thing]] = []
    for _ in range(max(draws.between(2, 9), draws.between(2, 9))):
        name = kinds[draws.between(0, len(kinds) - 1)]
        diameter = draws.choice(DIAMETERS)
        center = draws.between(4, SIDE - 5), draws.between(4, SIDE - 5)
        if placed and draws.chance(45):
            near = placed[draws.between(0, len(placed) - 1)][1]
            reach = max(3, (max(near.extent) + diameter) * 2 // 5)
            center = (
                min(SIDE - 3, max(2, near.center[0] + draws.between(-reach, reach))),
                min(SIDE - 3, max(2, near.center[1] + draws.between(-reach, reach))),
            )
        narrow = diameter * draws.between(70, 100) // 100
        extent = (diameter, narrow) if name == "car" or draws.chance(50) else (narrow, diameter)
        turn = 0 if name in UPRIGHT else draws.between(0, TURNS - 1)
        placed.append((diameter + draws.between(0, 40), _Thing(name, center, extent, turn)))
    return [thing for _, thing in sorted(placed, key=lambda pair: -pair[0])]


def _draw_thing(canvas: _Canvas, draws: Draws, thing: _Thing, number: int) -> None:
    window = _window(thing)
    x, y = _COLUMNS[window], _ROWS[window]
    u, v = local_axes(x, y, thing.center, thing.extent, thing.turn)
    mask = SHAPES[thing.name](u, v)
    image, segments = canvas.image[window], canvas.segments[window]
    if min(thing.extent) >= 12:
        shadow = np.zeros_like(mask)
        shadow[2:, 2:] = mask[:-2, :-2]
        image[shadow] = image[shadow] * 11 // 16
    tone = np.array(color(_hue(draws, thing.name), draws.between(90, 230), draws.between(120, 240)))
    lean = draws.between(-60, 60)
    light = 256 - (u * lean + v * 70) // UNIT - 60 * ((u * u + v * v) // 256) // UNIT
    painted = tone * light[..., None] // UNIT
    painted[_details(thing.name, u, v)] //= 2
    image[mask] = painted[mask]
    segments[mask] = number


def _details(name: str, u: Field, v: Field) -> Mask:
    """The parts of a thing that are drawn dark."""
    if name == "house":
        return (abs(abs(u) - 90) <= 40) & (v >= 30) & (v <= 120) | (v < -30) & (v > -70)
    if name == "car":
        return car_wheels(u, v) | (abs(u) <= 110) & (v >= -120) & (v <= -50)
    if name == "tree":
        return ~tree_crown(u, v)
    return np.zeros(u.shape, dtype=np.bool_)


def _draw_clutter(canvas: _Canvas, draws: Draws) -> None:
    """A grey, grained blob that nobody labelled: void."""
    if not draws.chance(70):
        return
    radius = draws.between(5, 15)
    blob = _Thing("blob", (draws.between(0, SIDE - 1), draws.between(0, SIDE - 1)), (2 * radius, 2 * radius), 0)
    window = _window(blob)
    x, y = _COLUMNS[window], _ROWS[window]
    u, v = local_axes(x, y, blob.center, blob.extent, 0)
    u, v = u + wave(v * 3) // 5, v + wave(u * 3 + 300) // 5
    mask = u * u + v * v <= 230 * 230
    grain = draws.bytes_field(*mask.shape) // 3 + draws.between(20, 90)
    canvas.image[window][mask] = grain[mask][:, None]
    canvas.segments[window][mask] = 0


def _draw_crowd(canvas: _Canvas, draws: Draws) -> None:
    """A clump of tiny things of one kind, annotated together as one crowd segment."""
    name = THINGS[draws.between(0, len(THINGS) - 1)]
    number = canvas.add(name, crowd=True)
    middle = draws.between(20, SIDE - 21), draws.between(20, SIDE - 21)
    for _ in range(draws.between(12, 26)):
        center = middle[0] + draws.between(-17, 17), middle[1] + draws.between(-12, 12)
        size = draws.between(5, 8)
        _draw_thing(canvas, draws, _Thing(name, center, (size, size), 0), number)


def _finish(id: str, canvas: _Canvas, draws: Draws) -> Scene:
    """Brightness and noise over all; numbers 1 .. n for what can still be seen, tiny remains of things to void."""
    noise = draws.bytes_field(SIDE, SIDE, 3) - draws.bytes_field(SIDE, SIDE, 3)
    grain, gain, offset = draws.between(8, 26), draws.between(200, 290), draws.between(-22, 22)
    image = np.clip(canvas.image * gain // UNIT + offset + noise * grain // UNIT, 0, 255).astype(np.uint8)
    areas = np.bincount(canvas.segments.ravel(), minlength=len(canvas.table) + 1).tolist()
    kept = [n for n, segment in canvas.table.items() if areas[n] >= (MIN_PIXELS if segment.is_thing else 1)]
    renumber = np.zeros(len(areas), dtype=np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1, dtype=np.int32)
    table = {int(renumber[n]): canvas.table[n] for n in kept}
    return Scene(id, image, renumber[canvas.segments], table)


def _hue(draws: Draws, name: str) -> int:
    """Near the category's own hue three times in four, anywhere else: a hint, not the answer."""
    return _HUE[name] + draws.between(-90, 90) if draws.chance(75) else draws.between(0, HUES - 1)


def _window(thing: _Thing) -> tuple[slice, slice]:
    """Rows and columns that the thing, its shadow and any rotation can touch."""
    reach = max(thing.extent) * 3 // 4 + 3
    x, y = thing.center
    return slice(max(0, y - reach), max(0, y + reach + 1)), slice(max(0, x - reach), max(0, x + reach + 1))
