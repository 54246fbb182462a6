"""The drawing of a network as a U: a box a block, a band a resolution, an arrow for everything that feeds something.

matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from bench.report.drawing.blocks import IMAGES, Block, Half, Level
from bench.report.drawing.figures import DOTS_PER_INCH, WIDTH, files_of, own_style

BOX_HEIGHT, ROW, BAND_GAP = 0.36, 0.54, 0.1  # inches
TOP, BOTTOM = 0.6, 0.45  # above the first band, and below the last
COLUMN_WIDTH = 2.3
CENTERS: Mapping[Half, float] = {"down": 1.75, "bottom": 3.72, "up": 5.69, "end": 5.69}  # of the columns
BETWEEN = 0.08  # the blocks at the end, which share a row
BAND_LEFT, LABEL_X = 0.05, 0.12
LONGEST = 115  # characters of a line of the title
CHARACTER = 0.053  # width of one in the legend, on average
# Light enough for black text on them; after Okabe and Ito's colours. Kinds that are not here share the last.
FILLS = {"MaskAttention": "#fbd0a8", "DoubleConv": "#d5e6f5", "Up": "#cbe9dc", "ImageNetNormalization": "#e6e6e6"}
OTHER = "#fcf3c8"
BAND, INK, SKIP = "#f5f5f5", "#333333", "#0072B2"
TEXT, SMALL = 7.0, 6.3


@dataclass(frozen=True)
class Box:
    """A block on the page, in inches; (x, y) is its middle, y grows upwards."""

    block: Block
    half: Half
    x: float
    y: float
    width: float = COLUMN_WIDTH

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y + BOX_HEIGHT / 2

    @property
    def bottom(self) -> float:
        return self.y - BOX_HEIGHT / 2


@dataclass(frozen=True)
class Blueprint:
    """`levels`: of one network, highest resolution first."""

    name: str
    alt: str
    title: str
    levels: tuple[Level, ...]

    def draw(self) -> dict[str, bytes]:
        """The files by format: svg, png and pdf."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        height = sum(_height(level) for level in self.levels) + BAND_GAP * len(self.levels) + TOP + BOTTOM
        with own_style():
            rcParams["text.parse_math"] = False  # names are names
            figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH)
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
            axes.set_axis_off()
            boxes: dict[str, Box] = {}
            top = height - TOP
            for level in self.levels:
                _draw_band(axes, level, top)
                boxes |= {box.block.name: box for box in _boxes(level, top)}
                top -= _height(level) + BAND_GAP
            for box in boxes.values():
                _draw_box(axes, box)
                for source in box.block.inputs:
                    _draw_arrow(axes, boxes.get(source), box)
            title = "\n".join(wrap(self.title, LONGEST))
            axes.text(LABEL_X, height - 0.08, title, fontsize=TEXT + 0.5, va="top", color=INK)
            _draw_legend(axes, boxes)
            return files_of(figure)


def _height(level: Level) -> float:
    """Of its band: the longer half decides; the bottom and the blocks at the end have a row of their own."""
    halves = level.halves
    sides = max(len(halves["down"]), len(halves["up"]) + bool(halves["end"]))
    return ROW * (sides + bool(halves["bottom"]))


def _boxes(level: Level, top: float) -> Iterator[Box]:
    """Down from the upper edge of the band; both halves end in its last row, where what is skipped passes over."""
    rows = round(_height(level) / ROW)
    below = bool(level.halves["bottom"])
    last = rows - 1 - below

    def y(row: float) -> float:
        return top - ROW * (row + 0.5)

    for half, blocks in level.halves.items():
        for number, block in enumerate(blocks):
            if half == "end":
                width = (COLUMN_WIDTH - BETWEEN * (len(blocks) - 1)) / len(blocks)
                x = CENTERS["end"] - COLUMN_WIDTH / 2 + width / 2 + number * (width + BETWEEN)
                yield Box(block, half, x, y(last - len(level.halves["up"])), width)
            else:
                from_last = len(blocks) - 1 - number if half == "down" else number
                yield Box(block, half, CENTERS[half], y(rows - 1 if half == "bottom" else last - from_last))


