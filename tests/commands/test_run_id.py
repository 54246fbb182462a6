"""`--run-id` and `plan --slurm`: which runs they take, and what they say."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import main, parser
from bench.commands import carry_out
from bench.commands.options import read_choices
from bench.commands.slurm import run_command
from bench.plan import make_plans
from bench.record import Status
from bench.stop import Stop
from bench.store import Store

SUITE = {"name": "mine", "title": "t", "task": "semantic", "sizes": ["16x16"], "models": ["unet-small"]}
PROFILE = {"name": "tiny", "summary": "s", "label": "l", "reproduction": False, "epochs": 1, "train_images": 2}
WHICH = ("--suite", "./mine.yaml", "--profile", "./tiny.yaml")
Bench = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_PREPARED", raising=False)
    monkeypatch.delenv("BENCH_DATA_ROOT", raising=False)
    Path("mine.yaml").write_text(yaml.safe_dump({**SUITE, "datasets": ["scenes"], "seeds": [0, 1], "floors": False}))
    Path("tiny.yaml").write_text(yaml.safe_dump({**PROFILE, "val_images": 2}))
    return tmp_path


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs that were to be executed."""
    run_ids: list[str] = []

    def execute_all(cells: Any, *_: Any) -> Stop:
        run_ids.extend(cell.spec.run_id for cell in cells)
        return Stop()

    monkeypatch.setattr(carry_out, "execute_all", execute_all)
    return run_ids


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(*arguments: str) -> tuple[int, str]:
        code = main([arguments[0], *WHICH, *arguments[1:]])
        return code, "".join(capsys.readouterr())

    return call


@pytest.fixture
def run_ids(bench: Bench) -> tuple[str, str]:
    """Of both seeds; the data is prepared."""
    code, text = bench("plan", "--slurm", "runs.sh")
    assert code == 0, text
    first, second = in_script()
    assert re.fullmatch(r"unet-small-scenes-16x16-tiny-s0-[0-9a-f]{10}", first)
    assert re.fullmatch(r"unet-small-scenes-16x16-tiny-s1-[0-9a-f]{10}", second)
    return first, second


def end(run_id: str, state: str) -> None:
    """A record of this run that ended without numbers."""
    store, choices = Store(Path("results")), read_choices(parser().parse_args(["plan", *WHICH]))
    (spec,) = (cell.spec for cell in make_plans(choices, store).cells if cell.spec.run_id == run_id)
    store.write_attempt(run_id, store.begin(spec), {})
    store.finish(Status(run_id=run_id, state=state, attempt=1, reason="r"))  # type: ignore[arg-type]


def in_script(path: str = "runs.sh") -> list[str]:
    return re.findall(r"^  (unet-small\S+)$", Path(path).read_text(), flags=re.M)


def test_only_these_runs_are_executed(bench: Bench, executed: list[str], run_ids: tuple[str, str]) -> None:
    _, text = bench("run", "--run-id", run_ids[1])
    assert executed == [run_ids[1]]
    assert "1 runs, 0 done, 1 to run" in text
    bench("run", "--run-id", f"{run_ids[1]},{run_ids[0]},{run_ids[1]}")
    assert executed[1:] == list(run_ids)


def test_plan_and_status_tell_of_these_runs_alone(bench: Bench, run_ids: tuple[str, str]) -> None:
    _, text = bench("plan", "--run-id", run_ids[0], "--json")
    assert [run["run_id"] for run in json.loads(text)["runs"]] == [run_ids[0]]
    assert bench("status", "--run-id", run_ids[0])[1].startswith("0/1 done, 1 missing")


def test_an_unknown_run_is_one_line_with_the_nearest(
    bench: Bench, executed: list[str], run_ids: tuple[str, str]
) -> None:
    code, text = bench("run", "--run-id", f"{run_ids[0]},{run_ids[1][:-1]}")
    assert code == 2
    assert text == f"bench: unknown run '{run_ids[1][:-1]}' in this suite and profile; did you mean '{run_ids[1]}'?\n"
    assert executed == []


