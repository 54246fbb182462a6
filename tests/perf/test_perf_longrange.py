"""The four long-range statistics of many series: how many a second, and our DFA beside antropy's, which is compiled."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.measure.longrange import autocorrelation, dfa, hurst, psd
from tests.measure.fractional import fractional_noise

SERIES, LENGTH, SOME = 1000, 16_384, 100


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.perf
def test_a_thousand_series_and_dfa_beside_antropys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import antropy  # compiles for ten seconds
    from antropy.fractal import _log_n

    series = np.concatenate([fractional_noise(0.7, LENGTH, SOME, seed) for seed in range(SERIES // SOME)])
    took = {one.__name__: seconds(lambda one=one: one(series)) for one in (hurst, dfa, psd, autocorrelation)}
    found = dfa(series[:SOME]).exponents
    monkeypatch.setattr("bench.measure.longrange.windows", lambda length: _log_n(4, 0.1 * length, 1.2).astype(float))
    ours = seconds(lambda: dfa(series[:SOME]))
    theirs = seconds(lambda: [antropy.detrended_fluctuation(one) for one in series[:SOME]])
    exponents = [antropy.detrended_fluctuation(one) for one in series[:SOME]]
    assert dfa(series[:SOME]).exponents == pytest.approx(exponents, abs=1e-9)
    assert np.mean(found) == pytest.approx(np.mean(exponents), abs=0.01)
    total = sum(took.values())
    parts = ", ".join(f"{name} {one:.1f}" for name, one in took.items())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{SERIES} series of {LENGTH} values, all four statistics: {total:.1f} s, {SERIES / total:.0f} a second "
            f"({parts}); DFA in antropy's windows takes {ours / theirs:.2f} of antropy's time\n"
        )
    assert ours < 10 * theirs
