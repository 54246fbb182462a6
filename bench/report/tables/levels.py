"""The statistics of long memory of each level of a suite's networks and of their controls, from the runs' own files.

Networks are compared place by place: the first level of one with the first of another, which have maps of one size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.errors import UserError
from bench.measure.longrange_record import LongRange, Shape, Spread, Statistics, read_longrange
from bench.record import Record

PLACES = 6  # att1 to att6 of the paper
MODULES = "maskattn-unet"  # the network whose levels those are
UNTRAINED, WHITE, BLURRED = "untrained", "white noise", "blurred noise"
EXPONENTS = ("Hurst", "DFA", "beta")

Given = Sequence[tuple[str, LongRange]]  # run id -> its statistics, the seeds of one row


@dataclass(frozen=True)
class Pooled:
    """One source at one place, over the series of all its runs."""

    runs: tuple[str, ...]
    parts: tuple[Statistics, ...]
    axes: Shape

    def spread(self, exponent: str) -> Spread:
        return pool([_spreads(part)[exponent] for part in self.parts])

    @property
    def series(self) -> int:
        return sum(part.series for part in self.parts)

    def fluctuation(self) -> list[tuple[float, float]]:
        """(n, F(n)): a geometric mean, as each run's, so that its slope is the pooled exponent."""
        weighed = [(part.fluctuation, part.dfa.n) for part in self.parts]
        return _joined(self.axes.windows, weighed)

    def power(self) -> list[tuple[float, float]]:
        weighed = [(part.power, part.beta.n) for part in self.parts]
        return _joined(self.axes.frequencies, weighed)

    def autocorrelation(self) -> list[tuple[float, float]]:
        curves = [part.autocorrelation for part in self.parts if part.autocorrelation]
        return list(zip(self.axes.lags, map(fmean, zip(*curves, strict=True)), strict=True)) if curves else []


@dataclass(frozen=True)
class Place:
    """What is known of one level: `reason` where it is too small to be measured."""

    name: str
    size: str
    reason: str | None
    found: Pooled | None


@dataclass(frozen=True)
class Source:
    """A network, trained or not, or noise of the heights and widths of its levels, which has no `model`. `look`: of its
    lines.
    """

    label: str
    model: str
    look: str
    trained: bool
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Found:
    """What the files of some runs hold: `faults` of those that cannot be shown, `lacking` those that have none."""

    given: Mapping[str, LongRange]
    faults: tuple[str, ...]
    lacking: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        notes = [f"Left out: {fault}" for fault in self.faults]
        if self.lacking:
            how = "`python -m bench evaluate --all` adds them where the weights are kept"
            notes.append(f"{len(self.lacking)} runs have no statistics of their levels; {how}.")
        return notes


def read_all(records: Iterable[Record]) -> Found:
    """Reads the files of these runs alone."""
    given, faults, lacking = {}, [], []
    for record in records:
        try:
            found = read_longrange(record)
        except UserError as error:
            faults.append(str(error).replace(str(record.folder.parent), record.folder.parent.name))
            continue
        if found is None:
            lacking.append(record.run_id)
        elif len(found.levels) == PLACES:
            given[record.run_id] = found
        else:
            faults.append(f"{record.run_id} has {len(found.levels)} levels, not {PLACES}")
    return Found(given, tuple(faults), tuple(lacking))


def network_sources(label: str, model: str, given: Given) -> tuple[Source, Source]:
    """The network as trained, and as it was before."""
    trained = Source(label, model, model, True, _places(given, "trained"))
    look = UNTRAINED if model == MODULES else model
    return trained, Source(f"{label}, untrained", model, look, False, _places(given, "untrained"))


def noise_sources(given: Given) -> tuple[Source, Source]:
    """White and blurred noise of the shapes of these runs' levels."""
    return (
        Source(WHITE, "", WHITE, False, _places(given, "white")),
        Source(BLURRED, "", BLURRED, False, _places(given, "blurred")),
    )


def pool(spreads: Sequence[Spread]) -> Spread:
    """As if all series had been in one sample."""
    known = [(one.mean, one.sd or 0.0, one.n) for one in spreads if one.mean is not None]
    n = sum(count for _, _, count in known)
    if not n:
        return Spread(mean=None, sd=None, n=0)
    mean = sum(count * own for own, _, count in known) / n
    squares = sum((count - 1) * sd**2 + count * (own - mean) ** 2 for own, sd, count in known)
    return Spread(mean=mean, sd=math.sqrt(squares / (n - 1)) if n > 1 else None, n=n)


def _places(given: Given, kind: str) -> tuple[Place, ...]:
    return tuple(_place(given, kind, number) for number in range(PLACES))


def _place(given: Given, kind: str, number: int) -> Place:
    """`kind`: trained or untrained of a level, white or blurred of its shape."""
    runs, parts, axes = [], [], None
    for run, found in given:
        level = found.levels[number]
        shape = found.shape(level)
        part = getattr(level if kind in ("trained", "untrained") else shape, kind) if shape else None
        if part is not None:
            runs.append(run)
            parts.append(part)
            axes = shape
    first = given[0][1].levels[number]
    pooled = Pooled(tuple(runs), tuple(parts), axes) if axes else None
    return Place(first.name, f"{first.height}x{first.width}", first.reason, pooled)


def _spreads(part: Statistics) -> dict[str, Spread]:
    return dict(zip(EXPONENTS, (part.hurst, part.dfa, part.beta), strict=True))


def _joined(x: Sequence[float], weighed: Sequence[tuple[Sequence[float], int]]) -> list[tuple[float, float]]:
    """The weighted geometric mean of curves over one x axis; empty where there is none."""
    known = [(curve, weight) for curve, weight in weighed if curve]
    total = sum(weight for _, weight in known)
    return [
        (place, math.exp(sum(weight * math.log(curve[k]) for curve, weight in known) / total))
        for k, place in enumerate(x if known else ())
    ]
