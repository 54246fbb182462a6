"""Differences between rows against scipy's Welch test, and what is said where they cannot be told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.report.build import exhibit_of, read_records
from bench.report.notes.contrasts import verdict, welch_margin
from bench.report.render.markdown import render_markdown
from bench.report.tables.table import Cell, summarise
from bench.spec import Suite
from models.registry import full_options

KINDS = ("learned-binary", "static", "random-fixed", "none")
VALUES = st.lists(st.integers(0, 1000).map(lambda tenths: tenths / 10), min_size=3, max_size=6)


def cell(*values):
    return summarise([(str(n), value) for n, value in enumerate(values)])


@pytest.mark.filterwarnings("ignore:Precision loss")  # of scipy, where all values are equal
@given(VALUES, VALUES)
def test_the_interval_is_welchs(ours, theirs):
    one, other = cell(*ours), cell(*theirs)
    if not (one.sd > 1e-3 or other.sd > 1e-3):
        return  # scipy divides by zero
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert welch_margin(one, other) == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)


def test_a_verdict_has_points_an_interval_and_a_word():
    # means 42 and 40, both variances 1, n = 3: 4 degrees of freedom, 2.776 * sqrt(2 / 3) = 2.27
    assert verdict(cell(41, 42, 43), cell(39, 40, 41)) == "+2.0 (-0.3 to +4.3): tie"
    assert verdict(cell(43, 44, 45), cell(39, 40, 41)) == "+4.0 (+1.7 to +6.3): higher"
    assert verdict(cell(39, 40, 41), cell(43, 44, 45)) == "-4.0 (-6.3 to -1.7): lower"
    assert verdict(cell(40, 40, 40), cell(40, 40, 40)) == "0.0 (0.0 to 0.0): tie"


def test_few_seeds_cannot_tell():
    assert verdict(cell(41), cell(39, 40, 41)) == "+1.0: one seed, cannot tell"
    assert verdict(cell(41, 42), cell(40, 40, 40)) == "+1.5: 2 seeds, cannot tell"
    assert verdict(Cell(), cell(40, 40, 40)) == "-"


@pytest.fixture
def masks(suite):
    entries = [{"name": "maskattn-unet", "options": {"mask": kind}} for kind in KINDS]
    content = {"name": "masks", "exhibit": None, "models": entries, "against": [entries[3], entries[2]]}
    return Suite.model_validate({**suite.model_dump(mode="json"), **content})


def fill(fake, seeds):
    for seed in seeds:
        for n, kind in enumerate(KINDS):
            options = full_options("maskattn-unet", {"mask": kind})
            fake.done("maskattn-unet", 0.4 - 0.1 * n + 0.01 * seed, options=options, seed=seed)


def facts_of(fake, masks):
    exhibit = exhibit_of(masks, read_records(fake.store)[0], {})
    return exhibit, [facts for facts in exhibit.sections[0].facts if facts.title == "Differences between rows"]


def test_every_row_stands_against_each_reference_and_those_once_against_each_other(fake, masks):
    fill(fake, (0, 1, 2))
    exhibit, (facts,) = facts_of(fake, masks)
    pairs = [(line[0].rpartition("=")[2], line[1].rpartition("=")[2]) for line in facts.lines]
    assert pairs == [
        ("learned-binary", "none"),
        ("static", "none"),
        ("random-fixed", "none"),
        ("learned-binary", "random-fixed"),
        ("static", "random-fixed"),
    ]
    assert facts.lines[0][2:5] == ("scenes", "3 and 3", "+30.0 (+27.7 to +32.3): higher")
    assert facts.lines[0][5] == "0.0 (0.0 to 0.0): tie"
    assert "15 intervals" in facts.said[1]
    assert "+30.0 (+27.7 to +32.3): higher" in render_markdown(exhibit, "../results", {})


def test_one_seed_is_said_to_tell_nothing(fake, masks):
    fill(fake, (0,))
    _, (facts,) = facts_of(fake, masks)
    assert facts.lines[0][4] == "+30.0: one seed, cannot tell"
    assert len(facts.said) == 1


def test_a_suite_that_sets_nothing_against_anything_has_no_differences(fake, suite):
    fake.fill("scenes", "smoke", (0, 1, 2))
    assert facts_of(fake, suite)[1] == []
