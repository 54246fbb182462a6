"""Which records share a cell, a column, a table, and what may stand beside the paper's numbers."""

import dataclasses

import pytest

from bench.report.build import read_records
from bench.report.exhibits.comparison import ONE_SEED, build_exhibit
from bench.report.tables.table import slots
from bench.settings import profile_named
from bench.spec import Budget, Recipe
from bench.train.recipes import recipe_for
from models.registry import find

COCO_TRUTH = {"unet": 33.8, "maskattn-unet": 45.3}


def exhibit_of(fake, suite, missing=None):
    return build_exhibit(suite, read_records(fake.store)[0], missing or {})


def cell_of(table, row, metric, dataset=None):
    cells = next(r.cells for r in table.rows if r.key == row)
    hits = [j for j, c in enumerate(table.columns) if c.metric == metric and (dataset is None or c.dataset == dataset)]
    return table.columns[hits[0]], cells[hits[0]]


def test_a_full_run_stands_beside_the_paper_with_the_difference_in_points(fake, suite):
    fake.fill("coco", "full", (0, 1, 2))
    table = exhibit_of(fake, suite).sections[0].table
    column, cell = cell_of(table, "network/unet", "mIoU", "coco")
    assert (column.beside, column.difference_unit) == (True, "pp")
    assert (cell.paper, cell.n) == (33.8, 3)
    assert cell.value == pytest.approx(34.3)
    assert cell.sd == pytest.approx(0.5)
    assert cell.difference == pytest.approx(0.5)
    assert {part for _, part in slots(table)} == {"paper", "ours", "difference"}


def test_every_paper_cell_of_a_full_table_is_the_papers(fake, suite):
    fake.fill("coco", "full")
    table = exhibit_of(fake, suite).sections[0].table
    for model, value in COCO_TRUTH.items():
        assert cell_of(table, f"network/{model}", "mIoU", "coco")[1].paper == value
    assert cell_of(table, "network/detr-r101", "FLOPs")[1].paper == 152
    assert all(c.paper is None for row in table.rows if row.kind != "network" for c in row.cells)


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_smoke_and_quick_never_stand_beside_the_paper(fake, suite, profile):
    fake.fill("coco", profile)
    exhibit = exhibit_of(fake, suite)
    table = exhibit.sections[0].table
    assert not table.beside
    assert "not a reproduction" in table.label
    assert all(cell.paper is None and cell.difference is None for row in table.rows for cell in row.cells)
    assert exhibit.printed is not None


def test_a_subset_of_the_split_never_stands_beside_the_paper(fake, suite):
    fake.fill("coco", "full", images=36)
    fake.fill("ade20k", "full", budget=Budget(train_images=100, val_images=None))
    section = exhibit_of(fake, suite).sections[0]
    assert not section.table.beside
    assert sum("not beside the paper's numbers" in note for note in section.table.notes) == 2


def test_another_size_is_not_the_papers_and_is_said(fake, suite):
    fake.done("unet", dataset="coco", profile="full", size=(64, 64))
    exhibit = exhibit_of(fake, suite)
    assert not exhibit.sections
    assert exhibit.notes == ("1 run of these networks is left out: another size, training or evaluation (64x64).",)


def test_runs_of_other_suites_are_not_named_as_left_out(fake, suite):
    """Beside a table: another task, other options, another size or dataset, floors; a shorter training there is."""
    fake.done("unet", dataset="coco", profile="full")
    fake.done("unet", dataset="coco", profile="full", task="semantic")
    fake.done("maskattn-unet", dataset="coco", profile="full", options={"lambda_instance": 0.5})
    fake.done("unet", dataset="coco", profile="full", size=(64, 64))
    fake.done("unet", dataset="scenes", profile="smoke", size=(32, 32))
    fake.done("unet", dataset="coco", profile="full", budget=Budget(train_percent=25))
    assert exhibit_of(fake, suite).notes == ()
    short = Recipe(name="short", source="test", lr=0.001, weight_decay=0, batch_size=8, epochs=20)
    fake.done("unet", dataset="coco", profile="full", recipe=short)
    fake.done("maskattn-unet", dataset="coco", profile="full", recipe=short)
    assert exhibit_of(fake, suite).notes == (
        "2 runs of these networks are left out: another size, training or evaluation (128x128).",
    )


def test_the_flops_column_of_the_paper_says_its_size_is_not_stated_and_takes_no_difference(fake, suite):
    fake.fill("coco", "full")
    column, cell = cell_of(exhibit_of(fake, suite).sections[0].table, "network/maskattn-unet", "FLOPs")
    assert column.paper_title == "paper (input size not stated)"
    assert not column.difference
    assert "128x128" in column.group
    assert (cell.value, cell.paper) == (pytest.approx(68.1), 11)


