"""Fractional Gaussian noise, exact: what the long-range estimators are measured on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fractional_noise(hurst: float, length: int, count: int, seed: int) -> NDArray[np.float64]:
    """(count, length): Gaussian with the autocovariance of increments of fractional Brownian motion, by embedding it in
    a circulant matrix (Davies and Harte 1987), whose square root is a Fourier transform.
    """
    lags = np.arange(length + 1.0)
    covariance = 0.5 * ((lags + 1) ** (2 * hurst) - 2 * lags ** (2 * hurst) + np.abs(lags - 1) ** (2 * hurst))
    row = np.concatenate([covariance, covariance[-2:0:-1]])
    eigenvalues = np.fft.fft(row).real
    assert eigenvalues.min() > -1e-9
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, len(row))) + 1j * rng.standard_normal((count, len(row)))
    return np.fft.fft(np.sqrt(eigenvalues.clip(0) / len(row)) * noise, axis=1).real[:, :length]
