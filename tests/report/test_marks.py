import math

import pytest

from bench.report.tables.marks import Candidate, compute_marks, is_tie, pooled_sd


def marks(values, better="higher", digits=1):
    found = compute_marks([v if isinstance(v, Candidate) else Candidate(v) for v in values], better, digits)
    return [(m.mark or "") + ("=" if m.tie else "") for m in found]


@pytest.mark.parametrize(
    ("values", "better", "expected"),
    [
        ([33.8, 45.3, 39.2], "higher", ["", "best", "second"]),
        ([33.8, 45.3, 39.2], "lower", ["best", "", "second"]),
        ([None, 45.3, None], "higher", ["", "", ""]),
        ([None, 45.3, 45.0], "higher", ["", "best", "second"]),
        ([None, None], "higher", ["", ""]),
        ([], "higher", []),
        ([0.0, -1.0], "higher", ["best", "second"]),
        ([0.0, 3.0, None], "lower", ["best", "second", ""]),
    ],
)
def test_direction_and_absent_numbers(values, better, expected):
    assert marks(values, better) == expected


def test_numbers_that_print_alike_share_the_mark():
    assert marks([45.31, 45.34, 40.0]) == ["best=", "best=", "second"]
    assert marks([45.31, 45.34, 40.0], digits=2) == ["second", "best", ""]
    assert marks([50.0, 40.01, 40.04, 1.0]) == ["best", "second=", "second=", ""]


def test_a_difference_within_noise_is_a_tie():
    a, b = Candidate(45.0, sd=1.0, n=3), Candidate(44.2, sd=1.0, n=3)
    assert is_tie(a, b, 1)
    assert marks([a, b, Candidate(40.0, sd=1.0, n=3)]) == ["best=", "best=", "second"]


def test_a_difference_of_one_pooled_sd_or_more_is_none():
    a, b = Candidate(45.0, sd=0.5, n=3), Candidate(44.5, sd=0.5, n=3)
    assert not is_tie(a, b, 1)
    assert marks([a, b]) == ["best", "second"]


def test_one_seed_is_marked_by_value_alone():
    assert marks([Candidate(45.0), Candidate(44.9, sd=9.0, n=3)]) == ["best", "second"]


def test_pooled_sd_weighs_by_degrees_of_freedom():
    found = pooled_sd(Candidate(1.0, sd=2.0, n=2), Candidate(1.0, sd=1.0, n=4))
    assert found == pytest.approx(math.sqrt((1 * 4.0 + 3 * 1.0) / 4))
    assert pooled_sd(Candidate(1.0), Candidate(1.0, sd=1.0, n=4)) is None
