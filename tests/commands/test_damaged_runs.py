"""`plan`, `status` and `run` over records that ended and cannot be read: never redone unasked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import main
from bench.commands import carry_out
from bench.data.catalog import DataRoots
from bench.plan import Choice, make_plan
from bench.record import Status
from bench.spec import Profile, Suite
from bench.stop import Stop
from bench.store import Store

SUITE = {"name": "mine", "title": "t", "task": "semantic", "sizes": ["16x16"], "models": ["unet-small"]}
PROFILE = {"name": "tiny", "summary": "s", "label": "l", "reproduction": False, "epochs": 1, "train_images": 2}
Bench = Callable[..., tuple[int, str]]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of three runs, of which one failed, one diverged and one has a record of a newer schema."""
    suite, profile = {**SUITE, "datasets": ["scenes"]}, {**PROFILE, "val_images": 2}
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump(suite))
    Path("tiny.yaml").write_text(yaml.safe_dump(profile))
    store = Store(tmp_path / "results")
    choice = Choice(Suite.model_validate(suite), Profile.model_validate(profile), DataRoots(), tmp_path / "prepared")
    cells = make_plan(choice, store, lambda *_: None).cells
    assert [cell.spec.model for cell in cells] == ["majority", "position-prior", "unet-small"]
    for cell, state in zip(cells, ("failed", "diverged", "diverged"), strict=True):
        store.write_attempt(cell.spec.run_id, store.begin(cell.spec), {})
        store.finish(Status(run_id=cell.spec.run_id, state=state, attempt=1, reason="r"))  # type: ignore[arg-type]
    path = store.folder(cells[2].spec.run_id) / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))
    return store.root


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks whose runs were to be executed."""
    models: list[str] = []

    def execute_all(cells: Any, *_: Any) -> Stop:
        models.extend(cell.spec.model for cell in cells)
        return Stop()

    monkeypatch.setattr(carry_out, "execute_all", execute_all)
    return models


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(command: str, *words: str) -> tuple[int, str]:
        code = main([command, "--suite", "./mine.yaml", "--profile", "./tiny.yaml", *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        ([], ["majority"]),
        (["--only", "missing"], []),
        (["--only", "failed"], ["majority", "position-prior"]),
        (["--only", "damaged"], ["unet-small"]),
    ],
)
def test_a_damaged_run_is_chosen_only_when_asked_for(
    results: Path, executed: list[str], bench: Bench, only: list[str], chosen: list[str]
) -> None:
    before = content(results)
    code, text = bench("run", "--device", "cpu", *only)
    assert (executed, code) == (chosen, 1)
    said = " ".join(text.split())
    assert said.count("has schema version 2; this program reads version 1") == 1
    assert "next: the same command with `--only damaged` runs the damaged ones again" in said
    assert content(results) == before


def test_plan_and_status_say_so_and_why(results: Path, bench: Bench) -> None:
    plan, status = (" ".join(bench(command)[1].split()) for command in ("plan", "status"))
    assert "damaged unet-small-" in plan
    assert "0/3 done, 1 failed, 1 diverged, 1 damaged" in status
    for text in (plan, status):
        assert "has schema version 2; this program reads version 1" in text
    counted = json.loads(bench("status", "--json")[1])
    assert counted["states"]["damaged"] == 1
    assert any("schema version 2" in reason for reason in counted["failures"].values())
    assert [row["state"] for row in json.loads(bench("plan", "--json")[1])["runs"]] == ["failed", "diverged", "damaged"]


def test_checkpoints_that_a_killed_process_left_of_a_finished_run_are_removed(
    results: Path, executed: list[str], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = results.glob("majority-*")
    left = folder / "checkpoint" / "step-000000008-0123456789abcdef.safetensors"
    left.parent.mkdir()
    left.write_bytes(b"")
    bench("run", "--device", "cpu", "--only", "missing")
    assert left.exists()  # of a run that failed: it goes on from there
    monkeypatch.setattr("bench.cell.Cell.state", property(lambda cell: "done"))
    monkeypatch.setattr(carry_out, "_done_rows", lambda display, _: display)
    bench("run", "--device", "cpu", "--only", "missing")
    assert not left.exists()
