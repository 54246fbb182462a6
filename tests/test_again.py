"""`bench evaluate`: finished runs again, from their kept weights, on a network of one epoch and an oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import bench.again as again_module
import bench.commands.evaluate as evaluate_module
import bench.store as store_module
from bench.cli import main
from bench.data.catalog import DataRoots
from bench.data.preparing.assembling import sealed
from bench.evaluate.evaluator import Evaluator
from bench.intact import wrong
from bench.plan import Choice, make_plan
from bench.protocols import PROTOCOLS
from bench.run import Job, execute
from bench.spec import Profile, Suite
from bench.store import Store

PROFILE = {"name": "few", "summary": "s", "label": "few: test data", "reproduction": False, "epochs": 1}
SUITE = {"name": "again", "title": "t", "task": "panoptic", "sizes": ["32x32"], "datasets": ["scenes"]}
MODELS = ["unet-small", "oracle-nearest"]
Bench = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    """The command sets what the run had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/ and prepared/ with both runs done."""
    folder = tmp_path_factory.mktemp("ran")
    suite = Suite.model_validate({**SUITE, "models": MODELS, "floors": False})
    profile = Profile.model_validate({**PROFILE, "train_images": 8, "val_images": 6})
    store = Store(folder / "results")
    choice = Choice(suite, profile, DataRoots(), folder / "prepared")
    for cell in make_plan(choice, store, lambda *_: None).cells:
        assert cell.val is not None
        job = Job(cell.spec, store.root, cell.train, cell.val, "cpu", 1, keep_weights=True, roots=cell.roots)
        status = execute(job, lambda _: None)
        assert status is not None
        assert status.state == "done", status.reason
    return folder


@pytest.fixture
def folder(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ran, tmp_path / "ran")
    monkeypatch.chdir(tmp_path / "ran")
    monkeypatch.delenv("BENCH_DATA_ROOT", raising=False)
    monkeypatch.delenv("BENCH_PREPARED", raising=False)
    return tmp_path / "ran"


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(*words: str) -> tuple[int, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def run_of(folder: Path, model: str) -> Path:
    (found,) = (folder / "results").glob(f"{model}-*")
    return found


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def seal(store: Store, run_id: str) -> None:
    """status.json anew, with the hashes of the files as they are."""
    status = store.status(run_id)
    assert status is not None
    store.finish(status)


def forget_protocols(folder: Path) -> dict[str, dict[str, bytes]]:
    """Makes the records what they were before protocols; returns their files, by run."""
    before = {}
    for run in (folder / "results").iterdir():
        metrics = content(run / "metrics.json")
        assert {name: {*keys} for name, keys in metrics.pop("protocols").items()} == {
            name: {*keys} for name, keys in PROTOCOLS.items()
        }
        (run / "metrics.json").write_text(json.dumps(metrics))
        seal(Store(folder / "results"), run.name)
        before[run.name] = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    return before


def test_all_records_gain_their_numbers_and_keep_the_others(bench: Bench, folder: Path, ran: Path) -> None:
    before = forget_protocols(folder)
    code, text = bench("evaluate", "--all")
    assert code == 0, text
    assert text.count("every number as recorded; 20 of other protocols written") == 2
    for name, files in before.items():
        run, first = folder / "results" / name, ran / "results" / name
        assert content(run / "metrics.json") == content(first / "metrics.json")  # as a run of today writes them
        assert (run / "images.parquet").read_bytes() == files["images.parquet"]
        one, two = (content(run / "attempts" / f"{n}.json") for n in (1, 2))
        again = two.pop("evaluated_again")
        assert again["weights_of_attempt"] == (1 if name.startswith("unet") else None)
        assert (again["differs"], again["device"], again["threads"]) == ([], "cpu", one["threads"])
        assert two == one | {"number": 2}
        assert content(run / "status.json")["attempt"] == 2
    assert len(Store(folder / "results").records()) == 2
    assert bench("evaluate", "--all")[1].count("left out: its record has every number of today") == 2


def test_a_record_without_the_statistics_of_its_levels_gains_them(bench: Bench, folder: Path, ran: Path) -> None:
    run = run_of(folder, "unet-small")
    (run / "longrange.json").unlink()
    seal(Store(folder / "results"), run.name)
    code, text = bench("evaluate", "--all")
    assert code == 0, text
    assert (
        f"{run.name}: every number as recorded; 20 of other protocols and the statistics of its levels written" in text
    )
    assert text.count("its record has every number of today") == 1  # the oracle, which has no levels
    first = ran / "results" / run.name
    assert (run / "longrange.json").read_bytes() == (first / "longrange.json").read_bytes()
    assert content(run / "metrics.json") == content(first / "metrics.json")
    assert "longrange.json" in content(run / "status.json")["files"]
    assert bench("evaluate", "--all")[1].count("its record has every number of today") == 2


@pytest.mark.parametrize("other_count", [False, True])
def test_a_network_without_its_arrows_gains_them_where_all_else_is_equal(
    bench: Bench, folder: Path, ran: Path, other_count: bool
) -> None:
    run = run_of(folder, "unet-small")
    network = content(run / "network.json")
    for module in network["modules"]:
        del module["inputs"]
    network["parameters_total"] += other_count
    (run / "network.json").write_text(json.dumps(network))
    seal(Store(folder / "results"), run.name)
    code, text = bench("evaluate", run.name)
    assert code == 0, text
    first = content(ran / "results" / run.name / "network.json")
    assert any(module["inputs"] for module in first["modules"])
    assert content(run / "network.json") == (network if other_count else first)
    assert Store(folder / "results").record(run.name).network is not None


def test_the_statistics_of_its_levels_stay_as_they_are_unless_its_numbers_are_others(
    bench: Bench, folder: Path
) -> None:
    run = run_of(folder, "unet-small")
    path, weights = run / "longrange.json", run / "checkpoint" / "weights.safetensors"
    path.write_text(path.read_text().replace('"images":4', '"images":3'))
    seal(Store(folder / "results"), run.name)
    before = path.read_bytes()
    assert bench("evaluate", run.name)[0] == 0
    assert path.read_bytes() == before
    save_file({name: tensor * 1.5 for name, tensor in load_file(weights).items()}, weights)
    assert bench("evaluate", run.name, "--accept")[0] == 0
    assert content(path)["images"] == 4


def test_weights_that_give_other_numbers_leave_the_record_unless_accepted(bench: Bench, folder: Path) -> None:
    run = run_of(folder, "unet-small")
    weights = run / "checkpoint" / "weights.safetensors"
    state = load_file(weights)
    save_file({name: tensor * 1.5 for name, tensor in state.items()}, weights)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    code, text = bench("evaluate", run.name)
    assert code == 1
    assert "NOT as recorded: miou " in text
    assert "Its record stays; --accept writes the new numbers" in text
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    code, text = bench("evaluate", run.name, "--accept")
    assert code == 0, text
    assert "written, other than before: miou " in text
    assert content(run / "metrics.json")["final"] != json.loads(before[run / "metrics.json"])["final"]
    assert content(run / "metrics.json")["untrained"] == json.loads(before[run / "metrics.json"])["untrained"]
    assert "miou " in content(run / "attempts" / "2.json")["evaluated_again"]["differs"][0]
    assert bench("evaluate", run.name)[1].count("every number as recorded") == 1
    third = content(run / "attempts" / "3.json")["evaluated_again"]
    assert (third["weights_of_attempt"], third["differs"]) == (1, [])


def test_what_cannot_be_evaluated_is_refused_in_one_line(bench: Bench, folder: Path) -> None:
    run = run_of(folder, "unet-small")
    weights = run / "checkpoint" / "weights.safetensors"
    weights.write_bytes(b"no weights")
    code, text = bench("evaluate", run.name)
    assert (code, "its weights cannot be put into unet-small as it is today" in text) == (2, True)
    weights.unlink()
    code, text = bench("evaluate", run.name)
    assert code == 2
    assert f"bench: {run.name}: no weights at " in text
    assert text.count("\n") == 1
    forget_protocols(folder)
    code, text = bench("evaluate", "--all")
    assert code == 0
    assert "left out: no weights at" in text
    assert "every number as recorded" in text  # the oracle needs none
    for words in ([], ["--all", run.name]):
        assert bench("evaluate", *words) == (2, "bench: name the runs to evaluate, or give --all\n")
    assert "did you mean" in bench("evaluate", run.name[:-1])[1]


def test_other_data_than_the_runs_is_refused(bench: Bench, folder: Path) -> None:
    run = run_of(folder, "unet-small")
    (manifest,) = (folder / "prepared" / "scenes").glob("val-*/manifest.json")
    manifest.write_text(json.dumps(sealed({**content(manifest), "split_hash": "0" * 64})))
    code, text = bench("evaluate", run.name)
    assert code == 2
    assert "scenes val is not the data of its spec" in text


class KilledError(BaseException):
    """No command catches it."""


@pytest.mark.parametrize("moment", range(6))
def test_a_record_can_be_read_wherever_its_evaluation_is_killed(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Killed before each of the writes: the attempt, the open status, metrics, the table, the seal, the samples."""
    run = run_of(folder, "oracle-nearest")
    forget_protocols(folder)
    left = moment

    def mortal(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            return write(*arguments, **named)

        return call

    monkeypatch.setattr("bench.store.write_json", mortal(store_module.write_json))
    monkeypatch.setattr("bench.again.write_json", mortal(again_module.write_json))
    monkeypatch.setattr(Evaluator, "write_images", mortal(Evaluator.write_images))
    monkeypatch.setattr("shutil.rmtree", mortal(shutil.rmtree))
    with pytest.raises(KilledError):
        bench("evaluate", run.name, "--accept")
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    record = Store(folder / "results").record(run.name)
    assert wrong(record) is None
    assert (record.metrics is not None and record.metrics.protocols is not None) == (moment > 2)
    assert (record.folder / "samples").is_dir()
    assert bench("evaluate", run.name)[0] == 0


def test_damaged_prepared_data_is_refused(bench: Bench, folder: Path) -> None:
    run = run_of(folder, "unet-small")
    (path,) = (folder / "prepared" / "scenes").glob("val-*/images.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, text = bench("evaluate", run.name)
    assert code == 2
    assert "is damaged (pixel_hash is" in text


def test_what_another_process_wrote_meanwhile_is_read_again(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second command ends between this one's first look and its lock."""
    forget_protocols(folder)
    run, before = run_of(folder, "oracle-nearest"), evaluate_module.assure

    def slow(folders: Any) -> None:
        before(folders)
        monkeypatch.setattr(evaluate_module, "assure", before)
        assert bench("evaluate", run.name)[0] == 0

    monkeypatch.setattr(evaluate_module, "assure", slow)
    assert "its record has every number of today" in bench("evaluate", "--all")[1]
    assert not (run / "attempts" / "3.json").exists()
