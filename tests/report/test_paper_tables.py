"""Tables 1, 2, 3, 5, 6 and 7: which of the paper's numbers stands beside which row, AP@k, the interaction."""

import pytest

from bench.paper.numbers import paper
from bench.report.notes.remarks import about
from tests.report.suites import cells, exhibit, row

FULL = {"dataset": "coco", "profile": "full"}
ABLATIONS = {  # test data
    "maskattn-unet": (0.40, 0.30, 0.20),
    "maskattn-unet-encoder": (0.34, 0.24, 0.17),
    "maskattn-unet-decoder": (0.34, 0.23, 0.16),
    "maskattn-unet-none": (0.30, 0.20, 0.10),
    "unet": (0.29, 0.19, 0.12),
    "u-transformer": (0.36, 0.26, 0.18),
    "self-attention-unet": (0.38, 0.28, 0.19),
}
IOU, CAP = "paper-text", "released"


def fill(fake, seeds=(0,), **where):
    for model, values in ABLATIONS.items():
        for seed in seeds:
            fake.done(model, *(value + 0.01 * seed for value in values), seed=seed, **where)


def printed(table, label):
    """The paper's numbers of a row."""
    return [cell.paper for cell in row(table, label).cells if cell.paper is not None]


def test_table_1_sets_its_scores_beside_the_papers_on_each_dataset(fake):
    for dataset in ("coco", "ade20k"):
        fake.done("maskattn-unet", 0.4, None, None, task="semantic", dataset=dataset, profile="full")
    table = exhibit(fake, "table1").sections[0].table
    found = cells(table, "MaskAttn-UNet", metric="mIoU")
    assert [(cell.value, cell.paper, round(cell.difference, 1)) for cell in found] == [
        (40, 43.7, -3.7),
        (40, 44.1, -4.1),
    ]
    assert not any(column.beside for column in table.columns if column.unit != "%")  # it prints no costs


def test_table_3_has_the_columns_in_the_papers_order(fake):
    fake.done("maskattn-unet", 0.4, 0.3, 0.2, **FULL)
    table = exhibit(fake, "table3").sections[0].table
    assert [column.metric for column in table.columns if column.unit == "%"] == ["mIoU", "AP", "PQ"]
    assert printed(table, "MaskAttn-UNet") == [45.3, 31.5, 35.7]
    assert [round(cell.difference, 1) for cell in cells(table, "MaskAttn-UNet", unit="%")] == [-5.3, -11.5, -5.7]


def test_nothing_of_the_paper_stands_beside_a_small_run(fake):
    fill(fake)
    for name in ("table3", "table5", "table6", "table7"):
        table = exhibit(fake, name).sections[0].table
        assert not any(cell.paper for row in table.rows for cell in row.cells)


def test_table_5_gives_the_papers_unet_to_the_network_without_modules(fake):
    fill(fake, **FULL)
    table = exhibit(fake, "table5").sections[0].table
    assert printed(table, "MaskAttn-UNet (no modules)") == [33.8, 20.1, 13.8]
    assert printed(table, "U-Net") == []
    assert printed(table, "MaskAttn-UNet") == [45.3, 35.7, 31.5]
    assert "no modules" in about("table5")


def test_table_7_gives_the_papers_row_to_the_network_it_cites(fake):
    fill(fake, **FULL)
    table = exhibit(fake, "table7").sections[0].table
    assert printed(table, "U-Transformer") == [41.2, 30.9, 26.7]
    assert printed(table, "Self-Attention UNet") == []


def test_the_panoptic_tables_hold_their_own_rows_alone_and_table_4_takes_guests(fake):
    fill(fake)
    rows = {name: {row.model for row in exhibit(fake, name).sections[0].table.rows} for name in ("table3", "table4")}
    assert rows["table3"] == {"maskattn-unet"}
    assert rows["table4"] >= {"u-transformer", "maskattn-unet-encoder"}


def test_an_exhibit_says_where_it_is_in_the_paper_and_which_claims_rest_on_it():
    assert about("table7").startswith(
        "Table 7 of the paper is in Sec. B.2. Claims of the audit that rest on its numbers: C70"
    )
    assert about("figure4").startswith(
        "Figure 4 of the paper is in Sec. B.1. Claims of the audit that rest on its numbers: C14"
    )
    assert all(table.section for table in paper().tables.values())
    assert about("oracle") == about("") == ""


def interaction(fake):
    (found,) = (facts for facts in exhibit(fake, "table6").sections[0].facts if facts.title.startswith("Interaction"))
    return {line[0].split(",")[0]: line[1:] for line in found.lines}


def test_the_interaction_is_the_full_network_less_both_halves_plus_none(fake):
    fill(fake)
    # 40 - (34 + 34 - 30), 30 - (24 + 23 - 20), 20 - (17 + 16 - 10)
    assert interaction(fake)["scenes"] == (
        "+2.0: one seed, cannot tell",
        "+3.0: one seed, cannot tell",
        "-3.0: one seed, cannot tell",
    )


