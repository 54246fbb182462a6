"""How each row was trained, beside the paper's word; where rows did not have the same, it is said."""

import pytest

from bench.paper.training import stated
from bench.report.build import exhibit_of, read_records
from bench.report.render.markdown import render_markdown
from bench.report.site.exhibit_page import exhibit_page
from bench.report.site.links import Links
from bench.settings import settings
from bench.spec import Budget, Recipe, Tuning
from bench.train.recipes import DETR, MASKATTN, tuned
from models.registry import full_options

OURS = (
    "paper: input 128x128, 1000 epochs, batch 14, AdamW, rate 0.0005, weight decay 0.001, random scale jittering, "
    "horizontal flipping; not stated: initial weights, schedule, numbers of the augmentation, post-processing"
)
SHORT = MASKATTN.model_copy(update={"epochs": 2})
TUNING = Tuning(factors=(0.3, 1.0, 3.0), factor=1.0, metric="PQ", held_out=20, seed=0)


def section(fake, suite, number=0):
    return exhibit_of(suite, read_records(fake.store)[0], {}).sections[number]


def lines(section, title="How each row was trained"):
    (facts,) = [facts for facts in section.facts if facts.title == title]
    return {line[0]: dict(zip(facts.heads, line, strict=True)) for line in facts.lines}


def test_a_row_tells_all_that_it_was_given(fake, suite):
    recipe = DETR.model_copy(update={"epochs": 7, "warmup_steps": 20})
    options = full_options("detr-r50", {"backbone_weights": "imagenet"})
    fake.done("detr-r50", options=options, recipe=recipe, train_images=60)
    assert lines(section(fake, suite))["DETR-R50"] == {
        "Network": "DETR-R50",
        "Data": "scenes",
        "Initial weights": "backbone trained on ImageNet, the rest random",
        "Input": "64x64",
        "Epochs": "7",
        "Image passes": "336",
        "Batch": "16",
        "Optimiser": "AdamW, rate 0.0001, weight decay 0.0001, the backbone at 0.1 of the rate, gradients clipped at "
        "norm 0.1 (recipe detr)",
        "Schedule": "one drop, 20 steps of warm-up",
        "Augmentation": "scale 0.75 to 1.5, flip 0.5",
        "Post-processing": "queries from score 0.85, segments from 5 pixels",
        "Search of the rate": "none",
        "The paper": "paper: not stated",
    }


def test_the_papers_own_network_has_what_sec_4_2_states_and_what_it_leaves_open(fake, suite):
    fake.fill("scenes", "smoke")
    fake.done("unet-small")
    found = {label: line["The paper"] for label, line in lines(section(fake, suite)).items()}
    assert found.pop("MaskAttn-UNet") == OURS
    assert found.pop("U-Net (small)") == "not in the paper"
    assert set(found.values()) == {"paper: not stated"}
    assert len(found) == 5


def test_the_semantic_task_has_its_own_batch_and_no_instances():
    assert "batch 8, " in stated("maskattn-unet", "semantic")
    assert "post-processing" not in stated("maskattn-unet", "semantic")
    assert stated("self-attention-unet", "panoptic") == "not in the paper"


@pytest.mark.parametrize(
    ("exhibit", "said"),
    [
        ("table4", "paper: input"),
        ("table8", "paper: not stated for its Table 8; in Sec. 4.2: input"),
        ("sizes", "paper: not stated for its Table 8; in Sec. 4.2: input"),
        ("figure4", "paper: 20 epochs for its Figure 4, nothing else stated there; in Sec. 4.2: input"),
    ],
)
def test_sec_4_2_is_not_taken_for_an_exhibit_that_it_does_not_tell_of(exhibit, said):
    assert stated("maskattn-unet", "semantic", exhibit).startswith(f"{said} 128x128, 1000 epochs, batch 8")
    assert stated("mask2former-r50", "semantic", exhibit) == "paper: not stated"


def test_what_the_paper_states_is_in_its_text(shared_paper):
    text = (shared_paper / "maskattn_unet.md").read_text()
    training = text[text.index("## 4.2. Training Settings") :].partition("\n## ")[0]
    for word in ("1000 epochs", r"$128 \times 128$", "batch size of 14", "AdamW", r"$5 \times 10^{-4}$", r"$10^{-3}$"):
        assert word in training
    for word in ("pretrain", "pre-train", "schedule", "decay rate", "warm"):
        assert word not in training.lower()


def test_a_row_trained_alike_on_two_datasets_is_one_line_and_else_two(fake, suite):
    other = Recipe(name="other", source="test", lr=0.5, weight_decay=0, batch_size=8, epochs=2)
    for dataset in ("coco", "ade20k"):
        fake.done("unet", dataset=dataset, train_images=64)
    fake.done("unet", dataset="cityscapes", recipe=other, train_images=64)
    (facts,) = section(fake, suite).facts
    assert [line[:2] for line in facts.lines] == [("U-Net", "COCO, ADE20K"), ("U-Net", "Cityscapes")]


def test_equal_image_passes_are_not_worth_a_word(fake, suite):
    fake.fill("scenes", "smoke")
    assert not any("Not a fair comparison" in note for note in section(fake, suite).table.notes)


