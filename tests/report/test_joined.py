"""Table 8, its size sweep, and Figure 3: sections joined, each number where it belongs."""

import math

import pytest

from bench.named import load_named
from bench.report.build import exhibit_of, read_records
from bench.report.exhibits.fractions import gain
from bench.report.exhibits.size_sweep import Step, steepest, steps
from bench.report.tables.table import Cell
from bench.spec import OtherSize, Recipe, Suite
from tests.report.conftest import RECIPE
from tests.report.suites import cells, exhibit, part, row

SIZES = {(64, 64): "a" * 64, (48, 64): "b" * 64, (32, 32): "c" * 64}
LOW = {"task": "semantic", "profile": "full", "dataset": "coco"}
LEVELS = {(64, 64): 0.40, (48, 64): 0.37, (32, 32): 0.20}


def fill(fake, **where):
    """Test data: one network and the floors at three sizes."""
    for size, truth in SIZES.items():
        at = {"size": size, "val_hash": truth, **where}
        fake.done("majority", 0.02, None, None, **at)
        for seed in (0, 1, 2):
            fake.done("maskattn-unet", LEVELS[size] + 0.01 * (seed - 1), None, None, seed=seed, **at)


def test_table_8_is_one_table_with_a_group_of_columns_a_size(fake):
    fill(fake, **LOW)
    fake.done("mask2former-r50", 0.3, None, None, size=(48, 64), val_hash=SIZES[48, 64], **LOW)
    (section,) = exhibit(fake, "table8").sections
    found = cells(section.table, "MaskAttn-UNet", metric="mIoU")
    assert [round(cell.value, 3) for cell in found] == [40, 37, 20]
    assert [cell.paper for cell in found] == [41.3, 17.1, 2.2]
    assert [cell.mark for cell in found] == [None, "best", None]  # alone at the other sizes
    assert [cell.value for cell in cells(section.table, "Mask2Former-R50", metric="mIoU")] == [
        None,
        pytest.approx(30),
        None,
    ]
    assert [cell.value for cell in cells(section.table, "majority class", metric="mIoU")] == [pytest.approx(2)] * 3
    groups = list(dict.fromkeys(column.group for column in section.table.columns if column.metric == "mIoU"))
    assert [group.split(":")[0] for group in groups] == ["64x64", "48x64", "32x32"]


def test_table_8_says_at_which_size_two_rows_differ(fake):
    for size, truth in SIZES.items():
        for seed in (0, 1, 2):
            at = {"size": size, "val_hash": truth, "seed": seed, "task": "semantic"}
            fake.done("maskattn-unet", LEVELS[size] + 0.01 * seed, None, None, **at)
            fake.done("mask2former-r50", 0.3 + 0.01 * seed, None, None, **at)
    suite = load_named("suite", "table8", Suite)
    against = suite.model_copy(update={"against": suite.models[2:]})
    (section,) = exhibit_of(against, read_records(fake.store)[0], {}).sections
    (facts,) = (facts for facts in section.facts if facts.title == "Differences between rows")
    found = {line[0]: line[4].partition(" ")[0] for line in facts.lines}
    assert found == {f"{size}: Mask2Former-R50": points for size, points in
                     (("64x64", "-10.0"), ("48x64", "-7.0"), ("32x32", "+10.0"))}  # fmt: skip
    assert facts.said[-1].startswith("3 intervals")


def test_table_8_names_the_sizes_that_lack_runs(fake):
    fake.done("maskattn-unet", 0.4, None, None, size=(64, 64), task="semantic")
    (section,) = exhibit(fake, "table8").sections
    gaps = {gap.dataset: set(gap.models) for gap in section.gaps}
    assert "MaskAttn-UNet" in gaps["scenes at 48x64, 32x32"]
    assert "MaskAttn-UNet" not in gaps["scenes at 64x64"]
    assert not any(cell.paper for row in section.table.rows for cell in row.cells)


def elsewhere(*sizes):
    return tuple(OtherSize(size=size, val_hash=SIZES[size], val_pixels="p") for size in sizes)