def test_scenes_is_a_group_without_the_paper(fake, suite):
    fake.fill("coco", "full")
    fake.fill("scenes", "full")
    table = exhibit_of(fake, suite).sections[0].table
    scenes = [column for column in table.columns if column.dataset == "scenes"]
    assert [column.metric for column in scenes] == ["mIoU", "PQ", "AP"]
    assert not any(column.beside for column in scenes)
    assert table.columns[-1].dataset == "scenes"


def test_two_split_hashes_never_share_a_column(fake, suite):
    fake.done("unet", 0.30, val_hash="11" * 32)
    fake.done("unet", 0.50, val_hash="22" * 32)
    table = exhibit_of(fake, suite).sections[0].table
    cells = zip(table.columns, table.rows[-1].cells, strict=True)
    found = [(column.split, cell.value) for column, cell in cells if column.metric == "mIoU"]
    assert found == [
        ("11111111", pytest.approx(30)),
        ("22222222", pytest.approx(50)),
    ]
    assert [c.group for c in table.columns if c.metric == "PQ"] == [
        "scenes, 32 images, split 11111111",
        "scenes, 32 images, split 22222222",
    ]


def test_two_settings_are_never_averaged(fake, suite):
    for seed in (0, 1):
        fake.done("unet", 0.30, seed=seed)
    recipe = fake.done("unet", 0.30, seed=1).spec.recipe
    fake.done("unet", 0.50, seed=0, recipe=recipe.model_copy(update={"lr": 0.01}))
    table = exhibit_of(fake, suite).sections[0].table
    assert cell_of(table, "network/unet", "mIoU")[1].value == pytest.approx(30)
    other = cell_of(table, "network/unet/1", "mIoU")[1]
    assert other.value == pytest.approx(50)
    assert other.mark is None
    assert "another setting: recipe.lr 0.01 instead of 0.001" in other.notes
    assert sum("recipe.lr" in note for note in table.notes) == 1


def test_profiles_have_sections_of_their_own_the_highest_first(fake, suite):
    for profile in ("smoke", "paper", "quick", "full"):
        fake.done("unet", profile=profile)
    assert [s.table.profile for s in exhibit_of(fake, suite).sections] == ["paper", "full", "quick", "smoke"]


def test_protocol_versions_do_not_mix(fake, suite):
    fake.done("unet", protocol_version=1)
    fake.done("detr-r50", protocol_version=2)
    assert [s.table.protocol for s in exhibit_of(fake, suite).sections] == [
        "standard, version 1",
        "standard, version 2",
    ]


def test_an_unknown_profile_is_no_reproduction(fake, suite):
    fake.done("unet", dataset="coco", profile="mine", budget=Budget(train_images=None, val_images=None))
    table = exhibit_of(fake, suite).sections[0].table
    assert "not a reproduction" in table.label
    assert not table.beside


def test_floors_come_first_then_the_untrained_then_the_networks(fake, suite):
    fake.fill("scenes", "smoke")
    table = exhibit_of(fake, suite).sections[0].table
    assert [row.kind for row in table.rows] == ["floor"] * 2 + ["untrained"] * 6 + ["network"] * 6
    assert [row.model for row in table.rows[-6:]] == [entry.name for entry in suite.models]
    assert cell_of(table, "untrained/unet", "mIoU")[1].value == pytest.approx(1.0)


def test_floors_and_untrained_rows_are_never_marked(fake, suite):
    fake.done("majority", 0.9, 0.9, 0.9)
    fake.done("unet", 0.3, 0.2, 0.1, untrained=0.8)
    fake.done("detr-r50", 0.2, 0.1, 0.3, untrained=0.7)
    table = exhibit_of(fake, suite).sections[0].table
    assert {row.kind for row in table.rows for cell in row.cells if cell.mark} == {"network"}


def test_a_mark_of_one_seed_says_it_cannot_tell_noise(fake, suite):
    fake.fill("scenes", "smoke")
    table = exhibit_of(fake, suite).sections[0].table
    assert ONE_SEED in cell_of(table, "network/mask2former-r101", "mIoU")[1].notes
    assert any("one seed" in note for note in table.notes)


def test_costs_take_the_lower_and_come_from_one_dataset(fake, suite):
    fake.fill("coco", "quick")
    fake.done("unet", dataset="ade20k", profile="quick", flops=99e9)
    table = exhibit_of(fake, suite).sections[0].table
    column, cell = cell_of(table, "network/unet", "FLOPs")
    assert (column.dataset, cell.value) == ("coco", pytest.approx(12.1))
    assert cell_of(table, "network/mask2former-r50", "FLOPs")[1].mark == "best"


