"""What the page says of the search: each answer follows from the record, and turns with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.files import write_json
from bench.measure.readings import Readings, readings
from bench.measure.search import search
from bench.measure.search_records import SearchRecord, search_file
from bench.report.facts import Facts
from bench.report.search import LABELS, answers, search_section

NAME = "maskattn-unet"


def few() -> Readings:
    """The first reading of each family, and of two choices all values."""
    families = {name: family.only() for name, family in readings().families.items()}
    whole = readings().families[NAME]
    kept = {"modules": families[NAME].modules | {"places": whole.modules["places"]}, "counting": whole.counting}
    return readings().model_copy(update={"families": families | {NAME: families[NAME].model_copy(update=kept)}})


@pytest.fixture(scope="module")
def records() -> dict[str, SearchRecord]:
    return {name: search(few(), wanted) for name, wanted in few().searches.items()}


def write(records: dict[str, SearchRecord], results: Path) -> Path:
    for name, record in records.items():
        search_file(results, name).parent.mkdir(parents=True, exist_ok=True)
        write_json(search_file(results, name), record.model_dump(mode="json"))
    return results


def answer(facts: Facts, words: str) -> str:
    (found,) = [line[1] for line in facts.lines if words in line[0]]
    return found


def test_without_a_record_the_page_says_what_to_run(tmp_path: Path) -> None:
    (only,) = search_section(tmp_path)
    assert only.lines == ()
    assert "bench audit --search" in only.notes[0]


def test_where_no_reading_is_within_rounding_the_answer_is_no(records: dict[str, SearchRecord]) -> None:
    facts = answers(records)
    found = answer(facts, "46 M and 11 G of MaskAttn-UNet")
    best = records[NAME].nearest[0]
    assert found.startswith("No: 0 of 36 readings (1 networks)")
    assert f"the nearest is {100 * best.distance:.2f} % off" in found
    assert answer(facts, "32 M and 4 G without").startswith("No: 0 of 36")


def test_where_one_is_the_answer_is_yes_with_what_it_contradicts(records: dict[str, SearchRecord]) -> None:
    record = records[NAME]
    levels = (record.levels[0], record.levels[1].model_copy(update={"within": 7}), *record.levels[2:])
    changed = record.model_copy(update={"within": 7, "levels": levels})
    found = answer(answers({NAME: changed}), "46 M and 11 G of MaskAttn-UNet")
    assert found.startswith("Yes: 7 of 36 readings")
    assert f"the best of them contradict {levels[1].contradictions} of the paper's sentences (7 readings)" in found
    assert f"that contradict {levels[0].contradictions}, none is" in found


def test_every_number_of_a_reading_is_the_records(records: dict[str, SearchRecord], tmp_path: Path) -> None:
    found = search_section(write(records, tmp_path))
    for name, record in records.items():
        (shown,) = [facts for facts in found if facts.title == f"{LABELS[name]}: the nearest readings"]
        assert len(shown.lines) == min(10, len(record.nearest))
        for line, reading in zip(shown.lines, record.nearest, strict=False):
            numbers = [f"{reading.parameters / 1e6:.2f}", f"{reading.flops / 1e9:.2f}", f"{100 * reading.distance:.2f}"]
            assert list(line[1:4]) == numbers
            assert all(f"{choice} {value}" in line[5] for choice, value in reading.choices.items())
    assert all(len(line) == len(facts.heads) for facts in found for line in facts.lines)
    assert search_section(tmp_path) == found


def test_the_facts_of_one_module_are_those_of_the_audit(records: dict[str, SearchRecord]) -> None:
    facts = answers(records)
    assert answer(facts, "one module at full resolution").startswith("34.36 G")
    assert answer(facts, "free N x N mask").startswith("268.4 M")


def test_a_free_mask_moves_the_parameters_most(tmp_path: Path) -> None:
    """Two modules at full resolution in the first reading, so over 536 M."""
    families = {NAME: few().families[NAME].model_copy(update={"modules": readings().families[NAME].modules})}
    changed = few().model_copy(update={"families": few().families | families})
    found = search_section(write({NAME: search(changed, changed.searches[NAME])}, tmp_path))
    (shown,) = [facts for facts in found if "moves the count most" in facts.title]
    assert shown.lines[0][0] == "mask: free, N x N a head"
    assert shown.lines[1][0] == "mask: free, N x N"
    assert float(shown.lines[1][3]) > 2 * 268.4
