"""The paper's own Table 4: its marks are computed, and five of the printed ones are wrong."""

import pytest

from bench.paper.numbers import paper
from bench.report.tables.printed import printed_table, wrong_marks
from bench.report.tables.table import slots

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


def grid(name):
    """(heads, rows as printed) of a table of the paper."""
    table = printed_table(paper().table(name))
    heads = [(column.group, column.metric) for column in table.columns]
    return table, heads, {row.label: [cell.paper for cell in row.cells] for row in table.rows}


@pytest.mark.parametrize("name", paper().tables)
def test_every_table_shows_each_of_the_papers_numbers_once_in_its_order(name):
    _, _, rows = grid(name)
    source = paper().table(name)
    assert list(rows) == list(source.rows)
    assert [value for values in rows.values() for value in values] == [cell.value for cell in source.cells]


def test_a_table_of_one_network_has_datasets_as_rows_and_no_marks():
    table, heads, rows = grid("table3")
    assert (table.row_head, heads) == ("Dataset", [("MaskAttn-UNet", metric) for metric in ("mIoU", "AP", "PQ")])
    assert rows["ADE20K"] == [45.9, 30.7, 33.6]
    assert {cell.paper_marked.mark for row in table.rows for cell in row.cells} == {None}
    assert grid("table2")[2]["Cityscapes"] == [38.9, 36.6, 36.2, 35.5]


def test_table_1_has_its_metric_as_its_only_row():
    table, heads, rows = grid("table1")
    assert (table.row_head, [group for group, _ in heads]) == ("Metric", ["COCO", "ADE20K", "Cityscapes"])
    assert rows == {"mIoU (%)": [43.7, 44.1, 67.4]}


def test_table_8_has_heights_before_widths_and_says_so():
    table, heads, rows = grid("table8")
    assert [group for group, _ in heads] == ["64x64", "48x64", "32x32"]
    assert rows["Mask2Former-R101"] == [33.5, 11.2, 1.9]
    assert "48x64" in table.label
    assert [row.cells[1].paper_marked.mark for row in table.rows] == [None, "second", "best"]


def test_exponents_are_no_percentages():
    table, _, rows = grid("table9")
    assert rows["att6 (Top Decoder)"] == [0.694, 0.657]
    assert [(column.title, column.paper_digits) for column in table.columns] == [("Hurst", 3), ("DFA", 3)]
