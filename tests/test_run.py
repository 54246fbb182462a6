"""One run that is stopped, fails or diverges, and what the next attempt makes of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import bench.run
from bench.data.catalog import DataRoots
from bench.lock import LostLeaseError
from bench.named import load_named
from bench.plan import Choice, make_plan
from bench.record import Status
from bench.run import Job, execute
from bench.spec import Profile, Suite
from bench.stop import Stop, StoppedError
from bench.store import Store
from bench.train.loop import DivergedError, Trainer
from models.interface import Batch
from tests.execute.commands import write_suite

STEPS = 8  # four an epoch
RESULTS = ("metrics.json", "history.jsonl", "network.json", "longrange.json", "checkpoint/weights.safetensors")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("suite")
    write_suite(folder, "short", epochs=2, images=8)
    choice = Choice(
        suite=load_named("suite", str(folder / "one.yaml"), Suite),
        profile=load_named("profile", str(folder / "short.yaml"), Profile),
        roots=DataRoots({}, None),
        prepared=folder / "prepared",
    )
    (cell,) = make_plan(choice, Store(folder / "results"), lambda what, done, of: None).cells
    assert cell.val is not None
    return Job(cell.spec, folder / "results", cell.train, cell.val, device="cpu", threads=1, keep_weights=True)


class Run:
    """A run in a folder of its own; `said`: the messages of its last attempt."""

    def __init__(self, job: Job, results: Path) -> None:
        self.job, self.folder = replace(job, results=results), results / job.spec.run_id
        self.said: list[dict[str, Any]] = []

    def execute(self, stop_at: int | str | None = None) -> Status | None:
        """Asked to stop while this step, or this phase, is in hand."""
        stop, self.said = Stop(), []

        def hear(message: dict[str, Any]) -> None:
            self.said.append(message)
            if stop_at is not None and stop_at in (message.get("step"), message.get("phase")):
                stop.ask("SIGTERM")

        return execute(self.job, hear, stop)

    def stopped_at(self, place: int | str) -> StoppedError:
        with pytest.raises(StoppedError) as stopped:
            self.execute(stop_at=place)
        return stopped.value

    @property
    def phases(self) -> list[str]:
        return [message["phase"] for message in self.said if message["kind"] == "phase"]

    def attempt(self, number: int) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "attempts" / f"{number}.json").read_text())
        return content

    def results(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in RESULTS}

    def checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint/step-*"))


@pytest.fixture
def run(job: Job, tmp_path: Path) -> Run:
    return Run(job, tmp_path / "results")


@pytest.fixture(scope="module")
def whole(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that ran in one go."""
    run = Run(job, tmp_path_factory.mktemp("whole"))
    status = run.execute()
    assert status is not None
    assert status.state == "done"
    return run


@pytest.fixture(autouse=True)
def every_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.progress.REPORT_EVERY", -1.0)


def test_a_run_in_one_go_leaves_no_checkpoint(whole: Run) -> None:
    assert [path.name for path in (whole.folder / "checkpoint").iterdir()] == ["weights.safetensors"]
    attempt = whole.attempt(1)
    assert not {"resumed", "checkpoints_set_aside", "stopped", "nondeterministic"} & attempt.keys()
    assert 0 < attempt["seconds_checkpoints"] < attempt["seconds_train"] < attempt["seconds_total"]
    assert whole.phases == ["build", "count", "evaluate_untrained", "train", "evaluate", "longrange"]


def test_a_stopped_run_goes_on_and_computes_nothing_twice(run: Run, whole: Run) -> None:
    stopped = run.stopped_at(3)
    place = {"step": 3, "steps": STEPS, "epoch": 1, "epochs": 2}
    assert stopped.place == place
    first = run.attempt(1)
    assert first["stopped"] == {"by": "SIGTERM", "checkpoint": place}
    assert Store(run.job.results).status(run.job.spec.run_id) is None
    status = run.execute()
    assert status is not None
    assert (status.state, status.attempt) == ("done", 2)
    assert run.phases == ["build", "train", "evaluate", "longrange"]
    assert run.results() == whole.results()
    second = run.attempt(2)
    made_by = {"attempt": 1, "torch": second["versions"]["torch"], "device": "cpu", "threads": 1}
    made_by |= {"processes": 1, "git_commit": first["git_commit"]}
    assert second["resumed"] == {**place, "made_by": made_by}
    for name in ("seconds_build", "seconds_train", "seconds_checkpoints"):
        assert second[name] > 0
    assert second["seconds_count"] == first["seconds_count"]
    assert second["seconds_evaluate_untrained"] == first["seconds_evaluate_untrained"]
    assert second["seconds_total"] >= second["seconds_train"] + first["seconds_evaluate_untrained"]
    assert second["peak_memory_mb"] >= first["peak_memory_mb"]


@pytest.mark.parametrize("phase", ["count", "evaluate_untrained"])
def test_stopped_before_its_training_it_has_nothing_to_save(phase: str, run: Run, whole: Run) -> None:
    assert run.stopped_at(phase).place is None
    assert run.attempt(1)["stopped"] == {"by": "SIGTERM", "checkpoint": None}
    assert not run.checkpoints()
    run.execute()
    assert "resumed" not in run.attempt(2)
    assert run.results() == whole.results()


def test_stopped_in_its_evaluation_it_need_not_be_trained_again(run: Run, whole: Run) -> None:
    stopped = run.stopped_at("evaluate")
    assert stopped.place == {"step": STEPS, "steps": STEPS, "epoch": 2, "epochs": 2}
    run.execute()
    assert not [message for message in run.said if message["kind"] == "step"]
    assert run.attempt(2)["train_images_per_s"] == run.attempt(1)["train_images_per_s"]
    assert run.results() == whole.results()


