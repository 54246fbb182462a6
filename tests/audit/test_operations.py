"""Each operation by hand, and the sentences it gives."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.audit.claims import Test
from bench.audit.operations import OPERATIONS, Comparison, sentence
from bench.audit.quantity import constant
from bench.errors import UserError

DOCS = Path(__file__).parents[2] / "docs" / "audit.md"


def holds(op, args, stated=(), tolerance=0.0, elsewhere=()):
    test = Test(op=op, args=args, stated=stated, tolerance=tolerance, elsewhere=elsewhere)
    made = test.comparisons(lambda name: constant(float(name)))
    assert made
    return all(one.holds for one in made)


@pytest.mark.parametrize(
    ("op", "true", "false"),
    [
        ("restate", ([1, 2], (1, 2)), ([1, 2], (1, 3))),
        ("approx", ([9], 10, 1), ([8.9], 10, 1)),
        ("diff_eq", ([5, 3], 2), ([3, 5], 2)),
        ("diff_approx", ([5, 3], 3, 1), ([5, 3], 3.1, 1)),
        ("diff_gt", ([5, 3], 1.9), ([18.8, 13.8], 5)),
        ("rel_diff_eq", ([6, 4], 50), ([6, 4], 2)),
        ("sum_eq", ([100, 50], 150), ([100, 51], 150)),
        ("lt", ([1, 2, 3],), ([2, 3, 2],)),
        ("le", ([2, 2, 3],), ([3, 4, 2],)),
        ("gt", ([3, 2, 1],), ([3, 2, 3],)),
        ("ge", ([3, 3, 1],), ([3, 4, 1],)),
        ("argmax", ([3, 2, 1],), ([3, 3, 1],)),
        ("all_eq", ([1, 1, 2, 2],), ([1, 1, 2, 3],)),
        ("all_gt", ([2, 1, 5, 4],), ([2, 1, 4, 4],)),
        ("all_lt", ([1, 2], 3), ([1, 3], 3)),
        ("increasing", ([1, 2, 3],), ([1, 2, 2],)),
        ("nonincreasing", ([3, 3, 2],), ([3, 2, 2.5],)),
        ("diff_signs", ([1, 2, 4, 3],), ([1, 2, 3, 4],)),
    ],
)
def test_true_and_false(op, true, false):
    assert holds(op, *true)
    assert not holds(op, *false)


def test_a_setting_is_compared_with_itself_elsewhere_or_not_at_all():
    assert holds("setting", [128], elsewhere=[128])
    assert not holds("setting", [128], elsewhere=[64])
    for op in ("setting", "argmin", "unverifiable"):
        assert Test(op=op, args=[1]).comparisons(lambda name: constant(1)) == []


def test_tolerances_widen_what_includes_equality_alone():
    assert holds("ge", [3, 4], (), 1)
    assert not holds("gt", [3, 3.5], (), 1)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=6))
def test_opposites(values):
    assert holds("argmax", values) == holds("lt", [-v for v in values])
    assert holds("increasing", values) == (values == sorted(set(values)))
    assert holds("nonincreasing", values) == (values == sorted(values, reverse=True))


def test_marks_are_by_rank():
    cells = [constant(v, "G", n).marked(m) for v, n, m in ((4, "a", "none"), (86, "b", "none"), (11, "c", "bold"))]
    low = OPERATIONS["marks_low"].compare(cells, None)
    assert [one.holds for one in low] == [False, True, False]
    assert sentence(low) == ("2 of 3 fail: 4 G (a): printed unmarked, due bold; 11 G (c): printed bold, due underlined")
    assert [one.holds for one in OPERATIONS["marks_high"].compare(cells, None)] == [True, False, False]


@pytest.mark.parametrize(
    ("op", "operands", "stated", "said"),
    [
        ("diff_eq", 3, 1, "takes 2 operands, got 3"),
        ("diff_eq", 2, 0, "takes 1 stated numbers, got 0"),
        ("restate", 2, 1, "takes 2 stated numbers, got 1"),
        ("all_eq", 3, 0, "takes operands in pairs, got 3"),
        ("all_eq", 0, 0, "takes operands in pairs, got 0"),
        ("lt", 1, 0, "takes at least 2 operands, got 1"),
        ("sum_eq", 0, 1, "takes at least 1 operands, got 0"),
        ("gt", 2, 1, "takes 0 stated numbers, got 1"),
    ],
)
def test_a_wrong_number_of_operands_is_said(op, operands, stated, said):
    assert OPERATIONS[op].complaint(operands, stated) == said


def test_the_right_numbers_are_no_complaint():
    assert OPERATIONS["diff_eq"].complaint(2, 1) is None
    assert OPERATIONS["setting"].complaint(0, 0) is None
    assert OPERATIONS["all_eq"].complaint(4, 0) is None


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (
            Comparison(constant(46, "M", "ours"), "<", constant(44, "M", "theirs")),
            "46 M (ours) is not below 44 M (theirs)",
        ),
        (Comparison(constant(8.7, "%"), "=", constant(10), 1.5), "8.7 % is within 1.5 of 10 %"),
        (Comparison(constant(8.7, "%"), "=", constant(10), 1), "8.7 % is not within 1 of 10 %"),
        (Comparison(constant(3), ">=", constant(4), 2), "3 is at least (give or take 2) 4"),
        (Comparison(constant(3), "=", constant(3)), "3 is 3"),
    ],
)
def test_a_sentence_for_each(comparison, said):
    assert str(comparison) == said


def test_many_comparisons_are_told_by_those_that_decide():
    good, bad = Comparison(constant(1), "=", constant(1)), Comparison(constant(1), "=", constant(2))
    assert sentence([good] * 3) == "1 is 1; 1 is 1; 1 is 1"
    assert sentence([good] * 9) == "all 9 hold, such as 1 is 1"
    assert sentence([good, bad]) == "1 of 2 fails: 1 is not 2"
    assert sentence([bad] * 5) == "5 of 5 fail: 1 is not 2; 1 is not 2; 1 is not 2; and 2 more"


def test_a_unit_that_the_numbers_do_not_have_is_refused():
    test = Test(op="approx", args=["a"], stated=3, unit="M")
    with pytest.raises(UserError, match="gives G, and the unit stated is M"):
        test.comparisons(lambda name: constant(3, "G"))
    assert str(test.comparisons(lambda name: constant(3))[0]) == "3 M is 3 M"


def test_every_operation_is_documented():
    named = set(re.findall(r"`([a-z_]+)`", DOCS.read_text()))
    assert set(OPERATIONS) <= named