def test_a_cost_from_another_dataset_is_noted(fake, suite):
    fake.done("unet", dataset="coco", profile="quick")
    fake.done("detr-r50", dataset="ade20k", profile="quick")
    table = exhibit_of(fake, suite).sections[0].table
    assert cell_of(table, "network/detr-r50", "Params")[1].notes == ("with the categories of ade20k",)


def test_uncounted_operators_are_listed(fake, suite):
    fake.done("unet", uncounted={"aten::erf": 2})
    table = exhibit_of(fake, suite).sections[0].table
    assert any("not counted: aten::erf (2)" in note for note in table.notes)


def test_mixed_devices_are_noted(fake, suite):
    fake.done("unet", attempt={"device": "cpu"})
    fake.done("detr-r50", attempt={"device": "NVIDIA H100"})
    notes = exhibit_of(fake, suite).sections[0].table.notes
    expected = "The runs on scenes, split abababab, come from different devices. NVIDIA H100: DETR-R50; cpu: U-Net."
    assert expected in notes


def test_an_attempt_without_any_key_is_read(fake, suite):
    fake.done("unet", attempt={})
    assert exhibit_of(fake, suite).sections[0].table.rows


def test_scores_that_do_not_exist_stay_absent(fake, suite):
    fake.done("unet", 0.3, None, None)
    cell = cell_of(exhibit_of(fake, suite).sections[0].table, "network/unet", "PQ")[1]
    assert (cell.value, cell.mark, cell.n) == (None, None, 0)


def test_a_network_outside_the_suite_is_a_guest_without_marks(fake, suite):
    fake.done("unet", 0.3)
    fake.done("detr-r50", 0.2)
    fake.done("unet-small", 0.9)
    table = exhibit_of(fake, suite).sections[0].table
    assert (table.rows[-1].label, table.rows[-1].kind) == ("U-Net (small)", "guest")
    assert not any(cell.mark for cell in table.rows[-1].cells)
    assert cell_of(table, "network/unet", "mIoU")[1].mark == "best"
    assert "Not planned by this suite, so without marks and not weighed by them: U-Net (small)." in table.notes


def test_runs_with_other_options_are_not_the_suites(fake, suite):
    fake.done("unet", options={"width": 8})
    exhibit = exhibit_of(fake, suite)
    assert not exhibit.sections
    assert exhibit.notes == ()


def test_what_is_missing_is_named_with_its_reason(fake, suite, lack):
    fake.done("unet", profile="full", dataset="coco", seed=0)
    fake.ended("unet", "failed", "out of memory", profile="full", dataset="coco", seed=1)
    fake.ended("unet", "diverged", "loss is not finite at step 7", profile="full", dataset="coco", seed=2)
    missing = {"ade20k": lack("no folder ade20k/", "bench data get ade20k")}
    gaps = exhibit_of(fake, suite, missing).sections[0].gaps
    unet = {(g.dataset, g.seeds): g.reason for g in gaps if "U-Net" in g.models}
    assert unet == {
        ("coco", (1,)): "failed: out of memory",
        ("coco", (2,)): "diverged: loss is not finite at step 7",
        ("ade20k", (0, 1, 2)): "missing dataset: no folder ade20k/",
        ("cityscapes", (0, 1, 2)): "not run",
    }
    assert {g.how for g in gaps if g.dataset == "ade20k"} == {"bench data get ade20k"}
    assert {g.how for g in gaps if g.reason == "not run"} == {"python -m bench run --suite table4 --profile full"}
    planned = 60 - 1  # six networks, three datasets, three seeds, and two floors once on each; one is done
    assert sum(len(g.models) * len(g.seeds) for g in gaps) == planned


def test_the_profile_cuts_the_seeds_that_are_missed(fake, suite):
    fake.done("unet", dataset="coco")
    gaps = exhibit_of(fake, suite).sections[0].gaps
    assert {gap.seeds for gap in gaps} == {(0,)}


def test_a_run_on_another_split_does_not_fill_the_gap(fake, suite):
    fake.done("unet", val_hash="11" * 32)
    fake.done("detr-r50", val_hash="22" * 32)
    gaps = exhibit_of(fake, suite).sections[0].gaps
    assert ("scenes, split 11111111", True) in {(g.dataset, "DETR-R50" in g.models) for g in gaps}


def test_a_suite_without_any_run_lists_everything(fake, suite, lack):
    exhibit = exhibit_of(fake, suite, {"coco": lack("no folder coco/", "put it there")})
    assert not exhibit.sections
    assert {(g.dataset, g.reason) for g in exhibit.gaps} == {
        ("coco", "missing dataset: no folder coco/"),
        ("ade20k", "not run"),
        ("cityscapes", "not run"),
    }


