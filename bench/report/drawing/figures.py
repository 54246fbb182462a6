"""A chart as plain data, and its drawing as SVG, PNG and PDF: equal charts give equal bytes.

matplotlib is imported when something is drawn, since it takes longer than the rest of a report.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

from bench.report.drawing.looks import COLORS, DASHES, MARKERS, look_of

FORMATS = ("svg", "png", "pdf")
PRINTED_MARKERS = ("X", "*", "p", "h", "d", "8")
PRINTED = "#555555"  # the paper's own numbers, where they are no registered network's
HATCH = "////"  # of the paper's bars
STYLE = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "figure.titlesize": 8.0,
    "xtick.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#d8d8d8",
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "maskattn-bench",  # else every drawing has other ids
}
WIDTH, ROW_HEIGHT, REST_HEIGHT = 7.0, 1.4, 1.0  # inches; a page's text is about 7 wide
DOTS_PER_INCH = 200
GROUP = 0.8  # of the step between two groups of bars, filled by bars
WHISKER_COLOR = "#000000"  # over a bar, whose own colour would hide it
WHISKERS: Mapping[str, Any] = {"capsize": 2.0, "elinewidth": 0.8, "capthick": 0.8}
LEVEL_TEXT = 4  # characters; where a tick's is longer, all stand upright
UNDATED: Mapping[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
Scale = Literal["linear", "integer", "log2", "log10"]


@dataclass(frozen=True)
class Line:
    """Points (x, y) under one name, '' for none in the legend. `method`: the registered network whose colour and marker
    it has (`looks.LOOKS`); without one its place among the panel's lines decides. `errors`: the standard deviation of
    each y over seeds, 0 where there is none; empty: of no point. `printed`: the paper's numbers, as hollow markers
    without a line, or as hatched bars. `look`: (colour, dash) by number, of a line without markers; `dash`: the same in
    a method's colour.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    printed: bool = False
    look: tuple[int, int] | None = None
    method: str = ""
    errors: tuple[float, ...] = ()
    dash: int | None = None
    front: bool = False  # the edge of what any point reaches: a grey staircase


@dataclass(frozen=True)
class Axis:
    """An x axis: with `ticks` (x, text) it names only those places. 'integer' is linear and names whole numbers."""

    label: str
    ticks: tuple[tuple[float, str], ...] = ()
    scale: Scale = "linear"


@dataclass(frozen=True)
class Panel:
    """One set of axes; the y axis goes from `bottom` to `top`, None where the numbers decide. A title may be wider than
    its panel where the next one has none. `bars`: the lines as bars side by side, at x = 0, 1, 2 …
    """

    title: str
    y_label: str
    lines: tuple[Line, ...]
    top: float | None = None
    bottom: float | None = 0.0
    logarithmic: bool = False  # the y axis, to the base 10
    x: Axis | None = None  # where it is not the chart's
    bars: bool = False


@dataclass(frozen=True)
class Chart:
    """Rows of panels over one x axis, or each over its own; the last row may be shorter. With `ticks` (x, text) the
    shared axis is logarithmic to the base 2 and names only those places; without, it is linear and names whole numbers.
    """

    name: str  # of its files
    alt: str  # what is to be seen, for who does not see it
    title: str
    x_label: str
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[tuple[Panel, ...], ...]
    legend: bool = True
    row_height: float = ROW_HEIGHT  # inches

    @property
    def x(self) -> Axis:
        return Axis(self.x_label, self.ticks, "log2" if self.ticks else "integer")

    def draw(self) -> dict[str, bytes]:
        """The files by format: svg, png and pdf."""
        from matplotlib.figure import Figure

        with own_style():
            height = self.row_height * len(self.rows) + REST_HEIGHT
            figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout="constrained")
            shared = not any(panel.x for row in self.rows for panel in row)
            axes = figure.subplots(len(self.rows), max(map(len, self.rows)), sharex=shared, squeeze=False)
            names: dict[str, Any] = {}
            for row, panels in zip(axes, self.rows, strict=True):
                for place, panel in zip_longest(row, panels):
                    if panel is None:
                        place.set_axis_off()
                    else:
                        names |= _draw_panel(place, panel, panel.x or self.x)
            figure.suptitle(self.title)
            if shared:
                _name_lowest(axes, self.x_label)
            if self.legend:
                figure.legend(names.values(), names.keys(), loc="outside lower center", ncols=3, frameon=False)
            return files_of(figure)