def sweep(fake, **where):
    fake.done("majority", 0.01, None, None, size=(64, 64), val_hash=SIZES[64, 64], **where)
    at = {"64x64": 0.40, "48x64": 0.36, "32x32": 0.30}
    fake.done(
        "maskattn-unet",
        at.pop("64x64"),
        None,
        None,
        size=(64, 64),
        val_hash=SIZES[64, 64],
        also_at=elsewhere((48, 64), (32, 32)),
        at_sizes=at,
        **where,
    )
    for size in ((48, 64), (32, 32)):
        fake.done("maskattn-unet", LEVELS[size], None, None, size=size, val_hash=SIZES[size], **where)


def test_the_sweep_has_a_row_trained_at_each_size_and_one_trained_at_the_largest(fake):
    sweep(fake, task="semantic")
    (section,) = exhibit(fake, "sizes").sections
    values = {
        label: [round(cell.value, 3) for cell in row(section.table, label).cells]
        for label in ("MaskAttn-UNet", "MaskAttn-UNet, trained at 64x64")
    }
    assert values == {"MaskAttn-UNet": [40, 37, 20], "MaskAttn-UNet, trained at 64x64": [40, 36, 30]}
    chart = section.figures[0]
    ours, across = chart.rows[0][0].lines[1:]
    assert ours.points == ((1024, 20), (3072, 37), (4096, 40))
    assert across.points == ((1024, 30), (3072, 36), (4096, 40))
    assert (ours.method, across.method, ours.dash, across.dash) == ("maskattn-unet", "maskattn-unet", None, 1)


def test_a_number_on_another_truth_is_left_out(fake):
    others = tuple(OtherSize(size=size, val_hash="f" * 64, val_pixels="p") for size in ((48, 64), (32, 32)))
    given = {"task": "semantic", "size": (64, 64), "val_hash": SIZES[64, 64]}
    fake.done("maskattn-unet", 0.4, None, None, also_at=others, at_sizes={"48x64": 0.3, "32x32": 0.2}, **given)
    fake.done("maskattn-unet", 0.3, None, None, task="semantic", size=(48, 64), val_hash=SIZES[48, 64])
    (section,) = exhibit(fake, "sizes").sections
    assert [cell.value for cell in row(section.table, "MaskAttn-UNet, trained at 64x64").cells] == [40, None]


def test_a_run_across_sizes_is_no_run_of_the_other_suites_nor_the_other_way_round(fake):
    sweep(fake, task="semantic")
    fake.done("maskattn-unet", 0.5, None, None, task="semantic", size=(64, 64), val_hash=SIZES[64, 64])
    at_64 = {
        name: cells(exhibit(fake, name).sections[0].table, "MaskAttn-UNet", metric="mIoU", size="64x64")[0].value
        for name in ("table8", "sizes")
    }
    assert at_64 == {"table8": 50, "sizes": 40}


def test_a_curve_never_joins_two_splits_of_a_dataset(fake):
    sweep(fake, task="semantic")
    fake.done("maskattn-unet", 0.9, None, None, task="semantic", size=(48, 64), val_hash="e" * 64)
    (section,) = exhibit(fake, "sizes").sections
    (facts,) = (facts for facts in section.facts if facts.title.startswith("Steps"))
    assert [line[0] for line in facts.lines] == ["the paper, as printed (Tables 1 and 8)"]
    assert section.table.notes[0].startswith("scenes: no curve: a size has several splits")
    assert not any(figure.name.endswith("-v1") for figure in section.figures)


def test_steps_are_points_for_each_halving_of_the_pixels():
    curve = {
        (128, 128): Cell(value=43.7),
        (64, 64): Cell(value=41.3),
        (48, 64): Cell(value=17.1),
        (32, 32): Cell(value=2.2),
    }
    found = steps(curve)
    assert [step.slope for step in found] == pytest.approx([-2.4 / 2, -24.2 / math.log2(4 / 3), -14.9 / math.log2(3)])
    step, times = steepest(found)
    assert (step.start, step.end) == ((64, 64), (48, 64))
    assert times == pytest.approx(58.308 / 9.401, abs=0.01)


def test_a_step_is_held_against_the_steeper_of_those_beside_it():
    slopes = (-1.0, -9.0, -4.0, 5.0)
    line = [Step((n, n), (n, n), slope) for n, slope in enumerate(slopes)]
    assert steepest(line)[1] == pytest.approx(9 / 4)
    assert steepest([Step((1, 1), (1, 1), 2.0), Step((1, 1), (1, 1), 0.0)])[1] is None


