"""Student's t distribution: the quantile that an interval over a few seeds needs. Neither scipy nor numpy.

The tail probability is the regularised incomplete beta function, by its continued fraction (Abramowitz & Stegun
26.5.8 and 26.7.1); the quantile inverts it by bisection.
"""

from __future__ import annotations

import math

TINY = 1e-300  # keeps the continued fraction from dividing by zero
PRECISION = 1e-15
MAX_TERMS = 10_000


def t_quantile(probability: float, freedom: float) -> float:
    """x with P(T <= x) = `probability`, for `freedom` > 0 degrees of freedom, whole or not. ValueError outside.

    >>> round(t_quantile(0.975, 2), 3)
    4.303
    """
    if not 0 < probability < 1 or not freedom > 0:
        raise ValueError(f"a probability in (0, 1) and a freedom above 0; got {probability} and {freedom}")
    if probability == 0.5:
        return 0.0
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while _upper_tail(high, freedom) > 1 - probability:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _upper_tail(middle, freedom) > 1 - probability else (low, middle)
    return high


def _upper_tail(x: float, freedom: float) -> float:
    """P(T > x) for x >= 0."""
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + x * x)) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), x in [0, 1]."""
    if x in (0, 1):
        return float(x)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly, by the symmetry
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * _continued_fraction(a, b, x) / a


def _continued_fraction(a: float, b: float, x: float) -> float:
    """1 / (1 + d1 / (1 + d2 / ...)), from the front (Lentz's method)."""
    c, d = math.inf, 1.0
    result = d
    for n in range(1, MAX_TERMS):
        m = n // 2
        if n % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        c = _not_zero(1 + term / c)
        d = 1 / _not_zero(1 + term * d)
        result *= c * d
        if abs(c * d - 1) < PRECISION:
            return result
    raise ValueError(f"I_{x}({a}, {b}) did not converge")


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
