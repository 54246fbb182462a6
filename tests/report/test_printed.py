"""The paper's own Table 4: its marks are computed, and five of the printed ones are wrong."""

from bench.paper.numbers import paper
from bench.report.printed import printed_table, wrong_marks
from bench.report.table import slots

TABLE = printed_table(paper().table("table4"))


def test_exactly_five_printed_marks_are_wrong_all_of_them_costs():
    found = {cell.id: mark for cell, mark in wrong_marks(TABLE, paper().table("table4"))}
    assert found == {
        "t4.unet.-.flops": "bold",
        "t4.ours.-.flops": "underline",
        "t4.unet.-.params": "bold",
        "t4.detr_r50.-.params": "underline",
        "t4.m2f_r50.-.params": "none",
    }
    assert TABLE.notes[0].startswith("5 marks in the paper are not those its numbers give.")


def test_every_column_has_one_best_and_one_second():
    for j in range(len(TABLE.columns)):
        marks = [row.cells[j].paper_marked.mark for row in TABLE.rows]
        assert (marks.count("best"), marks.count("second")) == (1, 1)


def test_it_shows_only_the_papers_numbers():
    assert {part for _, part in slots(TABLE)} == {"paper"}
    assert sum(cell.paper is not None for row in TABLE.rows for cell in row.cells) == 66
    assert all(cell.value is None and not cell.runs for row in TABLE.rows for cell in row.cells)
