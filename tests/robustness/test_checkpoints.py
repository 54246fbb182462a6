"""Damaged checkpoints and histories: the one before is used, or none, and never another state."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from bench.errors import UserError
from bench.store import Store, with_history
from bench.train.checkpoints import Checkpoints, Facts, Position, last_place
from tests.robustness.mutations import damaged_bytes, damaged_json, text_of
from tests.robustness.test_records import RECORD, RESULTS
from tests.train.resuming import MAKER, NETWORK, RUN, SCORES


def facts(step):
    position = Position(step=step, sums={"a": 0.3}, history=('{"epoch": 1}',), seconds=1.5, waited=0.5)
    given = {"run_id": RUN, "made_by": MAKER, "steps": 100, "epochs": 10, "position": position, "network": NETWORK}
    return Facts(**given, untrained=SCORES, seconds={"seconds_total": 2.5}, peak_memory_mb=3.0)


@pytest.fixture
def folder(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoint", RUN)
    for step in (10, 20):
        checkpoints.write(facts(step), {"model.weight": torch.full((2, 3), float(step))})
    return tmp_path / "checkpoint"


def test_a_damaged_checkpoint_is_never_used(folder, tmp_path, cases):
    for chance in cases(60):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        path = max(copy.glob("step-*"))
        path.write_bytes(damaged_bytes(path.read_bytes(), chance))
        place = last_place(copy)
        assert place is None or place["step"] in (10, 20) or place["steps"] > 0
        found = list(Checkpoints(copy, RUN).candidates())
        assert [one.facts for one in found] == [facts(10)]
        assert torch.equal(found[0].tensors()["model.weight"], torch.full((2, 3), 10.0))
        assert [left.name for left in copy.glob("*.damaged")] == [f"{path.name}.damaged"]
        shutil.rmtree(copy)


def test_a_damaged_history_is_one_line_or_nothing_changed(tmp_path, cases):
    shutil.copytree(RESULTS / RECORD, tmp_path / RECORD, ignore=shutil.ignore_patterns("checkpoint", "*.parquet"))
    store = Store(tmp_path)
    record = store.record(RECORD)
    whole = with_history(record).history
    path = tmp_path / RECORD / "history.jsonl"
    content = path.read_bytes()
    lines = [json.loads(line) for line in content.splitlines()]
    assert len(whole) == len(lines) > 1
    for number, chance in enumerate(cases(100)):
        damaged = damaged_bytes(content, chance)
        if number % 2:
            place = chance.randrange(len(lines))
            changed = [*map(text_of, lines[:place]), text_of(damaged_json(lines[place], chance))]
            damaged = b"\n".join([*changed, *map(text_of, lines[place + 1 :])]) + b"\n"
        path.write_bytes(damaged)
        try:
            found = with_history(record).history
        except UserError as error:
            assert "\n" not in str(error), str(error)
        else:
            assert found == whole