@contextmanager
def own_style() -> Iterator[None]:
    """In nobody's own matplotlibrc."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def files_of(figure: Any) -> dict[str, bytes]:
    """The files of a drawn figure by format; it is laid out for the first, and the others keep that."""
    files = {}
    for name in FORMATS:
        files[name] = _bytes(figure, name)
        figure.set_layout_engine("none")
    return files


def _name_lowest(axes: Any, label: str) -> None:
    """The shared x axis is named under the lowest panel of each column."""
    for column in axes.T:
        lowest = [place for place in column if place.axison][-1]
        lowest.set_xlabel(label)
        lowest.tick_params(labelbottom=True)


def _draw_panel(axes: Any, panel: Panel, x: Axis) -> dict[str, Any]:
    """The lines' handles by label, for the legend."""
    axes.set_title(panel.title, loc="left")
    axes.set_ylabel(panel.y_label)
    _draw_x(axes, x, shown=panel.x is not None)
    names: dict[str, Any] = {}
    places = {True: 0, False: 0}
    for number, line in enumerate(panel.lines):
        style = _style(line, places[line.printed])
        shift, width = _place_of_bar(number, len(panel.lines))
        handle = _draw_bars(axes, line, style, shift, width) if panel.bars else _draw_line(axes, line, style)
        names |= {line.label: handle} if line.label else {}
        places[line.printed] += line.look is None and not line.method and not line.front
    if panel.logarithmic:
        axes.set_yscale("log", base=10)
    axes.set_ylim(panel.bottom, panel.top)
    return names


def _draw_x(axes: Any, x: Axis, shown: bool) -> None:
    if x.scale in ("log2", "log10"):
        axes.set_xscale("log", base=2 if x.scale == "log2" else 10)
    if x.ticks:
        places, texts = zip(*x.ticks, strict=True)
        axes.set_xticks(places, texts, rotation=90 if max(map(len, texts)) > LEVEL_TEXT else 0)
        axes.set_xticks([], minor=True)
    elif x.scale == "integer":
        axes.xaxis.get_major_locator().set_params(integer=True)
    if shown:
        axes.set_xlabel(x.label)


def _style(line: Line, place: int) -> dict[str, Any]:
    """matplotlib's colour, marker and line style; `place` counts the lines of its kind that name neither method nor
    look.
    """
    if line.front:
        return {"color": PRINTED, "marker": None, "linestyle": DASHES[1], "drawstyle": "steps-post"}
    if line.method:
        look = look_of(line.method)
        style: dict[str, Any] = {"color": look.color, "marker": look.marker, "linestyle": look.dash}
        if line.dash is not None:
            style |= {"linestyle": DASHES[line.dash % len(DASHES)], "marker": _lone(line)}
    elif line.look is not None:
        color, dash = line.look
        style = {"color": COLORS[color % len(COLORS)], "linestyle": DASHES[dash % len(DASHES)], "marker": _lone(line)}
    elif line.printed:
        style = {"color": PRINTED, "marker": PRINTED_MARKERS[place % len(PRINTED_MARKERS)]}
    else:
        number = place % len(COLORS)
        style = {"color": COLORS[number], "marker": MARKERS[number], "linestyle": DASHES[number]}
    return style | {"linestyle": "none", "markerfacecolor": "none"} if line.printed else style


def _lone(line: Line) -> str | None:
    """A line through one point would not be seen."""
    return MARKERS[0] if len(line.points) == 1 else None


def _draw_line(axes: Any, line: Line, style: Mapping[str, Any]) -> Any:
    x, y = zip(*line.points, strict=True)
    if any(line.errors):
        axes.errorbar(x, y, yerr=line.errors, fmt="none", ecolor=style["color"], **WHISKERS)
    (handle,) = axes.plot(x, y, clip_on=line.look is not None or line.dash is not None, **style)
    return handle


def _place_of_bar(number: int, of: int) -> tuple[float, float]:
    """(shift from the middle of its group, width) of one of several bars side by side."""
    width = GROUP / of
    return (number - (of - 1) / 2) * width, width


def _draw_bars(axes: Any, line: Line, style: Mapping[str, Any], shift: float, width: float) -> Any:
    x, y = zip(*line.points, strict=True)
    look = {"facecolor": "none", "hatch": HATCH} if line.printed else {"facecolor": style["color"]}
    errors: dict[str, Any] = {}
    if any(line.errors):
        errors = {"yerr": line.errors, "ecolor": WHISKER_COLOR, "error_kw": WHISKERS}
    return axes.bar([one + shift for one in x], y, width, edgecolor=style["color"], **look, **errors)


def _bytes(figure: Any, name: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=name, metadata=UNDATED[name])
    return buffer.getvalue()
