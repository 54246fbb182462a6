"""Figure 4: losses with and without their weight, and what the combined loss may choose."""

import pytest

from bench.named import load_named
from bench.report.build import exhibit_of, read_records
from bench.report.exhibits.lambda_sweep import COMBINED, falls
from bench.report.tables.table import Cell
from bench.spec import ModelEntry, Suite
from models.registry import full_options
from tests.report.suites import cells, exhibit

TERMS = {"cross_entropy": 2.0, "instance_classification": 1.5}
WEIGHTS = (0.1, 0.5, 1.1)


def fill(fake, **where):
    """Test data: an unweighted contrastive term of 5, PQ highest in the middle."""
    for weight, pq in zip(WEIGHTS, (0.20, 0.30, 0.25), strict=True):
        options = full_options("maskattn-unet", {"contrastive_weight": weight})
        terms = {**TERMS, "instance_contrastive": 5 * weight}
        losses = (9.0, sum(terms.values()))
        fake.done("maskattn-unet", 0.4, pq, 0.1, options=options, losses=losses, terms=terms, **where)


def section(fake):
    (found,) = exhibit(fake, "figure4").sections
    return found


def test_each_weight_has_its_losses_with_and_without_the_weight(fake):
    fill(fake)
    table = section(fake).table
    for weight in WEIGHTS:
        found = {m: cells(table, f"MaskAttn-UNet, contrastive_weight={weight}", metric=m)[0].value for m in LOSSES}
        assert list(found.values()) == pytest.approx([3.5 + 5 * weight, 5.0, 2.0, 1.5])
        assert cells(table, f"MaskAttn-UNet, contrastive_weight={weight}", metric=COMBINED)[0].mark is None


LOSSES = (COMBINED, "contrastive, without its weight", "cross-entropy", "instance classification")


def test_a_weight_of_zero_has_no_term_without_its_weight(fake):
    suite = load_named("suite", "figure4", Suite)
    options = {"contrastive_weight": 0.0}
    entries = (ModelEntry(name="maskattn-unet", options=options), *suite.models)
    terms = {**TERMS, "instance_contrastive": 0.0}
    fake.done("maskattn-unet", options=full_options("maskattn-unet", options), losses=(9.0, 3.5), terms=terms)
    (found,) = exhibit_of(suite.model_copy(update={"models": entries}), read_records(fake.store)[0], {}).sections
    values = [cells(found.table, "MaskAttn-UNet, contrastive_weight=0.0", metric=m)[0].value for m in LOSSES[:3]]
    assert values == [3.5, None, 2.0]


def test_the_figure_has_a_panel_a_loss_and_a_panel_a_score(fake):
    fill(fake)
    losses, scores = section(fake).figures[0].rows
    assert [[x for x, _ in panel.lines[0].points] for panel in (*losses, *scores)] == [list(WEIGHTS)] * 7
    assert "lowest at 0.5 in the paper" in losses[0].title
    assert [y for _, y in losses[1].lines[0].points] == pytest.approx([5, 5, 5])
    assert [panel.y_label for panel in scores] == ["mIoU (%)", "PQ (%)", "AP (%)"]
    assert {panel.lines[0].method for panel in (*losses, *scores)} == {"maskattn-unet"}


def test_what_each_number_would_choose_is_said(fake):
    fill(fake)
    facts = section(fake).facts[0]
    assert facts.lines[0][1:] == ("0.1", "0.1, 0.5, 1.1", "0.5", "0.1, 0.5, 1.1", "never falls")


def test_a_fall_of_the_combined_loss_is_held_against_the_seeds():
    def told(first, second, **more):
        return falls({0.1: Cell(value=first, **more), 0.3: Cell(value=second, **more)})

    assert told(5.0, 5.0) == told(5.0, 6.0) == "never falls"
    assert told(5.0, 4.9) == "falls by 0.100 from 0.1 to 0.3, one seed: cannot tell from noise"
    assert told(5.0, 4.9, sd=0.2, n=3) == "falls by 0.100 from 0.1 to 0.3, within the seeds' spread"
    assert told(5.0, 4.5, sd=0.2, n=3) == "falls by 0.500 from 0.1 to 0.3, beyond the seeds' spread"
    assert falls({0.1: Cell(value=5.0)}) == "-"


def test_a_thinned_sweep_says_so_and_lacks_only_its_own_points(fake):
    fill(fake)
    found = section(fake)
    assert found.table.notes[0] == "The sweep is thinned: the profile smoke takes 5 of its 11 points."
    lacking = {model for gap in found.gaps if gap.dataset == "scenes" for model in gap.models}
    assert len([model for model in lacking if "contrastive_weight" in model]) == 2


def test_without_histories_there_are_scores_and_no_losses(fake):
    fake.done("maskattn-unet", 0.4, 0.3, 0.2)
    found = section(fake)
    (row,) = (row for row in found.table.rows if row.kind == "network")
    assert [cell.value for cell in row.cells][-4:] == [None] * 4
    assert [len(panel.lines) for panel in found.figures[0].rows[0]] == [0, 0, 0, 0]


def test_a_network_with_two_kinds_of_options_has_two_curves(fake):
    suite = Suite.model_validate(
        {
            "name": "two",
            "title": "t",
            "exhibit": "figure4",
            "task": "panoptic",
            "sizes": ["64x64"],
            "datasets": ["scenes"],
            "models": [
                {"name": "maskattn-unet", "options": {"contrastive_weight": weight, "mask": mask}}
                for mask in ("none", "static")
                for weight in (0.1, 0.5)
            ],
        }
    )
    for entry in suite.models:
        pq = 0.2 if entry.options["mask"] == "none" else 0.3
        fake.done("maskattn-unet", 0.4, pq, 0.1, options=full_options("maskattn-unet", entry.options), losses=(2.0,))
    (found,) = exhibit_of(suite, read_records(fake.store)[0], {}).sections
    scores = [row[1].lines[0].points for row in found.figures[0].rows[1::2]]
    assert scores == [((0.1, 20), (0.5, 20)), ((0.1, 30), (0.5, 30))]


def test_floors_alone_have_no_curve(fake):
    fake.done("majority", 0.02, 0.01, 0.0)
    assert [facts.title for facts in section(fake).facts] == []
    assert section(fake).figures == ()
