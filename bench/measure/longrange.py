"""Four statistics of long memory of many series at once: rescaled range (Hurst exponent), detrended fluctuation
analysis, power spectral density and autocorrelation. What each is worth is measured in docs/longrange.md.

Shape letters: S series, N values of each, K points of a curve, n values of a window, B windows of n values in a series.
Every series is brought to mean 0 and variance 1 first, which changes no exponent and puts the curves on one scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import welch

MIN_LENGTH = 256  # windows of 8 to 64 values: three octaves to fit
SMALLEST_WINDOW = 8  # below it, taking out a line takes most of the fluctuation too
LARGEST_PART = 4  # windows, Welch's segments and lags go up to this part of the series
PER_OCTAVE = 2
PART = 2**17  # values worked on at a time: they stay in a processor's cache
ROUNDING = 1e-9  # a fluctuation below it, of a series of variance 1, is left by rounding

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Of S series: the `exponents`, None where there is none, and the `curves` (R, K) over `x` (K,), a row for each of
    the R series that has one, in order.

    There is none for a series that is constant or not finite, or of which some window or frequency holds nothing but
    rounding, and for any series of fewer than MIN_LENGTH values (K is then 0).
    """

    exponents: tuple[float | None, ...]
    x: Array
    curves: Array


def hurst(series: Array) -> Estimate:
    """The Hurst exponent of each of (S, N): the slope of log R/S over log n (Mandelbrot and Wallis 1969), R/S the mean
    over the windows of n values, which do not overlap; windows that are constant are left out of it.

    Not corrected for its bias (Anis and Lloyd 1976): the correction brings white noise to 0.5 and takes 0.06 from 0.8.
    """
    return _scaling(series, windows, _rescaled_range)


def dfa(series: Array) -> Estimate:
    """The DFA exponent of each of (S, N): the slope of log F(n) over log n, F the root mean square of the integrated
    series after a line was taken out of each window (Peng et al. 1994). Windows do not overlap; what is left over at
    the end is not used.
    """
    return _scaling(series, windows, _fluctuation)


def psd(series: Array) -> Estimate:
    """Beta of each of (S, N), where the power falls as f ** -beta: from Welch's density (Hann, seven segments of a
    quarter, each half over the last), averaged in half octaves so that high frequencies do not outweigh low ones.
    """
    found = _scaling(series, frequencies, _power)
    return Estimate(tuple(None if one is None else -one for one in found.exponents), found.x, found.curves)


def autocorrelation(series: Array) -> Estimate:
    """The autocorrelation of each of (S, N) at `lags`: the sum of products over N, so that it falls to 0. It has no
    exponent: those are all None.
    """
    usable, standard = _standardised(series)
    x = lags(series.shape[-1])
    return Estimate((None,) * len(usable), x, _curves(standard, _correlation, x))


