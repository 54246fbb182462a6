"""The table of differences over images: which pairs it has, where its intervals come from, and what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import main
from bench.evaluate import outcomes
from bench.report.build import build_reports, exhibit_of, gather, read_records
from bench.report.lacking import compute_lacking
from bench.report.notes.over_images import TELLS
from bench.report.render.markdown import render_markdown
from bench.spec import Suite
from bench.store import Store
from models.registry import full_options
from tests.finished import finished

SUITE = {
    "name": "mine",
    "title": "t",
    "task": "panoptic",
    "sizes": ["64x64"],
    "models": ["unet", "maskattn-unet", "u-transformer"],
    "datasets": ["scenes"],
    "seeds": [0, 1],
    "floors": False,
}
SKILLS = {"unet": 0.5, "maskattn-unet": 0.6, "u-transformer": 0.4}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def suite() -> Suite:
    return Suite.model_validate(SUITE)


def finish(store: Store, model: str, skill: float, chance: int, **of_spec: Any) -> None:
    recipe = {"name": "r", "source": "s", "lr": 0.1, "weight_decay": 0, "batch_size": 1, "epochs": 6}
    finished(
        store, skill, chance=chance, model=model, options=full_options(model, {}), recipe=recipe, profile="quick",
        **of_spec,
    )  # fmt: skip


def fill(store: Store, seeds: tuple[int, ...] = (0,)) -> None:
    for seed in seeds:
        for place, (model, skill) in enumerate(SKILLS.items()):
            finish(store, model, skill, 10 * place + seed, seed=seed)


def compute(store: Store, suite: Suite) -> list[str]:
    return compute_lacking(store, gather(store, [suite], {}), lambda *_: None)[1]


def table_of(store: Store, suite: Suite):
    (section,) = exhibit_of(suite, read_records(store)[0], {}).sections
    return section, [facts for facts in section.facts if facts.title == "Differences over images"]


def test_every_row_stands_against_the_proposed_network_seed_by_seed(store: Store, suite: Suite) -> None:
    fill(store, (0, 1))
    section, shown = table_of(store, suite)
    assert shown == []
    assert len(section.lacking) == 4
    assert compute(store, suite) == []
    section, (facts,) = table_of(store, suite)
    assert section.lacking == ()
    assert facts.heads == ("Row", "Against", "Data", "Seed", "mIoU (pp)", "PQ (pp)", "AP (pp)")
    assert [(line[0], line[1], line[3]) for line in facts.lines] == [
        ("U-Net", "MaskAttn-UNet", "0"),
        ("U-Net", "MaskAttn-UNet", "1"),
        ("U-Transformer", "MaskAttn-UNet", "0"),
        ("U-Transformer", "MaskAttn-UNet", "1"),
    ]
    assert all(": lower" in line[4] for line in facts.lines)
    assert TELLS in facts.notes[0]
    assert "12 intervals" in facts.said[1]
    assert "Differences over images" in render_markdown(exhibit_of(suite, read_records(store)[0], {}), "..", {})


def test_a_suites_own_references_come_first(store: Store) -> None:
    fill(store)
    suite = Suite.model_validate(SUITE | {"against": ["unet"]})
    compute(store, suite)
    _, (facts,) = table_of(store, suite)
    assert [line[:2] for line in facts.lines] == [("MaskAttn-UNet", "U-Net"), ("U-Transformer", "U-Net")]
    assert ": higher" in facts.lines[0][4]


def test_without_the_proposed_network_nothing_is_set_against_anything(store: Store) -> None:
    fill(store)
    suite = Suite.model_validate(SUITE | {"models": ["unet", "u-transformer"]})
    section, shown = table_of(store, suite)
    assert (section.lacking, shown) == ((), [])
    assert not [note for note in section.table.notes if "over images" in note]


def test_a_semantic_suite_shows_its_one_number(store: Store) -> None:
    for place, model in enumerate(("unet", "maskattn-unet")):
        finish(store, model, 0.5 + 0.2 * place, place, task="semantic")
    suite = Suite.model_validate(SUITE | {"task": "semantic"})
    assert compute(store, suite) == []
    _, (facts,) = table_of(store, suite)
    assert facts.heads[4:] == ("mIoU (pp)",)
    assert len(facts.lines[0]) == 5


def test_what_cannot_be_computed_is_named_once_and_the_rest_is(store: Store, suite: Suite) -> None:
    fill(store)
    gone = next(run_id for run_id in store.run_ids() if run_id.startswith("u-transformer"))
    (store.folder(gone) / "images.parquet").unlink()
    (said,) = compute(store, suite)
    assert said == f"intervals over images not computed, since images.parquet of these runs is not here: {gone}"
    section, (facts,) = table_of(store, suite)
    assert [line[0] for line in facts.lines] == ["U-Net"]
    (note,) = [note for note in section.table.notes if "not computed" in note]
    assert "U-Transformer against MaskAttn-UNet (scenes)" in note


def test_a_damaged_table_is_said_and_the_rest_is_computed(store: Store, suite: Suite) -> None:
    fill(store)
    spoilt = next(run_id for run_id in store.run_ids() if run_id.startswith("u-transformer"))
    (store.folder(spoilt) / "images.parquet").write_bytes(b"PAR1")
    (said,) = compute(store, suite)
    assert "is not as it was written (another sha256)" in said
    assert len(table_of(store, suite)[1][0].lines) == 1


def test_the_report_is_the_same_without_the_tables_of_images(store: Store, suite: Suite, tmp_path: Path) -> None:
    """As in a fresh checkout: git has the intervals and no images.parquet."""
    fill(store)
    compute(store, suite)
    before = [path.read_bytes() for path in build_reports(store, [suite], {}, tmp_path / "a")]
    for path in store.root.glob("*/images.parquet"):
        path.unlink()
    assert compute(store, suite) == []
    assert [path.read_bytes() for path in build_reports(store, [suite], {}, tmp_path / "b")] == before


def test_a_folder_that_cannot_be_written_to_costs_the_intervals_and_not_the_report(store: Store, suite: Suite) -> None:
    fill(store)
    (store.root / "intervals").write_text("no folder")
    (said,) = compute(store, suite)
    assert said.startswith("intervals over images not computed: ")
    assert table_of(store, suite)[1] == []


def test_a_file_that_goes_away_meanwhile_costs_its_interval_and_not_the_report(
    store: Store, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    found = gather(store, [suite], {})
    reader = outcomes.read_outcomes

    def vanishing(path: Path):
        if "-unet-scenes" in path.parent.name and path.parent.name.startswith("maskattn"):
            path.unlink()
        return reader(path)

    monkeypatch.setattr("bench.evaluate.paired.read_outcomes", vanishing)
    monkeypatch.setattr("bench.evaluate.paired.check_images", lambda record: (record.folder / "images.parquet").stat())
    kept, said = compute_lacking(store, found, lambda *_: None)
    assert kept == 0
    assert len(said) == 2
    assert all(line.startswith("interval over images not computed: ") for line in said)


def test_a_damaged_interval_is_named_in_the_report(store: Store, suite: Suite) -> None:
    fill(store)
    compute(store, suite)
    path = sorted((store.root / "intervals").iterdir())[0]
    path.write_text("{}")
    records, damaged = read_records(store)
    assert list(damaged) == [f"intervals/{path.name}"]
    assert len(exhibit_of(suite, records, {}).sections[0].lacking) == 1
    assert compute(store, suite) == []  # it is made again
    assert read_records(store)[1] == {}


def test_bench_report_computes_them(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(store)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SUITE))
    words = ["--suite", str(tmp_path / "mine.yaml"), "--results", str(store.root), "--out", str(tmp_path / "out")]
    assert main(["report", *words, "--format", "md"]) == 0
    assert len(list((store.root / "intervals").iterdir())) == 2
    said = capsys.readouterr()
    assert said.out.startswith("# t\n")
    assert "### Differences over images" in said.out
    assert said.err == ""
