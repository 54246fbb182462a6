import numpy as np
import pytest

from bench.report.tables.table import Cell, Column, mean_sd, number, summarise

PERCENT = Column("k", "g", "mIoU", "%", "higher", 1, 1)


def test_mean_and_sd_are_numpys_with_n_minus_1():
    values = [0.412, 0.398, 0.431, 0.405]
    cell = summarise([(f"r{i}", value) for i, value in enumerate(values)], 100)
    assert cell.value == pytest.approx(np.mean(values) * 100)
    assert cell.sd == pytest.approx(np.std(values, ddof=1) * 100)
    assert (cell.n, cell.runs) == (4, ("r0", "r1", "r2", "r3"))


def test_one_seed_has_no_sd():
    assert summarise([("r", 0.5)]).sd is None


def test_a_run_without_the_number_is_not_a_zero():
    cell = summarise([("a", 0.5), ("b", None)], 100)
    assert (cell.value, cell.n, cell.runs, cell.notes) == (50, 1, ("a",), ("1 of 2 runs have no value here",))
    assert summarise([("a", None)]).value is None
    assert summarise([]) == Cell()


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(45.31, False, "45.3"), (None, True, "-"), (0.42, True, "+0.4"), (-0.04, True, "0.0"), (-3.0, True, "-3.0")],
)
def test_number(value, signed, text):
    assert number(value, 1, signed) == text


def test_only_scores_print_their_spread():
    cell = Cell(value=45.25, sd=0.41, n=3)
    assert mean_sd(cell, PERCENT) == "45.2 ± 0.4"
    assert mean_sd(cell, Column("k", "g", "FLOPs", "G", "lower", 2, 0)) == "45.25"


def test_difference_needs_both():
    assert Cell(value=46.0, paper=45.3).difference == pytest.approx(0.7)
    assert Cell(value=46.0).difference is None
    assert Cell(paper=46.0).difference is None
