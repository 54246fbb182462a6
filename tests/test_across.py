"""A suite across sizes: networks trained at the largest are evaluated at the others, each size on its own truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.cell import Cell
from bench.commands.evaluate import refusal
from bench.data.catalog import DataRoots
from bench.data.prepared import load
from bench.data.view import View
from bench.plan import Choice, make_plan
from bench.predict import evaluate
from bench.record import Scores
from bench.run import Job, execute
from bench.spec import Profile, Suite, size_text
from bench.stop import Stop, StoppedError
from bench.store import Store
from models.registry import build

SIZES = ["32x32", "24x32", "16x16", "20x20"]
SUITE = {"name": "t", "title": "t", "task": "semantic", "datasets": ["scenes"], "across": True, "floors": True}
PROFILE = {"name": "few", "summary": "s", "label": "few: test data", "reproduction": False, "epochs": 1}
NETWORK = "maskattn-unet-small"  # takes multiples of 8: not 20x20


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def cells_of(folder: Path, prepare: bool = True, **changes: object) -> list[Cell]:
    suite = Suite.model_validate({**SUITE, "sizes": SIZES, "models": [NETWORK], **changes})
    profile = Profile.model_validate({**PROFILE, "train_images": 8, "val_images": 4})
    choice = Choice(suite, profile, DataRoots(), folder / "prepared")
    return list(make_plan(choice, Store(folder / "results"), (lambda *_: None) if prepare else None).cells)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    return cells_of(tmp_path_factory.mktemp("across"))


def across(cells: list[Cell]) -> Cell:
    (found,) = (cell for cell in cells if cell.spec.also_at)
    return found


def job_of(cell: Cell, results: Path) -> Job:
    return Job(cell.spec, results, cell.train, cell.val, "cpu", 1, keep_weights=True, others=cell.others)


def test_only_networks_of_the_largest_size_are_evaluated_elsewhere_and_only_where_they_can(planned: list[Cell]) -> None:
    cell = across(planned)
    assert (cell.spec.model, size_text(cell.spec.size)) == (NETWORK, "32x32")
    assert [size_text(other.size) for other in cell.spec.also_at] == ["24x32", "16x16"]
    by_size = {size_text(one.spec.size): one.spec for one in planned if one.spec.model == NETWORK}
    for other in cell.spec.also_at:  # the truth that the runs of that size have
        own = by_size[size_text(other.size)]
        assert (other.val_hash, other.val_pixels) == (own.val_hash, own.val_pixels)
    assert [load(folder).size for folder in cell.others] == [(24, 32), (16, 16)]


def test_it_is_pending_until_every_size_is_prepared(tmp_path: Path) -> None:
    cell = across(cells_of(tmp_path, prepare=False))
    assert cell.state == "pending"
    assert {(other.val_hash, other.val_pixels) for other in cell.spec.also_at} == {(None, None)}


def test_without_the_key_nothing_is_evaluated_elsewhere(tmp_path: Path) -> None:
    assert not any(cell.spec.also_at or cell.others for cell in cells_of(tmp_path, prepare=False, across=False))


def test_the_trained_network_is_scored_on_each_sizes_truth_also_after_a_stop(
    planned: list[Cell], tmp_path: Path
) -> None:
    job = job_of(across(planned), tmp_path / "whole")
    assert execute(job, lambda _: None) is not None
    folder = job.results / job.spec.run_id
    record = Store(job.results).record(job.spec.run_id)
    assert record.metrics is not None
    assert record.metrics.at_sizes is not None
    assert list(record.metrics.at_sizes) == ["24x32", "16x16"]
    for path, scores in zip(job.others, record.metrics.at_sizes.values(), strict=True):
        data = View(load(path), "semantic")
        model = build(NETWORK, data.categories, job.spec.size, "semantic", **job.spec.options)
        model.load_state_dict(load_file(record.weights))
        found = evaluate(model.to(memory_format=torch.channels_last), data, lambda *_: None)
        assert Scores.model_validate(found.metrics()) == scores
    assert "evaluated at other sizes" in str(refusal(record))

    stop, again = Stop(), replace(job, results=tmp_path / "stopped")
    with pytest.raises(StoppedError):
        execute(
            again, lambda message: stop.ask("SIGTERM") if message.get("phase") == "evaluate_other_sizes" else None, stop
        )
    assert execute(again, lambda _: None) is not None
    files = [(results / job.spec.run_id / "metrics.json").read_bytes() for results in (job.results, again.results)]
    assert files[0] == files[1]
    assert json.loads(files[0])["at_sizes"]["16x16"]["images"] == 4
    assert (folder / "status.json").exists()