def _draw_band(axes: Any, level: Level, top: float) -> None:
    from matplotlib.patches import Rectangle

    height = _height(level)
    width = WIDTH - 2 * BAND_LEFT
    axes.add_patch(Rectangle((BAND_LEFT, top - height), width, height, facecolor=BAND, edgecolor="none"))
    rows, columns = level.size
    axes.text(LABEL_X, top - height / 2, f"{rows}×{columns}", fontsize=TEXT, va="center", color=INK)


def _draw_box(axes: Any, box: Box) -> None:
    block = box.block
    draw_box(axes, (box.x, box.y), box.width, block.kind, block.short, block.output, block.parameters)


def draw_box(
    axes: Any,
    middle: tuple[float, float],
    width: float,
    kind: str,
    name: str,
    output: tuple[int, ...] | None,
    parameters: int,
) -> None:
    """A part of a network: its name, and below it the size of its output (of one image) and its parameters."""
    from matplotlib.patches import FancyBboxPatch

    x, y = middle
    shape = FancyBboxPatch(
        (x - width / 2, y - BOX_HEIGHT / 2),
        width,
        BOX_HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.05",
        facecolor=FILLS.get(kind, OTHER),
        edgecolor=INK,
        linewidth=0.6,
        zorder=3,
    )
    axes.add_patch(shape)
    size = "×".join(map(str, (output or ())[1:]))
    centred = {"ha": "center", "va": "center", "color": "black", "zorder": 4}
    axes.text(x, y + 0.075, name, fontsize=TEXT, fontweight="bold", **centred)
    axes.text(x, y - 0.085, f"{size} · {thousands(parameters)}", fontsize=SMALL, **centred)


def _draw_arrow(axes: Any, source: Box | None, box: Box) -> None:
    """From a block (None: the images) to the one that it feeds."""
    if source is None:
        axes.text(box.x, box.top + 0.19, IMAGES, fontsize=SMALL, ha="center", va="center", color=INK)
        line(axes, [(box.x, box.top + 0.13), (box.x, box.top)], INK)
    elif box.half == "up" and source.half == "down":
        line(axes, [(source.right, source.y), (box.left, box.y)], SKIP)
    elif box.half == "bottom" and source.half == "down":
        line(axes, [(source.x, source.bottom), (source.x, box.y), (box.left, box.y)], INK)
    elif source.half == "bottom":
        line(axes, [(source.right, source.y), (box.x, source.y), (box.x, box.bottom)], INK)
    elif source.y > box.y:
        line(axes, [(source.x, source.bottom), (box.x, box.top)], INK)
    else:
        line(axes, [(box.x, source.top), (box.x, box.bottom)], INK)


def line(axes: Any, points: list[tuple[float, float]], color: str) -> None:
    """With a head at its end."""
    if len(points) > 2:
        axes.plot(*zip(*points[:-1], strict=True), color=color, linewidth=0.9, solid_capstyle="butt", zorder=2)
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
    axes.annotate("", xy=points[-1], xytext=points[-2], arrowprops=style, zorder=2)


def _draw_legend(axes: Any, boxes: Mapping[str, Box]) -> None:
    """Each kind of block in the words of the network's own classes, and what the blue arrows are."""
    from matplotlib.patches import Rectangle

    x = LABEL_X
    for kind, count in Counter(box.block.kind for box in boxes.values()).items():
        fill = FILLS.get(kind, OTHER)
        axes.add_patch(Rectangle((x, 0.21), 0.13, 0.1, facecolor=fill, edgecolor=INK, linewidth=0.5))
        text = f"{count} {kind}"
        axes.text(x + 0.18, 0.26, text, fontsize=SMALL, va="center", color=INK)
        x += 0.3 + CHARACTER * len(text)
    line(axes, [(x, 0.26), (x + 0.25, 0.26)], SKIP)
    axes.text(x + 0.3, 0.26, "skip connection", fontsize=SMALL, va="center", color=INK)
    below = "In a box: channels × height × width of its output, and the number of its parameters."
    axes.text(LABEL_X, 0.1, below, fontsize=SMALL, va="center", color=INK)


def thousands(count: int) -> str:
    """'38.8 k', '5.31 M', '129': three digits at least."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if count >= unit:
            value = count / unit
            return f"{value:.2f}{name}" if value < 10 else f"{value:.1f}{name}"
    return str(count)