def test_unequal_image_passes_are_named(fake, suite):
    longer = fake.done("unet").spec.recipe.model_copy(update={"epochs": 5})
    fake.done("maskattn-unet", recipe=longer)
    fake.done("detr-r50", dataset="ade20k")
    notes = [note for note in section(fake, suite).table.notes if "Not a fair" in note]
    assert notes == [
        "Not a fair comparison on scenes, split abababab: the networks had different epochs times training images. "
        "128: U-Net; 320: MaskAttn-UNet."
    ]


def test_tuned_and_untuned_rows_have_tables_of_their_own_with_the_floors_in_both(fake, suite):
    fake.done("majority", 0.1)
    fake.done("unet", 0.3)
    recipe = tuned(SHORT, TUNING.model_copy(update={"factor": 3.0}))
    fake.done("unet", 0.5, recipe=recipe)
    lowest = tuned(SHORT, TUNING.model_copy(update={"factor": 0.3}))
    fake.done("maskattn-unet", 0.6, recipe=lowest)
    first, second = exhibit_of(suite, read_records(fake.store)[0], {}).sections
    assert [first.table.title, second.table.title] == [
        "Profile smoke, 64x64",
        "Profile smoke, 64x64, learning rates searched",
    ]
    assert first.table.key != second.table.key
    shown = [[row.label for row in s.table.rows if row.kind != "untrained"] for s in (first, second)]
    assert shown == [["majority class", "U-Net"], ["majority class", "U-Net", "MaskAttn-UNet"]]
    expected = "×3, the best of ×0.3, ×1, ×3 by PQ on 20 % of the training images, seed 0"
    assert lines(second)["U-Net"]["Search of the rate"] == expected
    assert [n for n in second.table.notes if "edge of the search" in n] == [
        "The best rate is at the edge of the search, so a better one may lie beyond: U-Net (scenes); "
        "MaskAttn-UNet (scenes)."
    ]
    commands = {gap.how for gap in second.gaps if gap.dataset == "scenes"}
    assert commands == {"python -m bench run --suite table4 --tuned"}


def test_floors_alone_open_no_table_beside_the_tuned(fake, suite):
    fake.done("majority", 0.1)
    fake.done("unet", 0.5, recipe=tuned(SHORT, TUNING))
    (only,) = exhibit_of(suite, read_records(fake.store)[0], {}).sections
    assert only.table.title.endswith("learning rates searched")
    assert not any("edge" in note for note in only.table.notes)


def test_rows_of_different_searches_are_named(fake, suite):
    fake.done("unet", recipe=tuned(SHORT, TUNING))
    fake.done("maskattn-unet", recipe=tuned(SHORT, TUNING.model_copy(update={"factors": (1.0, 3.0)})))
    (note,) = [note for note in section(fake, suite).table.notes if "Not a fair" in note]
    assert "different searches of the learning rate" in note
    assert "×1, ×3 by PQ on 20 % of the training images, seed 0: MaskAttn-UNet" in note


@pytest.fixture
def searched(fake, suite):
    """U-Net's search: ×1 gave PQ 20, ×0.3 10, ×3 diverged."""
    budget = Budget(train_images=64, held_out=20)
    for factor, pq in ((0.3, 0.1), (1.0, 0.2)):
        recipe = SHORT.model_copy(update={"lr": 5e-4 * factor})
        fake.done("unet", 0.9, pq, recipe=recipe, budget=budget, val_hash="cd" * 32, images=12)
    recipe = SHORT.model_copy(update={"lr": 15e-4})
    fake.ended("unet", "diverged", "test", recipe=recipe, budget=budget, val_hash="cd" * 32)
    for batch_size in range(2, 8):  # of other searches
        another = SHORT.model_copy(update={"batch_size": batch_size})
        fake.done("unet", 0.9, 0.7, recipe=another, budget=budget, val_hash="cd" * 32, images=12)
    fake.done("unet", recipe=tuned(SHORT, TUNING))
    return fake


def test_the_search_behind_a_row_is_shown(searched, suite):
    found = lines(section(searched, suite), "The search of the learning rates")
    assert found["U-Net"] == {
        "Network": "U-Net",
        "Data": "scenes",
        "Score (%)": "PQ",
        "×0.3": "10.0",
        "×1": "20.0",
        "×3": "diverged",
    }


def test_a_candidate_has_no_place_in_a_table_of_scores(searched, suite):
    exhibit = exhibit_of(suite, read_records(searched.store)[0], {})
    (only,) = exhibit.sections
    assert [row.cells[2].n for row in only.table.rows if row.kind == "network"] == [1]
    assert len(exhibit.records) == 1
    assert exhibit.notes == ()
    assert "90.0" not in render_markdown(exhibit, "../results", {})


def test_the_page_and_markdown_escape_what_they_show(fake, suite):
    recipe = Recipe(name="a<b>|c", source="test", lr=0.1, weight_decay=0, batch_size=8, epochs=2)
    fake.done("unet", recipe=recipe)
    exhibit = exhibit_of(suite, read_records(fake.store)[0], {})
    assert "a\\<b\\>\\|c" in render_markdown(exhibit, "../results", {})
    assert "a&lt;b&gt;|c" in exhibit_page(exhibit, Links("../results", frozenset()), {})


def test_runs_at_the_recipes_own_rate_come_before_the_tuned(fake):
    for seed in (0, 1):
        fake.done("unet", recipe=tuned(SHORT, TUNING), seed=seed)
    fake.done("unet", recipe=SHORT)
    rates = [[run.spec.recipe.tuning for run in group] for group in settings(fake.store.records())]
    assert rates == [[None], [TUNING, TUNING]]
