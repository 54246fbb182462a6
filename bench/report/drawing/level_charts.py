"""Figures 6 and 7: autocorrelation, DFA and power spectrum of some levels, and their exponents, beside the controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from bench.measure.longrange_record import Spread
from bench.report.drawing.figures import Axis, Chart, Line, Panel
from bench.report.tables.levels import EXPONENTS, MODULES, Pooled, Source
from bench.report.tables.table import number

ROW_HEIGHT = 1.6  # inches
MOST_TICKS = 4  # that fit below a panel
SHIFT = 0.1  # between two sources at one level, of the distance between levels
Y_LABELS = {"Hurst": "Hurst exponent", "DFA": "DFA exponent", "beta": "PSD slope β"}
FIT = (3, 1)  # its look: a colour that no source has, dashed
Points = list[tuple[float, float]]
Values = Mapping[tuple[int, str], float]


def level_chart(name: str, title: str, sources: Sequence[Source], levels: range, papers: Values) -> Chart:
    """A row of panels a curve, a panel a level; the last row has the exponents of all of them. `papers`: its numbers,
    where they may stand beside ours. A fit is the first source's: its slope is the mean exponent of the table.
    """
    drawn = [source for source in sources if source.trained or source.look != source.model]
    measured = [level for level in levels if any(source.places[level].found for source in drawn)]
    return Chart(
        name=name,
        alt=f"Autocorrelation, detrended fluctuation and power spectrum of {', '.join(s.label for s in drawn)} at each "
        "level, and their exponents, which the table has",
        title=title,
        x_label="",
        ticks=(),
        rows=(
            tuple(_correlation(drawn, level) for level in measured),
            tuple(_fluctuation(drawn, level) for level in measured),
            tuple(_power(drawn, level) for level in measured),
            tuple(_exponents(drawn, exponent, measured, papers) for exponent in EXPONENTS),
        ),
        row_height=ROW_HEIGHT,
    )


def _correlation(sources: Sequence[Source], level: int) -> Panel:
    place = sources[0].places[level]
    lines = _lines(sources, level, Pooled.autocorrelation)
    return Panel(f"{place.name}, {place.size}", "autocorrelation", lines, bottom=None, x=_axis("lag (values)", lines))


def _fluctuation(sources: Sequence[Source], level: int) -> Panel:
    lines = _lines(sources, level, Pooled.fluctuation)
    fit, told = _fit(sources[0], level, Pooled.fluctuation, "DFA", 1)
    x = _axis("window n (values)", lines)
    return Panel(told and f"fitted α = {told}", "F(n)", (*lines, *fit), bottom=None, logarithmic=True, x=x)


def _power(sources: Sequence[Source], level: int) -> Panel:
    lines = _lines(sources, level, Pooled.power)
    fit, told = _fit(sources[0], level, Pooled.power, "beta", -1)
    x = _axis("1 / frequency (values)", lines, inverse=True)
    return Panel(told and f"fitted β = {told}", "power density", (*lines, *fit), bottom=None, logarithmic=True, x=x)


def _exponents(sources: Sequence[Source], exponent: str, levels: Sequence[int], papers: Values) -> Panel:
    """Mean and standard deviation over the series, side by side at each level."""
    lines = []
    for number_, source in enumerate(sources):
        shift = SHIFT * (number_ - (len(sources) - 1) / 2)
        known = [(n + shift, _spread(source, level, exponent)) for n, level in enumerate(levels)]
        points = [(x, spread.mean, spread.sd or 0.0) for x, spread in known if spread and spread.mean is not None]
        if points:
            places, errors = tuple((x, y) for x, y, _ in points), tuple(sd for *_, sd in points)
            lines.append(Line(source.label, places, method=source.look, errors=errors))
    printed = tuple(
        (n - 3 * SHIFT, papers[level, exponent]) for n, level in enumerate(levels) if (level, exponent) in papers
    )
    if printed:
        lines.append(Line("the paper's", printed, printed=True, method=MODULES))
    ticks = tuple((float(n), sources[0].places[level].name) for n, level in enumerate(levels))
    return Panel("", Y_LABELS[exponent], tuple(lines), bottom=None, x=Axis("level", ticks))


def _lines(sources: Sequence[Source], level: int, curve: Callable[[Pooled], Points]) -> tuple[Line, ...]:
    found = [(source, source.places[level].found) for source in sources]
    curves = [(source, curve(pooled)) for source, pooled in found if pooled]
    return tuple(Line(source.label, tuple(points), method=source.look) for source, points in curves if points)


def _fit(
    source: Source, level: int, curve: Callable[[Pooled], Points], exponent: str, sign: int
) -> tuple[tuple[Line, ...], str]:
    """The straight line through a curve's middle with the pooled exponent as its slope, and that exponent in words."""
    found, spread = source.places[level].found, _spread(source, level, exponent)
    points = curve(found) if found else []
    if not points or spread is None or spread.mean is None:
        return (), ""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x, y = (fmean(values) for values in zip(*logs, strict=True))
    ends = [(math.exp(place), math.exp(y + sign * spread.mean * (place - x))) for place, _ in (logs[0], logs[-1])]
    return (Line(f"fit to {source.label}", tuple(ends), look=FIT),), number(spread.mean, 2)


def _spread(source: Source, level: int, exponent: str) -> Spread | None:
    found = source.places[level].found
    return found.spread(exponent) if found else None


def _axis(label: str, lines: Sequence[Line], inverse: bool = False) -> Axis:
    """To the base 2, with a tick at each power of 4 (of 16, where those are many) that the lines reach; `inverse`: at
    one over it.
    """
    reach = [x for line in lines for x, _ in line.points]
    places = [(4.0**-n if inverse else 4.0**n, str(4**n)) for n in range(10)]
    ticks = [(place, text) for place, text in places if reach and min(reach) <= place <= max(reach)]
    if len(ticks) > MOST_TICKS:
        ticks = [(place, text) for place, text in ticks if math.log2(place) % 4 == 0]
    return Axis(label, tuple(ticks), "log2")