def test_an_id_of_data_that_is_not_prepared_is_unknown_and_nothing_is_prepared(bench: Bench, folder: Path) -> None:
    code, text = bench("run", "--run-id", "unet-small-scenes-16x16-tiny-s0-0123456789")
    assert code == 2
    assert text.startswith("bench: unknown run 'unet-small-scenes-16x16-tiny-s0-0123456789'; 2 have no id before")
    assert "`bench data prepare`" in text
    assert text.count("\n") == 1
    assert not (folder / "prepared").exists()


def test_the_array_has_what_is_missing_and_what_failed(bench: Bench, run_ids: tuple[str, str]) -> None:
    end(run_ids[0], "failed")
    end(run_ids[1], "diverged")
    _, text = bench("plan", "--slurm", "runs.sh")
    assert in_script() == [run_ids[0]]
    assert text.startswith("runs.sh: 1 runs in 1 elements")
    before = Path("runs.sh").read_text()
    code, text = bench("plan", "--run-id", run_ids[1], "--slurm", "runs.sh")
    assert code == 0
    assert text == "nothing to run, so no script is written: none of 1 runs is missing or failed\n"
    assert Path("runs.sh").read_text() == before


def test_the_array_has_what_was_begun(bench: Bench, run_ids: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"step": 1, "steps": 2, "epoch": 1, "epochs": 2}
    monkeypatch.setattr("bench.cell.last_place", lambda folder: place if run_ids[1] in str(folder) else None)
    assert "started" in bench("plan")[1]
    bench("plan", "--slurm", "runs.sh")
    assert in_script() == list(run_ids)


@pytest.mark.parametrize("where", ["taken.sh", "absent/runs.sh"])
def test_where_no_script_can_be_written_it_is_one_line(bench: Bench, where: str) -> None:
    Path("taken.sh").write_text("mine")
    code, text = bench("plan", "--slurm", where)
    assert code == 2
    assert text.splitlines()[-1].startswith("bench: ")
    assert "Traceback" not in text
    assert Path("taken.sh").read_text() == "mine"


GIVEN = {
    "suite": "./mine.yaml",
    "profile": "./tiny.yaml",
    "models": "unet-small,unet",
    "datasets": "mine,other",
    "seeds": "3,4",
    "tuned": "0.1,1",
    "results": "it's/results",
    "prepared": "my prepared",
    "data_root": "data",
}


def test_an_element_is_given_every_option_that_plan_and_run_share_with_absolute_paths(folder: Path) -> None:
    """Also those that are yet to come: the options are read off the parser."""
    (folder / "data").mkdir()
    shared = set(vars(parser().parse_args(["plan", *WHICH]))) & set(vars(parser().parse_args(["run", *WHICH])))
    assert shared == {*GIVEN, "dataset", "run_id", "call"}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in GIVEN.items()]
    datasets = ["--dataset=mine=a b", f"--dataset=other={folder}/c"]
    options = parser().parse_args(["plan", *given, *datasets, "--slurm", "f"])
    python, *module, command = list(run_command(options))[:4]
    assert (python, module, command) == (sys.executable, ["-m", "bench"], "run")
    words = list(run_command(options))[3:]
    passed = vars(parser().parse_args([*words, "--run-id", "a"]))
    paths = {"suite": "mine.yaml", "profile": "tiny.yaml", "results": "it's/results", "prepared": "my prepared"}
    expected = {**GIVEN, **{name: str(folder / path) for name, path in {**paths, "data_root": "data"}.items()}}
    assert {name: str(passed[name]) for name in GIVEN} == expected
    assert passed["dataset"] == [f"mine={folder}/a b", f"other={folder}/c"]


def test_folders_named_by_the_environment_are_given_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data").mkdir()
    monkeypatch.setenv("BENCH_DATA_ROOT", "data")
    monkeypatch.setenv("BENCH_PREPARED", "elsewhere")
    words = list(run_command(parser().parse_args(["plan", *WHICH])))
    assert f"--data-root={folder}/data" in words
    assert f"--prepared={folder}/elsewhere" in words
