"""A chart as plain data, and its drawing as SVG, PNG and PDF: equal charts give equal bytes.

matplotlib is imported when something is drawn, since it takes longer than the rest of a report.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

FORMATS = ("svg", "png", "pdf")
# Okabe and Ito (2008), told apart with any colour vision; a marker and a dash each, for print without colour.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
PRINTED_MARKERS = ("X", "*", "p", "h", "d", "8")
DASHES = ("-", "--", ":", "-.", (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)))
PRINTED = "#555555"  # the paper's own numbers
STYLE = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "figure.titlesize": 8.0,
    "xtick.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#d8d8d8",
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "maskattn-bench",  # else every drawing has other ids
}
WIDTH, ROW_HEIGHT, REST_HEIGHT = 7.0, 1.4, 1.0  # inches; a page's text is about 7 wide
DOTS_PER_INCH = 200
UNDATED: Mapping[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Line:
    """Points (x, y) under one name. `printed`: the paper's numbers, drawn as hollow markers without a line. `look`:
    (colour, dash) by number, of a line without markers; None: by its place among the panel's lines.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    printed: bool = False
    look: tuple[int, int] | None = None


@dataclass(frozen=True)
class Panel:
    """One set of axes; the y axis goes from `bottom` to `top`, None where the numbers decide. A title may be wider than
    its panel where the next one has none.
    """

    title: str
    y_label: str
    lines: tuple[Line, ...]
    top: float | None = None
    bottom: float | None = 0.0
    logarithmic: bool = False  # the y axis, to the base 10


@dataclass(frozen=True)
class Chart:
    """Rows of panels over one x axis; the last row may be shorter. With `ticks` (x, text) the axis is logarithmic to
    the base 2 and names only those places; without, it is linear and names what it likes.
    """

    name: str  # of its files
    alt: str  # what is to be seen, for who does not see it
    title: str
    x_label: str
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[tuple[Panel, ...], ...]
    legend: bool = True
    row_height: float = ROW_HEIGHT  # inches

    def draw(self) -> dict[str, bytes]:
        """The files by format: svg, png and pdf."""
        import matplotlib
        from matplotlib.figure import Figure

        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # nobody's own matplotlibrc
            matplotlib.rcParams.update(STYLE)
            height = self.row_height * len(self.rows) + REST_HEIGHT
            figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout="constrained")
            axes = figure.subplots(len(self.rows), max(map(len, self.rows)), sharex=True, squeeze=False)
            names: dict[str, Any] = {}
            for row, panels in zip(axes, self.rows, strict=True):
                for place, panel in zip_longest(row, panels):
                    if panel is None:
                        place.set_axis_off()
                    else:
                        names |= _draw_panel(place, panel, self)
            figure.suptitle(self.title)
            for column in axes.T:
                lowest = [place for place in column if place.axison][-1]
                lowest.set_xlabel(self.x_label)
                lowest.tick_params(labelbottom=True)
            if self.legend:
                figure.legend(names.values(), names.keys(), loc="outside lower center", ncols=3, frameon=False)
            return {name: _bytes(figure, name) for name in FORMATS}


def _draw_panel(axes: Any, panel: Panel, chart: Chart) -> dict[str, Any]:
    """The lines' handles by label, for the legend."""
    axes.set_title(panel.title, loc="left")
    axes.set_ylabel(panel.y_label)
    if chart.ticks:
        axes.set_xscale("log", base=2)
        places, texts = zip(*chart.ticks, strict=True)
        axes.set_xticks(places, texts, rotation=90)
        axes.set_xticks([], minor=True)
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    names = {}
    ours = printed = 0
    for line in panel.lines:
        x, y = zip(*line.points, strict=True)
        if line.printed:
            look: dict[str, Any] = {"color": PRINTED, "marker": PRINTED_MARKERS[printed], "linestyle": "none"}
            (names[line.label],) = axes.plot(x, y, markerfacecolor="none", clip_on=False, **look)
            printed += 1
        elif line.look is not None:
            color, dash = (number % len(COLORS) for number in line.look)
            look = {"color": COLORS[color], "linestyle": DASHES[dash], "marker": MARKERS[0] if len(x) == 1 else None}
            (names[line.label],) = axes.plot(x, y, **look)
        else:
            look = {"color": COLORS[ours], "marker": MARKERS[ours], "linestyle": DASHES[ours]}
            (names[line.label],) = axes.plot(x, y, clip_on=False, **look)
            ours += 1
    if panel.logarithmic:
        axes.set_yscale("log", base=10)
    axes.set_ylim(panel.bottom, panel.top)
    return names


def _bytes(figure: Any, name: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=name, metadata=UNDATED[name])
    return buffer.getvalue()