def test_a_failed_run_alone_is_listed_with_its_reason(fake, suite):
    fake.ended("unet", "failed", "out of memory", dataset="coco")
    exhibit = exhibit_of(fake, suite)
    assert not exhibit.sections
    assert ("coco", ("U-Net",), "failed: out of memory") in {(g.dataset, g.models, g.reason) for g in exhibit.gaps}


def test_a_users_suite_has_no_paper_table(fake, suite):
    own = suite.model_copy(update={"name": "mine", "exhibit": None})
    fake.fill("coco", "full")
    exhibit = exhibit_of(fake, own)
    assert exhibit.printed is None
    assert not exhibit.sections[0].table.beside


def test_records_are_plain_frozen_data(fake, suite):
    fake.fill("scenes", "smoke")
    with pytest.raises(dataclasses.FrozenInstanceError):
        exhibit_of(fake, suite).sections[0].table.title = "typed"


@pytest.mark.parametrize(
    "less",
    [
        {"train_images": 100},
        {"images": 100},
        {"recipe": Recipe(name="long", source="test", lr=0.001, weight_decay=0, batch_size=8, epochs=101)},
        {"budget": Budget(train_images=10, val_images=None)},
    ],
)
def test_less_than_the_whole_protocol_never_stands_beside_the_paper(fake, suite, less):
    fake.done("unet", dataset="coco", profile="full", **less)
    table = exhibit_of(fake, suite).sections[0].table
    assert not any(column.beside for column in table.columns)


def test_a_shorter_training_is_another_suites(fake, suite):
    """That of Figure 4 is: 20 epochs, whatever the profile."""
    short = Recipe(name="short", source="test", lr=0.001, weight_decay=0, batch_size=8, epochs=20)
    fake.done("unet", dataset="coco", profile="full", recipe=short)
    exhibit = exhibit_of(fake, suite)
    assert not exhibit.sections
    assert exhibit.notes == ("1 run of these networks is left out: another size, training or evaluation (128x128).",)
    capped = suite.model_copy(update={"epochs": 20})
    assert len(exhibit_of(fake, capped).sections) == 1
    fake.done("unet", dataset="coco", profile="full")
    assert len(exhibit_of(fake, capped).records) == 1


def test_under_a_users_own_profile_the_longest_training_comes_first_and_a_cap_holds(fake, suite):
    """What the profile says is not known: a suite with a cap has run in the same folder."""
    for epochs, miou, seeds in ((40, 0.5, (0,)), (20, 0.3, (0, 1, 2))):
        recipe = Recipe(name="test", source="test", lr=0.001, weight_decay=0, batch_size=8, epochs=epochs)
        for seed in seeds:
            fake.done("unet", miou, profile="mine", recipe=recipe, seed=seed)
    (_, first), (_, rest) = (
        cell_of(exhibit_of(fake, one).sections[0].table, "network/unet", "mIoU")
        for one in (suite, suite.model_copy(update={"epochs": 20}))
    )
    assert (first.value, rest.value) == (50, pytest.approx(30))


def test_the_own_recipe_comes_first_where_a_suite_trains_shorter(fake, suite):
    own = recipe_for(find("unet"), {}, profile_named("full"), "panoptic").model_copy(update={"epochs": 20})
    for seed in (0, 1):
        fake.done("unet", 0.3, profile="full", recipe=own.model_copy(update={"lr": 0.5}), seed=seed)
    fake.done("unet", 0.5, profile="full", recipe=own)
    table = exhibit_of(fake, suite.model_copy(update={"epochs": 20})).sections[0].table
    assert cell_of(table, "network/unet", "mIoU")[1].value == 50


def test_a_row_with_other_settings_on_another_dataset_says_so(fake, suite):
    other = Recipe(name="other", source="test", lr=0.5, weight_decay=0, batch_size=8, epochs=100)
    fake.done("unet", dataset="coco", profile="full")
    fake.done("unet", dataset="ade20k", profile="full", recipe=other)
    notes = exhibit_of(fake, suite).sections[0].table.notes
    assert any("on ade20k another setting than on coco" in n and "recipe.lr 0.5 instead of 0.001" in n for n in notes)


def test_query_networks_from_random_weights_are_said_to_be_so(fake, suite):
    fake.done("unet")
    assert not any("random weights" in note for note in exhibit_of(fake, suite).sections[0].table.notes)
    fake.done("detr-r50")
    assert any("random weights" in note for note in exhibit_of(fake, suite).sections[0].table.notes)
