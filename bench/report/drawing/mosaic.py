"""Rows of small pictures under common heads, each pixel to be seen. matplotlib is imported when something is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.evaluate.samples import Color
from bench.report.drawing.figures import DOTS_PER_INCH, WIDTH, files_of, own_style

LABELS, MARGIN, GAP = 1.12, 0.05, 0.05  # inches: of the rows' labels; around all; between pictures
LARGEST, TALLEST = 1.4, 7.4  # of a picture's side, and of all rows
HEAD, TITLE_ROW, KEY_ROW = 0.2, 0.16, 0.17
KEYS = 6  # classes a row of the legend
LINE, LONGEST_KEY, TITLE_LINE = 17, 20, 115  # characters of a row's label, a class's name and the title
INK = "#222222"
TEXT, SMALL = 7.0, 6.0


@dataclass(frozen=True, eq=False)
class Strip:
    """One row: its label and a picture a column, (H, W, 3); None where there is none."""

    label: str
    pictures: tuple[NDArray[np.uint8] | None, ...]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Pictures of one size. `heads`: of the columns; `classes`: the legend."""

    name: str
    alt: str
    title: str
    heads: tuple[str, ...]
    strips: tuple[Strip, ...]
    classes: Mapping[str, Color]

    def draw(self) -> dict[str, bytes]:
        """The files by format: svg, png and pdf. In svg and pdf a picture has its own pixels, scaled by the viewer."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        width, height = _sides(self.strips, len(self.heads))
        keys = KEY_ROW * ceil(len(self.classes) / KEYS)
        title = wrap(self.title, TITLE_LINE)
        above = MARGIN + TITLE_ROW * len(title)
        full = above + HEAD + len(self.strips) * (height + GAP) + keys + MARGIN
        with own_style():
            rcParams["text.parse_math"] = False  # a class may be named $
            figure = Figure(figsize=(WIDTH, full), dpi=DOTS_PER_INCH)
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, full))
            axes.set_axis_off()
            _text(axes, MARGIN, full - above / 2, "\n".join(title), TEXT + 0.5)
            top = full - above
            for number, head in enumerate(self.heads):
                _text(axes, _left(number, width), top - HEAD / 2, head, SMALL)
            for row, strip in enumerate(self.strips):
                bottom = top - HEAD - (row + 1) * (height + GAP) + GAP
                _draw_strip(axes, strip, bottom, width, height)
            _draw_keys(axes, self.classes, MARGIN + keys)
            return files_of(figure)


def _sides(strips: Sequence[Strip], columns: int) -> tuple[float, float]:
    """(width, height) of a picture in inches, as they fit on a page."""
    rows, across = next(p.shape[:2] for strip in strips for p in strip.pictures if p is not None)
    room = (WIDTH - LABELS - 2 * MARGIN) / max(columns, 1) - GAP
    width = min(room, LARGEST, (TALLEST / len(strips) - GAP) * across / rows)
    return width, width * rows / across


def _left(number: int, width: float) -> float:
    return MARGIN + LABELS + number * (width + GAP)


def _draw_strip(axes: Any, strip: Strip, bottom: float, width: float, height: float) -> None:
    _text(axes, MARGIN, bottom + height / 2, "\n".join(wrap(strip.label, LINE)), TEXT)
    for number, picture in enumerate(strip.pictures):
        left = _left(number, width)
        if picture is None:
            _text(axes, left + width / 2, bottom + height / 2, "none", SMALL, ha="center")
            continue
        inside = axes.inset_axes((left, bottom, width, height), transform=axes.transData)
        inside.imshow(picture, interpolation="none", aspect="auto")
        inside.set_axis_off()


def _draw_keys(axes: Any, classes: Mapping[str, Color], top: float) -> None:
    from matplotlib.patches import Rectangle

    step = (WIDTH - 2 * MARGIN) / KEYS
    for number, (name, color) in enumerate(classes.items()):
        x, y = MARGIN + step * (number % KEYS), top - KEY_ROW * (number // KEYS + 0.5)
        fill = [part / 255 for part in color]
        axes.add_patch(Rectangle((x, y - 0.045), 0.13, 0.09, facecolor=fill, edgecolor=INK, linewidth=0.3))
        short = name if len(name) <= LONGEST_KEY else f"{name[: LONGEST_KEY - 1]}…"
        _text(axes, x + 0.18, y, short, SMALL)


def _text(axes: Any, x: float, y: float, text: str, points: float, ha: str = "left") -> None:
    axes.text(x, y, text, fontsize=points, ha=ha, va="center", color=INK)
