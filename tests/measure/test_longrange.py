"""The estimators of long memory: on noise of known exponents, against slow loops, and where there is no number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bench.measure.longrange import MIN_LENGTH, autocorrelation, dfa, frequencies, hurst, lags, psd, windows
from tests.measure.fractional import fractional_noise

ESTIMATORS = (hurst, dfa, psd)


def mean_error(estimate, series, truth):
    return float(np.mean(estimate(series).exponents)) - truth


@pytest.fixture(scope="module")
def noises():
    return {h: fractional_noise(h, 16_384, 20, round(10 * h)) for h in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)}


def test_the_noise_has_the_covariance_of_its_exponent():
    """By hand: the covariance of neighbours is 2 ** (2 H - 1) - 1."""
    for exponent in (0.3, 0.5, 0.8):
        noise = fractional_noise(exponent, 4096, 100, 3)
        assert noise.var() == pytest.approx(1, abs=0.05)
        assert (noise[:, 1:] * noise[:, :-1]).mean() == pytest.approx(2 ** (2 * exponent - 1) - 1, abs=0.02)


@pytest.mark.parametrize("exponent", [0.5, 0.6, 0.7, 0.8])
def test_exponents_of_fractional_noise(noises, exponent):
    assert abs(mean_error(dfa, noises[exponent], exponent)) < 0.03
    assert abs(mean_error(hurst, noises[exponent], exponent)) < 0.05
    assert abs(mean_error(psd, noises[exponent], 2 * exponent - 1)) < 0.05


@pytest.mark.parametrize(("exponent", "of_hurst"), [(0.3, 0.07), (0.9, -0.05)])
def test_the_bias_beyond_is_as_documented(noises, exponent, of_hurst):
    assert abs(mean_error(dfa, noises[exponent], exponent)) < 0.03
    assert mean_error(hurst, noises[exponent], exponent) == pytest.approx(of_hurst, abs=0.02)


@pytest.mark.parametrize(("length", "of_hurst"), [(256, 0.086), (1024, 0.067), (4096, 0.050), (16_384, 0.037)])
def test_white_noise_of_each_length_has_the_documented_hurst_exponent(length, of_hurst):
    noise = np.random.default_rng(length).standard_normal((400_000 // length, length))
    assert mean_error(hurst, noise, 0.5) == pytest.approx(of_hurst, abs=0.012)
    assert abs(mean_error(dfa, noise, 0.5)) < 0.015


def test_the_integral_of_white_noise_has_one_more():
    walk = np.random.default_rng(0).standard_normal((20, 4096)).cumsum(axis=1)
    assert np.mean(dfa(walk).exponents) == pytest.approx(1.5, abs=0.05)
    assert np.mean(psd(walk).exponents) == pytest.approx(2, abs=0.15)


def slow_hurst(series):
    logs = []
    for n in windows(len(series)).astype(int):
        ratios = []
        for start in range(0, len(series) - n + 1, n):
            part = series[start : start + n]
            if part.std() > 0:
                profile = np.cumsum(part - part.mean())
                ratios.append((profile.max() - profile.min()) / part.std())
        logs.append((math.log(n), math.log(np.mean(ratios))))
    return np.polyfit(*zip(*logs, strict=True), 1)[0]


def slow_dfa(series):
    profile, logs = np.cumsum(series - series.mean()), []
    for n in windows(len(series)).astype(int):
        squares = []
        for start in range(0, len(series) - n + 1, n):
            part = profile[start : start + n]
            squares.append(np.mean((part - np.polyval(np.polyfit(range(n), part, 1), range(n))) ** 2))
        logs.append((math.log(n), math.log(np.mean(squares)) / 2))
    return np.polyfit(*zip(*logs, strict=True), 1)[0]


def slow_beta(series):
    frequency, power = signal.welch((series - series.mean()) / series.std(), nperseg=len(series) // 4)
    starts = sorted({round(2 ** (k / 2)) for k in range(40) if 2 ** (k / 2) < len(frequency) - 2 + 1e-6})
    ends = [*starts[1:], len(frequency)]
    cut = [(frequency[a:b].mean(), power[a:b].mean()) for a, b in zip(starts, ends, strict=True)]
    return -np.polyfit(*np.log(cut).T, 1)[0]


@settings(max_examples=12, deadline=None)
@given(
    length=st.integers(MIN_LENGTH, 700),
    exponent=st.floats(0.2, 0.95),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    offset=st.sampled_from([0.0, -3.0]),
    seed=st.integers(0, 10**6),
)
def test_the_whole_batch_is_what_a_loop_gives_each(length, exponent, scale, offset, seed):
    series = scale * (fractional_noise(exponent, length, 3, seed) + offset)
    for fast, slow in ((hurst, slow_hurst), (dfa, slow_dfa), (psd, slow_beta)):
        assert fast(series).exponents == pytest.approx([slow(one) for one in series], rel=1e-6, abs=1e-6)


def test_autocorrelation_by_hand():
    series = np.random.default_rng(1).standard_normal((2, 512)).cumsum(axis=1)
    found = autocorrelation(series)
    for row, one in zip(found.curves, series, strict=True):
        centred = one - one.mean()
        direct = [(centred[: -int(k)] * centred[int(k) :]).sum() / (centred**2).sum() for k in found.x]
        assert row == pytest.approx(direct, abs=1e-12)
    assert found.exponents == (None, None)
    alternating = np.tile([1.0, -1.0], 256)[None]
    assert autocorrelation(alternating).curves[0, :2] == pytest.approx([-511 / 512, 510 / 512])


def test_curves_have_the_slopes_that_are_their_exponents(noises):
    for estimate, sign in ((hurst, 1), (dfa, 1), (psd, -1)):
        found = estimate(noises[0.7])
        slopes = [np.polyfit(np.log(found.x), np.log(curve), 1)[0] for curve in found.curves]
        assert np.multiply(slopes, sign) == pytest.approx(list(found.exponents))


def test_axes_are_half_octaves():
    assert windows(256).tolist() == [8, 11, 16, 23, 32, 45, 64]
    assert lags(256).tolist() == [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64]
    assert (frequencies(256) * 64).tolist() == [1, 2, 3, 4.5, 6.5, 9, 13, 19, 27.5]


@pytest.mark.parametrize("estimate", [*ESTIMATORS, autocorrelation])
def test_a_series_without_a_number_is_none_and_takes_none_from_the_others(estimate):
    """Constant, constant but for rounding nothing, not finite."""
    good = np.random.default_rng(2).standard_normal(1000)
    bad = [np.full(1000, 0.1), np.where(np.arange(1000) == 7, np.nan, good), np.where(good > 3, np.inf, good)]
    together = np.stack([bad[0], good, bad[1], bad[2]])
    found, alone = estimate(together), estimate(good[None])
    assert [one is None for one in found.exponents] == [True, alone.exponents[0] is None, True, True]
    assert found.exponents[1] == alone.exponents[0]
    assert np.array_equal(found.curves, alone.curves)
    assert np.isfinite(found.curves).all()


@pytest.mark.parametrize("estimate", [*ESTIMATORS, autocorrelation])
def test_too_short_a_series_has_no_number(estimate):
    short = estimate(np.random.default_rng(3).standard_normal((2, MIN_LENGTH - 1)))
    assert short.exponents == (None, None)
    assert short.curves.shape[1] == len(short.x) == 0
    assert len(estimate(np.random.default_rng(3).standard_normal((2, MIN_LENGTH))).x) > 0
    assert estimate(np.zeros((0, 1000))).exponents == ()


def test_what_is_left_by_rounding_is_no_fluctuation():
    """Steps of 512 equal values: no window of 256 or fewer sees one, and each is a line in the integrated series."""
    steps = np.repeat([0.1, 0.7, 0.3, 0.9], 512)[None]
    assert dfa(steps).exponents == (None,)
    assert hurst(steps).exponents == (None,)


def test_a_batch_larger_than_a_part_is_each_of_its_series():
    series = np.random.default_rng(4).standard_normal((40, 16_384))
    for estimate in ESTIMATORS:
        assert estimate(series).exponents[-2:] == estimate(series[-2:]).exponents