def test_the_papers_cliff_is_named_and_a_smooth_curve_has_none(fake):
    sweep(fake, task="semantic")
    (facts,) = (facts for facts in exhibit(fake, "sizes").sections[0].facts if facts.title.startswith("Steps"))
    by_curve = {line[0]: line[2:] for line in facts.lines}
    assert by_curve["the paper, as printed (Tables 1 and 8)"] == ("64x64 to 48x64", "6.2", "yes")
    # -4 / 0.415 = -9.6, -6 / 1.585 = -3.8
    assert by_curve["scenes: MaskAttn-UNet, trained at 64x64"] == ("64x64 to 48x64", "2.5", "no")


SHARES = {10: 0.20, 25: 0.26, 50: 0.30, 75: 0.33, 100: 0.35}  # test data: mIoU


def shares(fake, seeds=(0,), whole=False, **where):
    total = 118_287 if whole else 64
    for percent, level in SHARES.items():
        for seed in seeds:
            given = {"budget": part(percent, whole), "train_images": total * percent // 100, "seed": seed, **where}
            fake.done("maskattn-unet", level + 0.01 * seed, level / 2, level / 4, **given)


def test_figure_3_has_a_row_a_part_beside_the_papers_where_it_may_stand(fake):
    shares(fake, whole=True, profile="full", dataset="coco")
    (section,) = exhibit(fake, "figure3").sections
    found = {percent: cells(section.table, f"{percent} %: MaskAttn-UNet", unit="%") for percent in SHARES}
    assert [cell.paper for cell in found[25]] == [37.3, 27.6, 25.1]
    assert [round(cell.difference, 1) for cell in found[10]] == [-16.7, -15.3, -17.6]
    ours, paper = section.figures[0].rows[0][0].lines
    assert ours.points == tuple((percent, pytest.approx(100 * level)) for percent, level in SHARES.items())
    assert (paper.printed, paper.method, paper.points[0]) == (True, "maskattn-unet", (10, 36.7))
    assert len(section.figures[0].rows) == 1


def test_a_small_figure_3_keeps_the_papers_points_in_panels_of_their_own(fake):
    shares(fake, seeds=(0, 1))
    (section,) = exhibit(fake, "figure3").sections
    ours, paper = section.figures[0].rows
    assert [len(panel.lines) for panel in (*ours, *paper)] == [1] * 6
    assert "as printed" in paper[0].title
    assert paper[1].lines[0].points[-1] == (100, 35.7)
    assert ours[0].lines[0].errors == pytest.approx([math.sqrt(0.5)] * 5)
    assert not any(cell.paper for row in section.table.rows for cell in row.cells)


def test_a_part_of_the_data_that_was_not_all_seen_is_not_beside_the_paper(fake):
    fake.done("maskattn-unet", 0.2, budget=part(10, True), train_images=118_287, profile="full", dataset="coco")
    (section,) = exhibit(fake, "figure3").sections
    assert not any(cell.paper for row in section.table.rows for cell in row.cells)


def test_gains_are_divided_by_the_doublings(fake):
    assert gain(Cell(value=20.0), Cell(value=26.0), 2.5) == (pytest.approx(6 / math.log2(2.5)), None)
    assert gain(Cell(value=20.0, sd=0.3), Cell(value=26.0, sd=0.4), 4) == (pytest.approx(3), pytest.approx(0.25))
    assert gain(Cell(), Cell(value=1.0), 2) is None
    shares(fake)
    (facts,) = (facts for facts in exhibit(fake, "figure3").sections[0].facts if facts.title.startswith("Gain"))
    by_row = {line[:2]: line[2:] for line in facts.lines}
    assert by_row["the paper, as printed", "mIoU"] == ("+0.45", "+2.80", "+5.64", "+4.58", "no")  # finding A32
    (ours,) = (told for (label, score), told in by_row.items() if label.startswith("MaskAttn") and score == "mIoU")
    assert ours == ("+4.24", "+4.00", "+5.13", "+4.82", "no")  # 10 % of 64 images are 6: 6 / log2(16 / 6)


def test_parts_that_were_not_run_are_named(fake):
    fake.done("maskattn-unet", budget=part(10))
    (section,) = exhibit(fake, "figure3").sections
    assert {"MaskAttn-UNet"} <= {
        m for gap in section.gaps if gap.dataset == "scenes at 25 %, 50 %, 75 %, 100 %" for m in gap.models
    }
    assert [row.cells[0].paper for row in exhibit(fake, "figure3").printed.rows] == [36.7, 37.3, 40.1, 43.4, 45.3]


def test_learning_curves_of_all_sizes_are_one_chart(fake):
    for size, truth in SIZES.items():
        fake.done("maskattn-unet", 0.4, None, None, size=size, val_hash=truth, task="semantic", losses=(3.0, 2.0))
    (section,) = exhibit(fake, "table8").sections
    (chart,) = (figure for figure in section.figures if figure.name.endswith("-curves"))
    assert chart.name == "table8-smoke-standard-v1-curves"
    ((first, *rest),) = chart.rows
    assert [panel.title for panel in (first, *rest)] == [
        f"{s}: scenes: MaskAttn-UNet" for s in ("64x64", "48x64", "32x32")
    ]
    assert [bool(panel.y_label) for panel in (first, *rest)] == [True, False, False]


@pytest.mark.parametrize("good", [10, 100])
def test_the_papers_number_stands_beside_the_part_that_may_have_it_whichever_comes_first(fake, good):
    where = {"profile": "full", "dataset": "coco"}
    for percent in (10, 100):
        seen = 118_287 * percent // 100 - (percent != good)
        fake.done("maskattn-unet", 0.3, 0.2, 0.1, budget=part(percent, True), train_images=seen, **where)
    (section,) = exhibit(fake, "figure3").sections
    found = {p: cells(section.table, f"{p} %: MaskAttn-UNet", metric="mIoU")[0].paper for p in (10, 100)}
    assert found == {good: {10: 36.7, 100: 45.3}[good], 110 - good: None}
    assert [column.beside for column in section.table.columns if column.metric == "mIoU"] == [True]


def test_rows_that_were_not_trained_alike_at_every_size_or_part_are_named(fake):
    fill(fake, task="semantic")
    shares(fake)
    for name in ("table8", "figure3"):
        (section,) = exhibit(fake, name).sections
        assert not any("another setting" in note for note in section.table.notes)
    longer = {"recipe": Recipe(**(RECIPE | {"epochs": 7}))}
    fake.done("mask2former-r50", 0.3, None, None, size=(64, 64), val_hash=SIZES[64, 64], task="semantic")
    fake.done("mask2former-r50", 0.3, None, None, size=(32, 32), val_hash=SIZES[32, 32], task="semantic", **longer)
    told = "recipe.epochs 7 instead of 2."
    (section,) = exhibit(fake, "table8").sections
    pair = "Mask2Former-R50 on scenes: at 32x32 another setting than at 64x64"
    assert section.table.notes[0] == f"Not a fair comparison. {pair}: {told}"
    assert sum("another setting" in note for note in section.table.notes) == 1


def test_parts_that_were_not_trained_alike_are_named(fake):
    for percent, epochs in ((10, 2), (25, 7)):
        recipe = Recipe(**(RECIPE | {"epochs": epochs}))
        fake.done("maskattn-unet", budget=part(percent), train_images=64 * percent // 100, recipe=recipe)
    (section,) = exhibit(fake, "figure3").sections
    assert section.table.notes[0] == (
        "Not a fair comparison. MaskAttn-UNet on scenes: at 25 % another setting than at 10 %: recipe.epochs 7 instead "
        "of 2."
    )


def test_second_settings_that_differ_in_other_things_are_not_one_row(fake):
    for size, other in (((64, 64), {"lr": 0.5}), ((32, 32), {"weight_decay": 0.5})):
        given = {"size": size, "val_hash": SIZES[size], "task": "semantic"}
        fake.done("maskattn-unet", 0.4, None, None, **given)
        fake.done("maskattn-unet", 0.2, None, None, recipe=Recipe(**(RECIPE | other)), **given)
    (section,) = exhibit(fake, "table8").sections
    second = [row for row in section.table.rows if row.kind == "setting"]
    values = [[cell.value for cell in cells(section.table, row.label, metric="mIoU")] for row in second]
    assert sorted(values, key=str) == [[20, None], [None, 20]]