def test_a_damaged_checkpoint_is_set_aside_and_that_is_said(run: Run, whole: Run) -> None:
    run.stopped_at(6)  # there is one after step 4, the first end of an epoch, too
    earlier, newest = run.checkpoints()
    newest.write_bytes(newest.read_bytes()[:-1])
    run.execute()
    damaged = {newest.name: "its sha256 is not the one in its name"}
    (said,) = [message for message in run.said if message["kind"] == "resumed"]
    assert said["damaged"] == damaged
    assert said["place"]["step"] == 4
    assert run.attempt(2)["checkpoints_set_aside"] == damaged
    assert run.attempt(2)["resumed"]["step"] == 4
    assert earlier.name.startswith("step-000000004-")
    assert run.results() == whole.results()
    assert not run.checkpoints()


def test_another_commit_between_two_attempts_is_recorded_and_said(
    run: Run, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.stopped_at(3)
    monkeypatch.setattr("bench.attempt.git_commit", lambda: "0123456789abcdef")
    run.execute()
    (said,) = [message for message in run.said if message["kind"] == "resumed"]
    assert said["differs"] == ["git_commit"]
    resumed = run.attempt(2)["resumed"]
    assert resumed["differs"] == ["git_commit"]
    assert resumed["made_by"]["git_commit"] == run.attempt(1)["git_commit"] != "0123456789abcdef"
    assert run.results() == whole.results()


def test_who_lost_the_run_while_it_evaluated_writes_nothing_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.lock.BEAT", 3600)  # it does not find out by itself
    spec = run.job.spec.model_copy(update={"model": "majority", "options": {}})
    floor = Run(replace(run.job, spec=spec), run.job.results)
    honest = bench.run.evaluate

    def slept(*given: Any, **named: Any) -> Any:
        evaluator = honest(*given, **named)
        (floor.folder / ".lock-2").touch()
        return evaluator

    monkeypatch.setattr(bench.run, "evaluate", slept)
    with pytest.raises(LostLeaseError):
        floor.execute()
    written = {path.name for path in floor.folder.rglob("*")}
    assert not {"metrics.json", "images.parquet", "status.json", "weights.safetensors"} & written
    assert not {"end", "traceback"} & floor.attempt(1).keys()


def test_where_all_are_damaged_the_run_starts_anew_and_that_is_said(run: Run, whole: Run) -> None:
    run.stopped_at(6)
    for path in run.checkpoints():
        path.write_bytes(b"")
    run.execute()
    (said,) = [message for message in run.said if message["kind"] == "resumed"]
    assert (said["place"], len(said["damaged"])) == (None, 2)
    assert "resumed" not in run.attempt(2)
    assert len(run.attempt(2)["checkpoints_set_aside"]) == 2
    assert run.phases == ["build", "count", "evaluate_untrained", "train", "evaluate", "longrange"]
    assert run.results() == whole.results()


def test_a_run_that_failed_goes_on_from_its_last_checkpoint(
    run: Run, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bench.run, "_write", lambda *_, **__: 1 / 0)
        status = run.execute()
    assert status is not None
    assert (status.state, status.reason) == ("failed", "ZeroDivisionError: division by zero")
    assert run.checkpoints()
    run.execute()
    assert run.attempt(2)["resumed"]["step"] == STEPS
    assert run.results() == whole.results()


def test_a_run_that_diverged_starts_anew(run: Run, whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its second epoch, after a checkpoint: that has the weights that diverge."""
    honest, saved = Trainer._step, list[Path]()

    def step(trainer: Trainer, batch: Batch) -> dict[str, float]:
        if trainer.step == 5:
            saved.extend(run.checkpoints())
            raise DivergedError("the loss is not finite")
        return honest(trainer, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        status = run.execute()
    assert status is not None
    assert status.state == "diverged"
    assert saved
    assert not run.checkpoints()
    run.execute()
    assert "resumed" not in run.attempt(2)
    assert run.results() == whole.results()


def test_a_floor_is_stopped_between_two_batches(run: Run) -> None:
    spec = run.job.spec.model_copy(update={"model": "majority", "options": {}})
    floor = Run(replace(run.job, spec=spec), run.job.results)
    assert floor.stopped_at("train").place is None
    assert floor.phases == ["build", "count", "train"]


class KilledError(BaseException):
    """No run catches it."""


def killed(*_: Any) -> None:
    raise KilledError


def test_a_diverged_run_that_is_killed_before_its_record_leaves_no_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.stopped_at(3)
    monkeypatch.setattr(Trainer, "train", lambda *_: (_ for _ in ()).throw(DivergedError("d")))
    monkeypatch.setattr(Store, "finish", killed)
    with pytest.raises(KilledError):
        run.execute()
    assert run.checkpoints() == []


def test_checkpoints_that_a_killed_process_left_of_a_finished_run_are_removed(whole: Run, tmp_path: Path) -> None:
    run = Run(whole.job, tmp_path / "results")
    shutil.copytree(whole.folder, run.folder)
    (run.folder / "checkpoint" / "step-000000008-0123456789abcdef.safetensors").write_bytes(b"")
    before = run.results()
    assert run.execute() == Store(run.job.results).status(run.job.spec.run_id)
    assert run.checkpoints() == []
    assert run.results() == before


def test_weights_reach_the_disk_before_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, synced = tmp_path / "checkpoint" / "weights.safetensors", []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(target.exists()))
    bench.run._save(torch.nn.Linear(1, 1), target)  # type: ignore[arg-type]
    assert synced == [False]
    assert target.exists()
