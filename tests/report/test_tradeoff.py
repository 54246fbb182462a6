"""Accuracy against cost: which rows are drawn where, and which no other row beats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.build import exhibit_of, read_records
from bench.report.drawing.tradeoff import FRONT, NO_TIMES, Point, pareto_front

MACHINE = {"device": "cpu", "processor": "P", "threads": 1}


def point(cost: float, score: float) -> Point:
    return Point("", "", cost, score, 0.0)


def chart(fake, suite):
    figures = exhibit_of(suite, read_records(fake.store)[0], {}).sections[0].figures
    return next((one for one in figures if one.name.endswith("-tradeoff")), None)


def test_the_front_of_a_case_worked_by_hand():
    points = [point(2, 10), point(1, 5), point(3, 9), point(4, 12), point(4, 11), point(2, 10), point(5, 12)]
    assert [(one.cost, one.score) for one in pareto_front(points)] == [(1, 5), (2, 10), (4, 12)]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_a_point_is_beaten_exactly_where_another_is_as_cheap_and_as_good_and_not_equal(pairs):
    """Against the definition, pair by pair."""
    front = {(one.cost, one.score) for one in pareto_front([point(*pair) for pair in pairs])}
    beaten = {a for a in pairs for b in pairs if b != a and b[0] <= a[0] and b[1] >= a[1]}
    assert front == {*pairs} - beaten


def test_each_row_is_a_point_with_its_mean_and_spread(fake, suite):
    for seed, pq, seconds in ((0, 0.30, 10.0), (1, 0.34, 20.0)):
        fake.done("unet", pq=pq, flops=12e9, seed=seed, attempt={**MACHINE, "seconds_train": seconds})
    fake.done("detr-r50", pq=0.25, flops=8e9, attempt={**MACHINE, "seconds_train": 40.0})
    ((flops, times),) = chart(fake, suite).rows
    front, *lines = flops.lines
    assert {line.label: line.points for line in lines} == {"U-Net": ((12.0, 32.0),), "DETR-R50": ((8.0, 25.0),)}
    assert next(line.errors for line in lines if line.label == "U-Net") == pytest.approx((2.8284271,))
    assert [line.method for line in lines] == ["unet", "detr-r50"]
    assert (front.label, front.points) == (FRONT, ((8.0, 25.0), (12.0, 32.0), (12.0, 32.0)))
    assert {line.label: line.points for line in times.lines[1:]} == {
        "U-Net": ((15.0, 32.0),), "DETR-R50": ((40.0, 25.0),)
    }  # fmt: skip
    assert times.lines[0].points == ((15.0, 32.0), (40.0, 32.0))
    assert flops.y_label == times.y_label == "PQ (%)"


def test_times_of_several_machines_are_not_set_beside_each_other(fake, suite):
    fake.done("unet", flops=12e9, attempt={**MACHINE, "seconds_train": 5.0})
    fake.done("detr-r50", flops=8e9, attempt={**MACHINE, "threads": 2, "seconds_train": 5.0})
    made = chart(fake, suite)
    assert [len(row) for row in made.rows] == [1]
    assert NO_TIMES in made.title


def test_a_row_without_a_number_is_not_drawn_and_one_cost_makes_no_chart(fake, suite):
    fake.done("unet", flops=12e9)
    fake.done("detr-r50", flops=12e9)
    fake.done("detr-r101", flops=None)
    assert chart(fake, suite) is None
    fake.done("mask2former-r50", flops=9e9, attempt={"device": "cpu"})
    labels = [line.label for line in chart(fake, suite).rows[0][0].lines]
    assert labels == [FRONT, "U-Net", "DETR-R50", "Mask2Former-R50"]


def test_it_is_drawn_the_same_twice(fake, suite):
    fake.done("unet", flops=12e9)
    fake.done("detr-r50", flops=8e9)
    assert chart(fake, suite).draw() == chart(fake, suite).draw()
