"""longrange.json: the statistics of long memory at each level of a trained network, and of its controls. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from bench.errors import UserError
from bench.files import Strict, read, write_bytes
from bench.record import Record
from bench.store import LONGRANGE, REMOVE, changed_files

VERSION = 1  # raised whenever bench/measure/longrange.py or level_statistics.py gives another number
Curve = tuple[float, ...]


class Spread(Strict):
    """An exponent over the series that have one: `n` of them, `sd` with n - 1. None where there are too few."""

    mean: float | None
    sd: float | None
    n: int = Field(ge=0)


class Statistics(Strict):
    """Of `series` series. The curves are means over those that have one, geometric ones for the two that are fitted, so
    that the fit of the mean curve has the mean exponent; empty where none has.
    """

    series: int = Field(ge=0)
    hurst: Spread
    dfa: Spread
    beta: Spread
    autocorrelation: Curve
    fluctuation: Curve
    power: Curve


class Shape(Strict):
    """A height and width that some levels have: the x axes of their curves, and noise of that shape, read alike."""

    height: int = Field(ge=1)
    width: int = Field(ge=1)
    lags: Curve
    windows: Curve
    frequencies: Curve
    white: Statistics
    blurred: Statistics


class Level(Strict):
    """One place of the network. `reason`: why nothing was measured there."""

    name: str
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    reason: str | None
    trained: Statistics | None
    untrained: Statistics | None


class LongRange(Strict):
    """The first `images` of the validation split, `channels` of each level. `statistics`: the VERSION that made it."""

    schema_version: Literal[1] = 1
    statistics: int = Field(ge=1)
    images: int = Field(ge=1)
    channels: int = Field(ge=1)
    scan: Literal["row by row"]
    blur: float = Field(gt=0, description="of the blurred noise: the Gaussian's standard deviation in pixels")
    levels: tuple[Level, ...]
    shapes: tuple[Shape, ...]

    def level(self, name: str) -> Level | None:
        return next((level for level in self.levels if level.name == name), None)

    def shape(self, level: Level) -> Shape | None:
        """None where the level is too small to be measured."""
        size = (level.height, level.width)
        return next((shape for shape in self.shapes if (shape.height, shape.width) == size), None)


def write_longrange(folder: Path, found: LongRange) -> None:
    """Into a run's folder, on one line: it is mostly long lists of numbers."""
    write_bytes(folder / LONGRANGE, f"{found.model_dump_json()}\n".encode())


def read_longrange(record: Record) -> LongRange | None:
    """None where the run has none: an older record, or a network without levels. Raises UserError for a damaged one."""
    path = record.folder / LONGRANGE
    if record.status.state != "done" or LONGRANGE not in (record.status.files or {}):
        return None
    if changed_files(record.folder, record.status, (LONGRANGE,)):
        raise UserError(f"{path} is not as it was written (another sha256); {REMOVE}")
    return read(path, LongRange)


def lacks_longrange(record: Record) -> bool:
    """Whether it has none of today's version."""
    found = read_longrange(record)
    return found is None or found.statistics != VERSION
