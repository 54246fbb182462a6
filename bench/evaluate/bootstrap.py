"""The paired bootstrap over images: how far the difference of two runs depends on which images they were tested on.

A resample draws as many images as the split has, with replacement; the same ones for every run of the split. Both runs
are scored on each, and the interval is that between the percentiles of the differences (Efron & Tibshirani 1993,
Sec. 13.3). It tells of the images alone: two seeds of one network differ, too, and no resample of images shows that.

Shape letters: N images of a split, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.evaluate.outcomes import MOST_CELLS, RunOutcomes, scores
from bench.intervals import CONFIDENCE, Difference, verdict

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Resampled:
    """By metric, fractions: `point` of the split as it is, `values` (R,) of the resamples; nan where none exists."""

    point: Mapping[str, float]
    values: Mapping[str, NDArray[np.float64]]


def resamples(images: int, number: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """Blocks (n, N) of how often each image is drawn, `number` rows in all, the same however they are cut."""
    rng = np.random.default_rng(seed)
    size = max(1, MOST_CELLS // max(1, images))
    for start in range(0, number, size):
        rows = min(size, number - start)
        drawn = rng.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.int32)


def resample(outcomes: RunOutcomes, number: int, seed: int, progress: Progress = lambda done, of: None) -> Resampled:
    """A run on `number` resamples. Two runs are a pair where their images, `number` and `seed` are the same."""
    images = len(outcomes.images)
    point = scores(outcomes, np.ones((1, images), dtype=np.int32))
    blocks, done = [], 0
    for counts in resamples(images, number, seed):
        blocks.append(scores(outcomes, counts))
        done += len(counts)
        progress(done, number)
    values = {metric: np.concatenate([block[metric] for block in blocks]) for metric in point}
    return Resampled({metric: float(value[0]) for metric, value in point.items()}, values)


def differences(one: Resampled, other: Resampled) -> dict[str, Difference]:
    """By metric that both have: the first minus the second, in percentage points. Resamples in which one of them has no
    such number are left out.
    """
    found = {}
    for metric in one.point:
        points = one.point[metric] - other.point[metric]
        all_values = one.values[metric] - other.values[metric]
        values = all_values[~np.isnan(all_values)]
        if np.isnan(points) or not len(values):
            continue
        low, high = np.percentile(values, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
        interval = 100 * float(low), 100 * float(high)
        found[metric] = Difference(
            points=100 * points, low=interval[0], high=interval[1], verdict=verdict(*interval), resamples=len(values)
        )
    return found
