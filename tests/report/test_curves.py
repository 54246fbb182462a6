"""Learning curves: what is drawn, and the rule that says whether a row had come to rest."""

from xml.etree import ElementTree

import pytest

from bench.report.build import build_reports, exhibit_of, read_records
from bench.report.drawing.curves import RULE, last_fall


def section(fake, suite):
    return exhibit_of(suite, read_records(fake.store)[0], {}).sections[0]


def told(fake, suite):
    """The note with the rule."""
    (note,) = (note for note in section(fake, suite).table.notes if note.startswith(RULE))
    return note


@pytest.mark.parametrize(
    ("losses", "fall"),
    [
        ((), None),
        ((5.0,), None),
        ((5.0, 4.0), 0.2),  # a tenth is at least one epoch
        ((9.0, 8.0, 4.0, 3.0), 0.25),
        ((2.0, 2.5), -0.25),
        ((0.0, 1.0), None),
        ((7.0,) * 16 + (4.0, 6.0, 5.0, 4.0), 0.1),  # of 20 epochs: 4.5 after 5.0
    ],
)
def test_the_fall_over_the_last_tenth(fake, losses, fall):
    fake.done("unet", losses=losses)
    (record,), _ = read_records(fake.store)
    assert last_fall(record) == (None if fall is None else pytest.approx(fall))


def test_rows_that_still_fall_are_named_with_the_rule(fake, suite):
    fake.done("unet", losses=(3.0, 2.0))
    fake.done("maskattn-unet", losses=(3.0, 2.98), seed=0)
    fake.done("detr-r50", losses=(3.0, 2.7), seed=0)
    fake.done("detr-r50", losses=(3.0, 3.1), seed=1)
    assert told(fake, suite) == (
        f"{RULE}. Not converged: U-Net on scenes: the loss still fell by 33.3 %; "
        "DETR-R50 on scenes: the loss still fell by 3.3 %."
    )


def test_nothing_is_said_without_curves_and_rest_is_said_too(fake, suite):
    fake.done("unet")
    assert section(fake, suite).figures == ()
    assert not any("converged" in note for note in section(fake, suite).table.notes)
    fake.done("detr-r50", losses=(3.0, 2.98))
    assert told(fake, suite) == (
        f"{RULE}. Not judged, for want of two epochs: U-Net on scenes. All other rows count as converged."
    )


def test_all_rows_at_rest_are_said_to_be(fake, suite):
    fake.done("unet", losses=(3.0, 2.99))
    fake.done("detr-r50", losses=(3.0, 3.01))
    assert told(fake, suite) == f"{RULE}. All rows count as converged."


def test_rows_whose_loss_rose_or_that_have_one_epoch_do_not_count_as_converged(fake, suite):
    fake.done("unet", losses=(5.0, 9.0))
    fake.done("maskattn-unet", losses=(5.0,))
    fake.done("detr-r50", losses=(3.0, 2.98))
    note = told(fake, suite)
    assert note.startswith(f"{RULE}. The loss rose: U-Net on scenes by 80.0 %. Not judged, for want of two epochs: ")
    assert note.endswith(" on scenes. All other rows count as converged.")
    assert "MaskAttn-UNet on scenes" in note


def test_where_no_row_is_at_rest_none_counts_as_converged(fake, suite):
    fake.done("unet", losses=(5.0, 9.0))
    assert told(fake, suite) == f"{RULE}. The loss rose: U-Net on scenes by 80.0 %."


def test_a_panel_a_row_and_a_line_a_seed(fake, suite):
    for seed in (0, 2):
        fake.done("unet", losses=(3.0, 2.5, 2.0), seed=seed)
        fake.done("detr-r50", losses=(30.0, 25.0), seed=seed)
    fake.done("unet", dataset="coco", losses=(4.0, 3.0))
    fake.done("maskattn-unet")
    (chart,) = section(fake, suite).figures
    panels = [panel for row in chart.rows for panel in row]
    assert [panel.title for panel in panels] == ["COCO: U-Net", "scenes: U-Net", "scenes: DETR-R50"]
    assert panels[1].lines[0].points == ((1.0, 3.0), (2.0, 2.5), (3.0, 2.0))
    looks = [[(line.method, line.dash) for line in panel.lines] for panel in panels]
    assert looks == [[("unet", 0)], [("unet", 0), ("unet", 1)], [("detr-r50", 0), ("detr-r50", 1)]]
    assert chart.x_label == "epoch (seed: 0 solid, 2 dashed)"
    assert chart.name == "table4-smoke-64x64-standard-v1-curves"


def test_charts_of_short_last_rows_are_drawn_and_equal_ones_give_equal_bytes(fake, suite):
    for model in ("unet", "detr-r50", "detr-r101", "maskattn-unet"):
        fake.done(model, losses=(3.0, 2.0))
    (chart,) = section(fake, suite).figures
    assert [len(row) for row in chart.rows] == [3, 1]
    files = chart.draw()
    assert files == chart.draw()
    text = "".join(ElementTree.fromstring(files["svg"]).itertext())
    assert text is not None
    assert files["png"].startswith(b"\x89PNG")
    assert files["pdf"].startswith(b"%PDF")


def test_the_figure_is_written_and_stands_in_page_and_markdown(fake, suite, tmp_path):
    fake.done("unet", losses=(3.0, 2.0))
    files = {path.name for path in build_reports(fake.store, [suite], {}, tmp_path / "reports")}
    name = "table4-smoke-64x64-standard-v1-curves"
    assert {f"{name}.svg", f"{name}.png", f"{name}.pdf"} <= files
    assert f"]({name}.svg)" in (tmp_path / "reports" / "table4.md").read_text()
    assert f'src="{name}.svg"' in (tmp_path / "reports" / "table4.html").read_text()


def test_of_many_seeds_as_many_are_drawn_as_there_are_dashes_and_the_axis_says_so(fake, suite):
    for seed in range(8):
        fake.done("unet", losses=(3.0, 2.0), seed=seed)
    fake.done("detr-r50", losses=(3.0, 2.0), seed=50)
    (chart,) = section(fake, suite).figures
    assert [[line.label for line in panel.lines] for panel in chart.rows[0]] == [
        [f"seed {seed}" for seed in range(6)], ["seed 50"]
    ]  # fmt: skip
    assert chart.x_label.startswith("epoch (the first 6 seeds: 0 solid, 1 dashed")
    assert "50 solid" in chart.x_label
