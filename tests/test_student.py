"""Student's t against scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from bench.student import incomplete_beta, t_quantile


@pytest.mark.parametrize(
    ("probability", "freedom", "printed"),
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 4, 2.776), (0.95, 10, 1.812), (0.995, 30, 2.750)],
)
def test_the_tables_of_the_textbooks(probability, freedom, printed):
    assert round(t_quantile(probability, freedom), 3) == printed


@given(st.floats(0.001, 0.999), st.floats(0.5, 1e5))
def test_quantiles_are_scipys(probability, freedom):
    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-6, abs=1e-7)


@given(st.floats(0.6, 0.9999), st.floats(0.5, 1000))
def test_symmetric_and_inverted(probability, freedom):
    x = t_quantile(probability, freedom)
    assert t_quantile(1 - probability, freedom) == pytest.approx(-x, rel=1e-6)
    assert stats.t.cdf(x, freedom) == pytest.approx(probability, abs=1e-10)


@given(st.floats(0.1, 50), st.floats(0.1, 50), st.floats(0, 1))
def test_the_incomplete_beta_is_scipys(a, b, x):
    assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), abs=1e-11)


def test_half_is_zero():
    assert t_quantile(0.5, 3) == 0.0


@pytest.mark.parametrize(("probability", "freedom"), [(0, 2), (1, 2), (1.5, 2), (0.9, 0), (0.9, -1), (float("nan"), 2)])
def test_outside_is_refused(probability, freedom):
    with pytest.raises(ValueError, match="a probability in"):
        t_quantile(probability, freedom)
