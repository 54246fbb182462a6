"""From the maps of a network's levels to longrange.json, with the controls that Table 9 of the paper lacks (AUDIT A18):
the network before training, white noise, and noise that was blurred.

A series is one channel of one image, read row by row, as a map lies in memory. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bench.measure.longrange import (
    MIN_LENGTH,
    Estimate,
    autocorrelation,
    dfa,
    frequencies,
    hurst,
    lags,
    psd,
    windows,
)
from bench.measure.longrange_record import VERSION, Curve, Level, LongRange, Shape, Spread, Statistics
from bench.train.seeds import axis_seed

BLUR = 2**0.5  # pixels; that of three 3x3 box filters in a row, as in AUDIT A18
DIGITS = 6  # significant ones that are kept

Maps = Mapping[str, NDArray[Any]]  # level -> (images, channels, height, width)


def longrange_of(trained: Maps, untrained: Maps, seed: int) -> LongRange:
    """`seed`: the run's, of which the noise has a part of its own. Both hold the same levels, images and channels."""
    images, channels = next(iter(trained.values())).shape[:2]
    sizes = dict.fromkeys(maps.shape[2:] for maps in trained.values() if _long_enough(maps))
    return LongRange(
        statistics=VERSION,
        images=images,
        channels=max(maps.shape[1] for maps in trained.values()),
        scan="row by row",
        blur=_rounded(BLUR),
        levels=tuple(_level(name, maps, untrained[name]) for name, maps in trained.items()),
        shapes=tuple(_shape(size, images * channels, seed) for size in sizes),
    )


def statistics_of(series: NDArray[Any]) -> Statistics:
    """series: (S, N)."""
    rescaled, fluctuation, power = hurst(series), dfa(series), psd(series)
    correlation = autocorrelation(series).curves
    return Statistics(
        series=len(series),
        hurst=_spread(rescaled.exponents),
        dfa=_spread(fluctuation.exponents),
        beta=_spread(power.exponents),
        autocorrelation=_curve(correlation.mean(axis=0)) if len(correlation) else (),
        fluctuation=_geometric(fluctuation),
        power=_geometric(power),
    )


def white_noise(count: int, size: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """(count, height, width), the same for equal arguments."""
    key = axis_seed(seed, "long-range control", *size)
    return np.random.Generator(np.random.Philox(key)).standard_normal((count, *size))


def blurred(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """(count, height, width), wrapped at the edges so that each pixel has the same variance."""
    return np.asarray(gaussian_filter(noise, (0, BLUR, BLUR), mode="wrap"))


def rows_read(maps: NDArray[Any]) -> NDArray[np.float64]:
    """(..., height, width) -> (S, height x width), row by row."""
    return maps.reshape(-1, maps.shape[-2] * maps.shape[-1]).astype(np.float64)


def _long_enough(maps: NDArray[Any]) -> bool:
    return bool(maps.shape[-2] * maps.shape[-1] >= MIN_LENGTH)


def _level(name: str, trained: NDArray[Any], untrained: NDArray[Any]) -> Level:
    height, width = trained.shape[2:]
    measured = _long_enough(trained)
    return Level(
        name=name,
        height=height,
        width=width,
        reason=None if measured else f"{height}x{width} are {height * width} values; {MIN_LENGTH} at least",
        trained=statistics_of(rows_read(trained)) if measured else None,
        untrained=statistics_of(rows_read(untrained)) if measured else None,
    )


def _shape(size: tuple[int, int], count: int, seed: int) -> Shape:
    noise, length = white_noise(count, size, seed), size[0] * size[1]
    return Shape(
        height=size[0],
        width=size[1],
        lags=_curve(lags(length)),
        windows=_curve(windows(length)),
        frequencies=_curve(frequencies(length)),
        white=statistics_of(rows_read(noise)),
        blurred=statistics_of(rows_read(blurred(noise))),
    )


def _spread(exponents: Sequence[float | None]) -> Spread:
    known = np.array([one for one in exponents if one is not None])
    return Spread(
        mean=_rounded(known.mean()) if len(known) else None,
        sd=_rounded(known.std(ddof=1)) if len(known) > 1 else None,
        n=len(known),
    )


def _geometric(found: Estimate) -> Curve:
    return _curve(np.exp(np.log(found.curves).mean(axis=0))) if len(found.curves) else ()


def _curve(values: Iterable[float]) -> Curve:
    return tuple(_rounded(value) for value in values)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
