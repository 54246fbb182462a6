"""results/intervals: how two runs differ, with intervals over the images of their split; one JSON file a pair. Light.

images.parquet, which an interval is computed from, is too large for git: so the interval is kept, with what it was
computed from. It is shown as long as both runs are what they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.files import Strict, read

FOLDER = "intervals"  # under results/
VERSION = 1  # raised whenever the code changes an interval
RESAMPLES, SEED = 1000, 0  # of what is kept
CONFIDENCE = 0.95
SAME = 1e-7  # percentage points; what metrics.json and images.parquet give differs by less
LONGEST = 200  # characters of a name; file systems take 255 bytes, a part being written has more
Metric = Literal["mIoU", "PQ", "AP"]
Verdict = Literal["higher", "lower", "tie"]


def verdict(low: float, high: float) -> Verdict:
    return "higher" if low > 0 else "lower" if high < 0 else "tie"


class Difference(Strict):
    """The first run minus the second in percentage points, and the interval over `resamples` in which both exist."""

    points: float
    low: float
    high: float
    verdict: Verdict
    resamples: int = Field(ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Difference:
        if self.low > self.high or self.verdict != verdict(self.low, self.high):
            raise ValueError(f"{self.verdict} does not follow from {self.low} to {self.high}")
        return self

    def mirrored(self) -> Difference:
        """The second minus the first."""
        low, high = 0.0 - self.high, 0.0 - self.low
        return Difference(
            points=0.0 - self.points, low=low, high=high, verdict=verdict(low, high), resamples=self.resamples
        )


class Side(Strict):
    """One of the two runs, and the sha256 of its images.parquet as its status.json has it (None in older records)."""

    run_id: str
    images_sha256: str | None


class Interval(Strict):
    """`metrics`: those that both runs have; `images`: in the split, each drawn with replacement in every resample."""

    schema_version: Literal[1] = 1
    version: int = Field(ge=1, description="of the code that computed it")
    first: Side
    second: Side
    images: int = Field(ge=1)
    resamples: int = Field(ge=1)
    seed: int = Field(ge=0)
    metrics: Mapping[Metric, Difference]

    @property
    def pair(self) -> tuple[str, str]:
        return self.first.run_id, self.second.run_id

    def seen_from(self, run_id: str) -> Mapping[Metric, Difference]:
        """The run minus the other one."""
        if run_id == self.first.run_id:
            return self.metrics
        return {metric: difference.mirrored() for metric, difference in self.metrics.items()}


def interval_path(results: Path, one: str, other: str) -> Path:
    """One file for both orders: the ids are sorted, as the sides in it are. Too long a name is told by its sha256."""
    name = "--".join(sorted((one, other)))
    short = name if len(name) <= LONGEST else hashlib.sha256(name.encode()).hexdigest()
    return results / FOLDER / f"{short}.json"


def read_interval(path: Path) -> Interval:
    """Raises UserError where the file is damaged or holds another pair than its name says."""
    interval = read(path, Interval)
    if path.name != interval_path(path.parent, *interval.pair).name or list(interval.pair) != sorted(interval.pair):
        raise UserError(f"{path} holds the interval of {' and '.join(interval.pair)}")
    return interval


def read_intervals(results: Path) -> tuple[list[Interval], dict[str, str]]:
    """Those that can be read, by file name, and what is wrong with each of the others."""
    found, damaged = [], {}
    for path in sorted((results / FOLDER).glob("*.json")):
        try:
            interval = read_interval(path)
        except UserError as error:
            damaged[f"{FOLDER}/{path.name}"] = str(error).partition(";")[0].replace(str(results), results.name)
        else:
            found.append(interval)
    return found, damaged