def test_the_papers_interaction_is_that_of_finding_a14(fake):
    fill(fake)
    assert [text.split(":")[0] for text in interaction(fake)["the paper"]] == ["+4.3", "+7.9", "+9.5"]


def test_an_interaction_counts_beyond_two_standard_deviations(fake):
    fill(fake, seeds=(0, 1))  # each row's sd is 0.7071 points, so that of the term is twice this
    assert interaction(fake)["scenes"] == ("+2.0 ± 1.4: cannot tell", "+3.0 ± 1.4: synergy", "-3.0 ± 1.4: overlap")


def test_without_all_four_rows_no_interaction_is_shown(fake):
    fake.done("maskattn-unet")
    assert not any(facts.title.startswith("Interaction") for facts in exhibit(fake, "table6").sections[0].facts)


def protocols(thresholds, caps):
    at = (30, 50, 70, 100)
    return {
        IOU: {f"ap_iou{k}": value for k, value in zip(at, thresholds, strict=True)},
        CAP: {f"ap_max{k}": value for k, value in zip(at, caps, strict=True)},
    }


@pytest.fixture
def instances(fake):
    given = protocols((0.40, 0.30, 0.10, 0.0), (0.20, 0.21, 0.22, 0.22))
    for seed, up in ((0, 0.0), (1, 0.02)):
        moved = {name: {key: value + up for key, value in of.items()} for name, of in given.items()}
        fake.done("maskattn-unet", None, None, 0.22 + up, task="instance", seed=seed, protocols=moved, **FULL)
    return fake


def test_table_2_has_both_readings_of_the_same_runs_each_under_its_protocols_name(instances):
    table = exhibit(instances, "table2").sections[0].table
    for reading, values in ((IOU, [41, 31, 11, 1]), (CAP, [21, 22, 23, 23])):
        found = cells(table, "MaskAttn-UNet", reading=reading)
        assert [cell.value for cell in found] == pytest.approx(values)
        assert [cell.paper for cell in found] == [35.0, 31.6, 31.3, 30.2]
        assert {cell.n for cell in found} == {2}
        assert all(f"({reading})" in column.group for column in table.columns if column.reading == reading)
    (standard,) = cells(table, "MaskAttn-UNet", metric="AP")
    assert (standard.value, standard.paper) == (pytest.approx(23), None)


def test_table_2_says_which_reading_has_its_shape(instances):
    ours, shape = exhibit(instances, "table2").sections
    assert shape.table.key == f"{ours.table.key}/shape"
    found = row(shape.table, "COCO 128x128: MaskAttn-UNet, k as an IoU threshold").cells
    # seeds: 30/40 and 32/42 of AP@30 at 50
    assert found[0].value == pytest.approx((75 + 100 * 32 / 42) / 2)
    assert any("nearer to Table 2 is k as a cap on detections" in note for note in shape.table.notes)


def test_a_record_without_other_protocols_leaves_the_readings_empty(fake):
    fake.done("maskattn-unet", None, None, 0.2, task="instance")
    sections = exhibit(fake, "table2").sections
    assert len(sections) == 1
    assert {cell.value for cell in cells(sections[0].table, "MaskAttn-UNet", reading=IOU)} == {None}


def test_the_csv_names_the_protocol_of_each_reading(instances):
    from bench.report.render.csv import render_csv

    lines = [line.split(",") for line in render_csv(exhibit(instances, "table2")).splitlines()]
    at = lines[0].index("protocol")
    assert {IOU, CAP} <= {line[at] for line in lines}


def test_the_bars_hold_each_network_and_the_papers_hatched(fake):
    fill(fake, seeds=(0, 1), **FULL)
    chart = exhibit(fake, "table5").sections[0].figures[0]
    (panels,) = chart.rows
    assert [panel.y_label for panel in panels] == ["mIoU (%)", "PQ (%)", "AP (%)"]
    drawn = {line.label: line for line in panels[0].lines}
    assert drawn["MaskAttn-UNet"].points == ((0.0, pytest.approx(40.5)),)
    assert drawn["MaskAttn-UNet"].errors == (pytest.approx(0.5**0.5),)
    assert drawn["MaskAttn-UNet (no modules), the paper"].points == ((0.0, 33.8),)
    assert drawn["MaskAttn-UNet (no modules), the paper"].printed
    assert "U-Net, the paper" not in drawn
    assert all(panel.bars for panel in panels)


def test_small_runs_have_bars_without_the_paper_and_floors_alone_have_none(fake):
    fake.done("majority")
    assert exhibit(fake, "table6").sections[0].figures == ()
    fake.done("maskattn-unet")
    (panel, *_) = exhibit(fake, "table6").sections[0].figures[0].rows[0]
    assert [line.label for line in panel.lines] == ["MaskAttn-UNet"]
