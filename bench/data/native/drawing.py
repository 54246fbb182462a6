"""Chance, colour and shape in whole numbers only, so that every machine draws the same bytes. Imports no torch.

No floats and no library generator: numpy's transcendental functions differ in the last digit between processors, and
its generators may change between versions. Lengths inside a shape are in units of UNIT = 256 per half its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.int64]
Mask = NDArray[np.bool_]
UNIT = 256
HUES = 1536  # six sectors of 256
SINE = (0, 98, 181, 237, 256, 237, 181, 98, 0, -98, -181, -237, -256, -237, -181, -98)  # 256 sin(k 22.5 degrees)
TURNS = len(SINE)

_GOLDEN, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # SplitMix64 (Steele et al. 2014)
_WORD = (1 << 64) - 1


class Draws:
    """A stream of whole numbers from a key: SplitMix64 over a counter."""

    def __init__(self, key: int) -> None:
        self._state = key & _WORD

    def word(self) -> int:
        """64 random bits."""
        self._state = (self._state + _GOLDEN) & _WORD
        z = self._state
        z = ((z ^ (z >> 30)) * _MIX1) & _WORD
        z = ((z ^ (z >> 27)) * _MIX2) & _WORD
        return z ^ (z >> 31)

    def between(self, low: int, high: int) -> int:
        """Uniform over low .. high, both included."""
        return low + (self.word() >> 11) % (high - low + 1)

    def chance(self, percent: int) -> bool:
        return self.between(1, 100) <= percent

    def choice(self, items: Sequence[int]) -> int:
        return items[self.between(0, len(items) - 1)]

    def order(self, count: int) -> list[int]:
        """A random order of 0 .. count - 1."""
        return [index for _, index in sorted((self.word(), index) for index in range(count))]

    def bytes_field(self, *shape: int) -> Field:
        """Independent values 0 .. 255 of this shape."""
        count = int(np.prod(shape))
        words = (count + 7) // 8
        z = np.uint64(self.word()) + np.arange(1, words + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_MIX1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX2)
        z ^= z >> np.uint64(31)
        return z.astype("<u8").view(np.uint8)[:count].astype(np.int64).reshape(shape)


def color(hue: int, saturation: int, value: int) -> tuple[int, int, int]:
    """HSV to RGB: hue 0 .. 1535 (taken modulo), saturation and value 0 .. 255."""
    sector, part = divmod(hue % HUES, 256)
    low = value * (255 - saturation) // 255
    rising, falling = low + (value - low) * part // 256, value - (value - low) * part // 256
    return (
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    )[sector]


def wave(phase: Field) -> Field:
    """A sine-like wave by two parabolas: period 1024, range -256 .. 256."""
    half, position = (phase >> 9) & 1, phase & 511
    return position * (512 - position) // 256 * (1 - 2 * half)


def local_axes(x: Field, y: Field, center: tuple[int, int], radius: tuple[int, int], turn: int) -> tuple[Field, Field]:
    """Pixel coordinates -> (u, v) in a shape's own frame; `radius` half its width and height in half pixels."""
    dx, dy = 2 * (x - center[0]), 2 * (y - center[1])
    cosine, sine = SINE[(turn + TURNS // 4) % TURNS], SINE[turn % TURNS]
    return (dx * cosine + dy * sine) // radius[0], (dy * cosine - dx * sine) // radius[1]


def disc(u: Field, v: Field) -> Mask:
    return u * u + v * v <= UNIT * UNIT


def ring(u: Field, v: Field) -> Mask:
    square = u * u + v * v
    return (square <= UNIT * UNIT) & (square >= 140 * 140)


def box(u: Field, v: Field) -> Mask:
    return (abs(u) <= 220) & (abs(v) <= 220)


def triangle(u: Field, v: Field) -> Mask:
    return (v <= 210) & (2 * abs(u) <= v + 256)


def cross(u: Field, v: Field) -> Mask:
    return (abs(u) <= 80) & (abs(v) <= 250) | (abs(v) <= 80) & (abs(u) <= 250)


def star(u: Field, v: Field) -> Mask:
    """Four points: the region under a hyperbola in each quadrant."""
    return (abs(u) + 80) * (abs(v) + 80) <= 165 * 165


def crescent(u: Field, v: Field) -> Mask:
    shifted = u - 110
    return disc(u, v) & (shifted * shifted + v * v > 210 * 210)


def house(u: Field, v: Field) -> Mask:
    walls = (abs(u) <= 180) & (v >= -30) & (v <= 240)
    return walls | (v < -30) & (v >= -250) & (abs(u) <= v + 256)


def car(u: Field, v: Field) -> Mask:
    body = (abs(u) <= 256) & (v >= -20) & (v <= 130)
    cabin = (abs(u) <= 150 + v // 4) & (v >= -160) & (v < -20)
    return body | cabin | car_wheels(u, v)


def car_wheels(u: Field, v: Field) -> Mask:
    du, dv = abs(u) - 140, v - 140
    return 4 * du * du + dv * dv * 2 <= 110 * 110 * 2


def tree(u: Field, v: Field) -> Mask:
    return tree_crown(u, v) | (abs(u) <= 50) & (v >= 40) & (v <= 256)


def tree_crown(u: Field, v: Field) -> Mask:
    dv = v + 80
    return u * u + dv * dv * 3 // 2 <= 200 * 200


SHAPES: dict[str, Callable[[Field, Field], Mask]] = {
    "disc": disc,
    "ring": ring,
    "box": box,
    "triangle": triangle,
    "cross": cross,
    "star": star,
    "crescent": crescent,
    "house": house,
    "car": car,
    "tree": tree,
}
UPRIGHT = frozenset({"house", "car", "tree"})  # drawn with at most a slight tilt


def stripes(x: Field, y: Field, scale: int, turn: int) -> Field:
    """Textures: (H, W) brightness -256 .. 256; `scale` is the period in pixels."""
    across = x * SINE[(turn + TURNS // 4) % TURNS] + y * SINE[turn % TURNS]
    return np.where((across // (UNIT * max(2, scale // 2))) & 1 == 1, 200, -200)


def checks(x: Field, y: Field, scale: int, turn: int) -> Field:
    side = max(2, scale // 2)
    return np.where(((x + turn) // side + y // side) & 1 == 1, 220, -180)


def waves(x: Field, y: Field, scale: int, turn: int) -> Field:
    bend = wave(x * 1024 // (3 * scale) + turn * 64) * scale // (3 * UNIT)
    return wave((y + bend) * 1024 // scale)


def bricks(x: Field, y: Field, scale: int, turn: int) -> Field:
    height = max(3, scale // 2)
    row = (y + turn) // height
    joint = ((y + turn) % height == 0) | ((x + (row & 1) * height) % (2 * height) == 0)
    return np.where(joint, 256, -60)


def speckle(x: Field, y: Field, scale: int, turn: int) -> Field:
    """Grains of 2 x 2 pixels; a multiplicative hash of the grain's place."""
    mixed = ((x // 2) * 73856093 ^ (y // 2) * 19349663 ^ (turn * 83492791 + scale)) & 0xFFFFFF
    mixed = (mixed * 2654435761 >> 12) & 255
    return np.where(mixed < 90, 256, -80)


def gradient(x: Field, y: Field, scale: int, turn: int) -> Field:
    along = x * SINE[turn % TURNS] + y * SINE[(turn + TURNS // 4) % TURNS]
    return np.clip(along // 64, -256, 256)


TEXTURES: dict[str, Callable[[Field, Field, int, int], Field]] = {
    "stripes": stripes,
    "checks": checks,
    "waves": waves,
    "bricks": bricks,
    "speckle": speckle,
    "gradient": gradient,
}