def windows(length: int) -> Array:
    """The sizes n of a window, two an octave; none for a series that is too short."""
    return _octaves(SMALLEST_WINDOW, length // LARGEST_PART) if length >= MIN_LENGTH else np.zeros(0)


def lags(length: int) -> Array:
    return _octaves(1, length // LARGEST_PART) if length >= MIN_LENGTH else np.zeros(0)


def frequencies(length: int) -> Array:
    """The mean frequency of each half octave, in cycles a value, up to 0.5."""
    if length < MIN_LENGTH:
        return np.zeros(0)
    segment = length // LARGEST_PART
    starts = _bins(segment)
    return np.add.reduceat(np.arange(1, segment // 2 + 1) / segment, starts) / _widths(starts, segment)


def _octaves(first: int, last: int) -> Array:
    steps = np.arange(np.log2(first), np.log2(last) + 1e-9, 1 / PER_OCTAVE)
    return np.unique(np.rint(2**steps))


def _bins(segment: int) -> NDArray[np.int64]:
    """Where each half octave of Welch's frequencies 1 ... segment / 2 begins; none holds the last frequency alone."""
    return _octaves(1, segment // 2 - 1).astype(np.int64) - 1


def _widths(starts: NDArray[np.int64], segment: int) -> NDArray[np.int64]:
    return np.diff(starts, append=segment // 2)


def _scaling(series: Array, axis: Callable[[int], Array], curve: Callable[[Array, Array], Array]) -> Estimate:
    """The slope of log curve over log x for each series that has one."""
    usable, standard = _standardised(series)
    x = axis(series.shape[-1])
    if not len(x):
        return Estimate((None,) * len(usable), x, np.zeros((0, 0)))
    curves = _curves(standard, curve, x)
    whole: NDArray[np.bool_] = np.all(curves > 0, axis=1)
    kept, slopes = iter(whole), iter(_slopes(x, curves[whole]).tolist())
    exponents = tuple(next(slopes) if given and next(kept) else None for given in usable)
    return Estimate(exponents, x, curves[whole])


def _standardised(series: Array) -> tuple[list[bool], Array]:
    """Which of (S, N) can be measured, and those at mean 0 and variance 1."""
    if series.shape[-1] < MIN_LENGTH:
        return [False] * len(series), np.zeros((0, series.shape[-1]))
    usable = np.isfinite(series).all(axis=1) & (series.max(axis=1) > series.min(axis=1))
    kept = series[usable].astype(np.float64)
    centred = kept - kept.mean(axis=1, keepdims=True)
    return usable.tolist(), centred / centred.std(axis=1, keepdims=True)


def _curves(series: Array, curve: Callable[[Array, Array], Array], x: Array) -> Array:
    """(S, N) -> (S, K), some series at a time."""
    step = max(1, PART // series.shape[1])
    parts = [curve(series[start : start + step], x) for start in range(0, len(series), step)]
    return np.concatenate([np.zeros((0, len(x))), *parts])


def _slopes(x: Array, curves: Array) -> Array:
    """Least squares in logarithms: (K,), (S, K) -> (S,)."""
    centred = np.log(x) - np.log(x).mean()
    return (np.log(curves) * centred).sum(axis=1) / (centred**2).sum()


def _windowed(series: Array, n: int) -> Array:
    """(S, N) -> (S, B, n), without the rest at the end."""
    count = series.shape[1] // n
    return series[:, : count * n].reshape(len(series), count, n)


def _rescaled_range(series: Array, x: Array) -> Array:
    found = np.zeros((len(series), len(x)))
    for place, n in enumerate(x.astype(int)):
        values = _windowed(series, n)
        moving = values.max(axis=-1) > values.min(axis=-1)
        centred = values - values.mean(axis=-1, keepdims=True)
        profile = centred.cumsum(axis=-1)
        deviation = np.where(moving, np.sqrt((centred**2).mean(axis=-1)), 1.0)
        ratios = np.where(moving, (profile.max(axis=-1) - profile.min(axis=-1)) / deviation, 0.0)
        found[:, place] = ratios.sum(axis=-1) / np.maximum(moving.sum(axis=-1), 1)
    return found


def _fluctuation(series: Array, x: Array) -> Array:
    profile, found = series.cumsum(axis=1), np.zeros((len(series), len(x)))
    for place, n in enumerate(x.astype(int)):
        values = _windowed(profile, n)
        time = np.arange(n) - (n - 1) / 2
        centred = values - values.mean(axis=-1, keepdims=True)
        slopes = (centred * time).sum(axis=-1, keepdims=True) / (time**2).sum()
        found[:, place] = np.sqrt(((centred - slopes * time) ** 2).mean(axis=(1, 2)))
    return np.where(found > ROUNDING, found, 0.0)


def _power(series: Array, x: Array) -> Array:
    segment = series.shape[1] // LARGEST_PART
    density = welch(series, nperseg=segment, axis=1)[1][:, 1:]
    starts = _bins(segment)
    found: Array = np.add.reduceat(density, starts, axis=1) / _widths(starts, segment)
    return np.where(found > ROUNDING**2, found, 0.0)


def _correlation(series: Array, x: Array) -> Array:
    length = series.shape[1]
    spectrum = rfft(series, next_fast_len(2 * length, real=True), axis=1)
    products: Array = irfft(np.abs(spectrum) ** 2, next_fast_len(2 * length, real=True), axis=1)
    return products[:, x.astype(int)] / length
