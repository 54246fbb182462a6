"""Arithmetic with units, its text, and slopes against finite differences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.audit.operands import Call, evaluate, parse
from bench.audit.quantity import FUNCTIONS, Quantity, amount, constant, difference, plain, product, ratio, total
from bench.errors import UserError


def sampled(key, value, unit="%"):
    return Quantity(value, unit, plain(value), key, {key: 1.0})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(45.3, "45.3"), (34.0237, "34.02"), (5.000000000000001, "5"), (16384, "16384"), (1e9, "1e9"), (0, "0"),
     (0.9988889, "0.9989"), (0.5379, "0.5379"), (34359738368, "3.436e10"), (-4.7301, "-4.73"), (0.05, "0.05")],
)  # fmt: skip
def test_numbers_are_short(value, shown):
    assert plain(value) == shown


def test_one_point_is_singular():
    assert (amount(1, "points"), amount(1.5, "points"), amount(1, "G"), amount(3, "")) == (
        "1 point",
        "1.5 points",
        "1 G",
        "3",
    )


def test_the_difference_of_two_percentages_is_in_points():
    made = difference([constant(45.3, "%"), constant(33.8, "%")])
    assert (round(made.value, 9), made.unit, str(made)) == (11.5, "points", "45.3 − 33.8 = 11.5 points")


def test_a_relative_change_is_in_percent():
    made = FUNCTIONS["percent_change"][0]([constant(45.3, "%"), constant(33.8, "%")])
    assert made.value == pytest.approx(34.0236686)
    assert str(made) == "100 × (45.3 − 33.8) / 33.8 = 34.02 %"


def test_units_of_products_and_ratios():
    assert product([constant(3), constant(4, "G")]).unit == "G"
    assert ratio([constant(86, "G"), constant(11, "G")]).unit == ""
    assert ratio([constant(86, "G"), constant(2)]).unit == "G"
    assert total([constant(1, "M"), constant(2)]).unit == "M"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: difference([constant(1, "G"), constant(1, "M")]),
        lambda: product([constant(1, "G"), constant(1, "M")]),
        lambda: ratio([constant(1), constant(1, "M")]),
        lambda: ratio([constant(1), constant(0)]),
        lambda: FUNCTIONS["log"][0]([constant(0)]),
        lambda: FUNCTIONS["log"][0]([constant(2, "G")]),
        lambda: FUNCTIONS["percent_change"][0]([constant(2), constant(0)]),
    ],
)
def test_what_has_no_unit_or_no_value_is_refused(wrong):
    with pytest.raises(UserError):
        wrong()


EXPRESSION = parse({"percent_change": [{"sum": ["a", {"product": [2, "b"]}]}, {"ratio": ["b", {"log": [3]}]}]}, "test")


def value_at(a, b):
    return evaluate(EXPRESSION, {"a": sampled("a", a, ""), "b": sampled("b", b, "")}.__getitem__)


@given(st.floats(1, 90), st.floats(1, 90))
def test_slopes_are_the_derivatives(a, b):
    made, step = value_at(a, b), 1e-5
    assert made.value == pytest.approx(100 * ((a + 2 * b) - b / math.log(3)) / (b / math.log(3)))
    by_a = (value_at(a + step, b).value - value_at(a - step, b).value) / (2 * step)
    by_b = (value_at(a, b + step).value - value_at(a, b - step).value) / (2 * step)
    assert made.slopes["a"] == pytest.approx(by_a, rel=1e-4, abs=1e-6)
    assert made.slopes["b"] == pytest.approx(by_b, rel=1e-4, abs=1e-6)


def test_one_sample_twice_cancels():
    assert difference([sampled("x", 40.0), sampled("x", 40.0)]).slopes == {"x": 0.0}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"summ": [1]}, "unknown function 'summ' in here; did you mean 'sum'?"),
        ({"difference": [1]}, "difference takes 2 operands in a list, got 1"),
        ({"ratio": 3}, "ratio takes 2 operands"),
        ({"sum": []}, "sum takes one or more"),
        ({"sum": [1], "ratio": [1, 2]}, "an operand is a number"),
        (True, "an operand is a number"),
        (None, "an operand is a number"),
    ],
)
def test_a_wrong_operand_is_said(raw, said):
    with pytest.raises(UserError) as caught:
        parse(raw, "here")
    assert said in str(caught.value)


def test_operands_nest():
    assert parse({"sum": [1, {"ratio": ["t4.ours.coco.pq", 2]}]}, "") == Call(
        "sum", (1.0, Call("ratio", ("t4.ours.coco.pq", 2.0)))
    )
