"""Which row holds a run, in which order rows stand, and what they are called."""

import pytest

from bench.report.build import exhibit_of, read_records
from bench.report.tables.rows import row_of, suite_rows
from bench.spec import ModelEntry, Recipe, Suite
from models.registry import full_options

KINDS = ("learned-binary", "random-fixed", "none")


@pytest.fixture
def masks(suite):
    entries = [{"name": "maskattn-unet", "options": {"mask": kind}} for kind in KINDS]
    content = {"name": "masks", "exhibit": None, "models": entries, "against": [entries[2], entries[1]]}
    return Suite.model_validate({**suite.model_dump(mode="json"), **content})


def options(**changed):
    return full_options("maskattn-unet", changed)


def labels(exhibit, kind="network"):
    return [row.label for row in exhibit.sections[0].table.rows if row.kind == kind]


def shown(fake, suite):
    return exhibit_of(suite, read_records(fake.store)[0], {})


def test_rows_of_one_network_keep_the_suites_order_and_tell_what_differs(fake, masks):
    for kind in reversed(KINDS):
        for seed in (0, 1):
            fake.done("maskattn-unet", 0.3 + 0.1 * KINDS.index(kind), options=options(mask=kind), seed=seed)
    exhibit = shown(fake, masks)
    assert labels(exhibit) == [f"MaskAttn-UNet, mask={kind}" for kind in KINDS]
    values = [row.cells[2].value for row in exhibit.sections[0].table.rows if row.kind == "network"]
    assert values == [pytest.approx(30), pytest.approx(40), pytest.approx(50)]
    assert labels(exhibit, "untrained") == [f"MaskAttn-UNet, mask={kind}, untrained" for kind in KINDS]
    best = [row.label for row in exhibit.sections[0].table.rows if row.cells[2].mark == "best"]
    assert best == ["MaskAttn-UNet, mask=none"]


def test_a_kind_that_was_not_run_is_a_gap_of_its_own(fake, masks):
    fake.done("maskattn-unet", options=options(mask="none"), dataset="coco")
    gaps = shown(fake, masks).sections[0].gaps
    assert {label for gap in gaps if gap.dataset == "coco" for label in gap.models if "Mask" in label} == {
        "MaskAttn-UNet, mask=learned-binary",
        "MaskAttn-UNet, mask=random-fixed",
    }


def test_guests_alone_open_no_table(fake, masks):
    fake.done("majority", 0.1)
    fake.done("unet", 0.3)
    assert not shown(fake, masks).sections
    assert shown(fake, masks).records == ()
    fake.done("maskattn-unet", options=options(mask="none"))
    assert labels(shown(fake, masks), "guest") == ["U-Net"]


def test_a_second_setting_is_named_by_what_differs(fake, suite):
    recipe = fake.done("unet", seed=0).spec.recipe
    fake.done("unet", seed=1)
    fake.done("unet", 0.5, recipe=recipe.model_copy(update={"lr": 0.01, "batch_size": 4}))
    fake.done("unet", 0.6, recipe=recipe.model_copy(update={"lr": 0.02}), train_hash="12" * 32)
    assert labels(shown(fake, suite), "setting") == [
        "U-Net, batch_size=4, lr=0.01",
        "U-Net, lr=0.02, train_hash=1212121212121212…",
    ]


def test_one_setting_on_two_splits_is_one_row_and_two_are_two(fake, suite):
    recipe = fake.done("unet", dataset="coco").spec.recipe
    for dataset, rates in (("coco", (0.01, 0.02)), ("ade20k", (0.02,))):
        fake.done("unet", dataset=dataset, seed=0)
        fake.done("unet", dataset=dataset, seed=1)
        for rate in rates:
            fake.done("unet", 0.5, dataset=dataset, recipe=recipe.model_copy(update={"lr": rate}))
    rows = {row.label: row for row in shown(fake, suite).sections[0].table.rows if row.kind == "setting"}
    assert sorted(rows) == ["U-Net, lr=0.01", "U-Net, lr=0.02"]
    counts = {label: [cell.n for cell in row.cells[2::3]] for label, row in rows.items()}
    assert counts == {"U-Net, lr=0.01": [1, 0], "U-Net, lr=0.02": [1, 1]}


def test_a_run_is_in_the_row_that_names_its_recipe_else_in_the_first_that_names_none(suite, fake):
    models = (
        ModelEntry(name="unet", recipe="released-coco-panoptic"),
        ModelEntry(name="unet"),
        ModelEntry(name="unet", recipe="released-ade20k-panoptic"),
    )
    rows = suite_rows(suite.model_copy(update={"models": models}))
    assert [row.label for row in rows[2:]] == [
        "U-Net, recipe=released-coco-panoptic",
        "U-Net, recipe=maskattn-paper",
        "U-Net, recipe=released-ade20k-panoptic",
    ]

    def place(name):
        recipe = Recipe(name=name, source="test", lr=0.1, weight_decay=0, batch_size=2)
        return rows.index(row_of(rows, fake.done("unet", recipe=recipe).spec)) - 2

    names = ("released-coco-panoptic", "maskattn-paper", "released-ade20k-panoptic-tuned", "another")
    assert [place(name) for name in names] == [0, 1, 2, 1]
    assert row_of(rows, fake.done("detr-r50").spec) is None


def test_a_run_is_in_the_row_that_names_its_weights(suite, fake):
    starts = ("none", "/some/file.pth", "imagenet")
    models = tuple(ModelEntry(name="detr-r50", options={"backbone_weights": start}) for start in starts)
    rows = suite_rows(suite.model_copy(update={"models": models}))

    def place(start):
        return rows.index(row_of(rows, fake.done("detr-r50", options={"backbone_weights": start}).spec)) - 2

    assert [place(start) for start in ("none", "sha256:" + "ab" * 32, "imagenet")] == [0, 1, 2]


def test_the_papers_number_stands_beside_the_network_as_it_comes_alone(fake, suite):
    entries = ["maskattn-unet", {"name": "maskattn-unet", "options": {"mask": "none"}}]
    two = Suite.model_validate({**suite.model_dump(mode="json"), "models": entries})
    for mask in ("learned-binary", "none"):
        fake.done("maskattn-unet", dataset="coco", profile="full", options=options(mask=mask))
    rows = {row.label: row for row in shown(fake, two).sections[0].table.rows if row.kind == "network"}
    assert rows["MaskAttn-UNet, mask=learned-binary"].cells[2].paper == 45.3
    assert [cell.paper for cell in rows["MaskAttn-UNet, mask=none"].cells] == [None] * 5
