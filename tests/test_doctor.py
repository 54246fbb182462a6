"""`bench doctor`: each thing that can be wrong is said, with what to do, and makes exit code 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bench import doctor, intact
from bench.cli import main
from bench.data.catalog import DataRoots
from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare
from bench.data.verified import recall, remember
from bench.doctor import Finding, examine
from bench.files import read_json, write_json
from bench.record import ClassScores, Metrics, Network, Scores, Status
from bench.store import Store
from tests.evaluate.conftest import CATEGORIES, draw
from tests.evaluate.evaluated import evaluated
from tests.specs import spec_of_size

SPEC = spec_of_size("24x30")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run of <tmp_path>/results, with real metrics."""
    store, evaluator = Store(tmp_path / "results"), evaluated([draw(seed) for seed in range(4)], CATEGORIES)
    number, folder = store.begin(SPEC), store.folder(SPEC.run_id)
    scores = Scores.model_validate(evaluator.metrics())
    classes = tuple(ClassScores(**row) for row in evaluator.classes())
    metrics = Metrics(protocol="standard", train_images=3, final=scores, untrained=None, classes=classes)
    network = Network(model="unet", input="1x3x24x30", classes=7, parameters_total=1, parameters_trainable=1, flops=1.0)
    evaluator.write_images(folder / "images.parquet")
    write_json(folder / "metrics.json", metrics.model_dump(mode="json"))
    write_json(folder / "network.json", network.model_dump(mode="json"))
    store.write_attempt(SPEC.run_id, number, {"schema_version": 1, "number": number})
    store.finish(Status(run_id=SPEC.run_id, state="done", attempt=number))
    return folder


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is wrong, where packages are not what is looked at."""
    monkeypatch.setattr(doctor, "PACKAGES", {})

    def found(deep: bool = False, **roots: Path) -> list[str]:
        findings = examine(DataRoots(roots), tmp_path / "prepared", tmp_path / "results", deep)
        return [text for ok, text in findings if not ok]

    return found


def test_a_sound_machine_is_exit_code_0(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", {"torch": "torch", "scipy": "scipy.optimize"})
    prepare(Scenes(), "val", (16, 16), 2, tmp_path / "prepared")
    given = ["--results", str(run.parent), "--prepared", str(tmp_path / "prepared")]
    for deep, said in (
        (["--deep"], "of 1 every file has its hash, of 1 the metrics follow"),
        ([], "1 records, all readable; --deep"),
    ):
        assert main(["doctor", *given, *deep]) == 0
        text = capsys.readouterr().out
        assert "FAIL" not in text
        assert said in text
        for part in ("python 3", "torch 2", "torch and torchvision fit", "processor cores", "of memory free"):
            assert part in text
        assert "1 prepared splits" in text
        assert "coco: not here" in text


def test_a_fault_is_exit_code_1_and_says_what_to_do(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", {"no-such-package": "no_such_module"})
    (run / "metrics.json").write_text("{")
    assert main(["doctor", "--results", str(run.parent), "--prepared", str(tmp_path)]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert len(failed) == 2
    assert "no-such-package: ModuleNotFoundError" in failed[0]
    assert failed[0].endswith("install the project again")
    assert "metrics.json" in failed[1]
    assert failed[1].endswith("; `bench run --only damaged` of its suite redoes it")


def test_torch_and_torchvision_that_do_not_fit(problems: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nms(*_: Any) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("torchvision.ops.nms", nms)
    (found,) = problems()
    assert found.startswith("torch and torchvision do not fit (operator torchvision::nms does not exist)")
    assert found.endswith("pip install --upgrade torch torchvision`")


def test_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "count_gpus", lambda: 3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert doctor._devices().text.endswith("of which torch can use 0; install a torch that is built for this driver")
    assert not doctor._devices().ok


def test_little_memory_and_little_disk(problems: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 10**15)
    monkeypatch.setattr(doctor, "LEAST_DISK", 10**18)
    memory, prepared, results = problems()
    assert memory.endswith("end other programs")
    assert all(text.endswith("make room") for text in (prepared, results))


def test_results_that_are_no_record(problems: Any, run: Path) -> None:
    assert problems() == []
    (run / "attempts" / "1.json").unlink()
    (found,) = problems()
    assert found.startswith(f"{run.name}: ")


def change_column(run: Path, column: str, by: float) -> None:
    """Of the first row that has content, in a file that nobody hashed."""
    table = pq.read_table(run / "images.parquet")
    values = table[column].to_pylist()
    values[next(i for i, value in enumerate(values) if value)] += by
    number = table.schema.get_field_index(column)
    pq.write_table(table.set_column(number, table.schema.field(number), [values]), run / "images.parquet")


def forget_hashes(run: Path) -> None:
    write_json(run / "status.json", read_json(run / "status.json") | {"files": None})


@pytest.mark.parametrize("name", ["history.jsonl", "images.parquet"])
def test_a_large_file_that_changed_is_found_when_all_is_read(problems: Any, run: Path, name: str) -> None:
    Store(run.parent).finish(Status(run_id=run.name, state="done", attempt=1))
    if name == "history.jsonl":
        (run / name).write_text("{}\n")
        Store(run.parent).finish(Status(run_id=run.name, state="done", attempt=1))
    with (run / name).open("ab") as file:
        file.write(b" ")
    assert problems() == []
    (found,) = problems(deep=True)
    assert f"{name} changed since the run ended" in found


@pytest.mark.parametrize(
    ("column", "said"), [("intersection", "miou"), ("iou_sum", "pq"), ("fn", "pq"), ("score", "ap")]
)
def test_metrics_that_do_not_follow_are_found(problems: Any, run: Path, column: str, said: str) -> None:
    forget_hashes(run)
    assert problems(deep=True) == []
    change_column(run, column, -1 if column == "score" else 1)
    (found,) = problems(deep=True)
    assert f"metrics.json says {said} 0." in found
    assert "images.parquet gives" in found


def test_a_number_of_a_class_that_does_not_follow_is_found(problems: Any, run: Path) -> None:
    forget_hashes(run)
    content = json.loads((run / "metrics.json").read_text())
    content["classes"][0]["iou"] = 0.123
    write_json(run / "metrics.json", content)
    assert "iou 0.123 of category 0" in problems(deep=True)[0]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table"])
def test_an_unreadable_table_is_found(problems: Any, run: Path, content: bytes) -> None:
    forget_hashes(run)
    (run / "images.parquet").write_bytes(content)
    (found,) = problems(deep=True)
    assert "images.parquet cannot be read" in found
    assert "\n" not in found


def test_a_record_without_its_table_is_sound(problems: Any, run: Path) -> None:
    (run / "images.parquet").unlink()
    assert problems(deep=True) == []
    assert intact.extent(Store(run.parent)) == (1, 0)


def test_prepared_data_that_changed_are_found(problems: Any, tmp_path: Path) -> None:
    folder = prepare(Scenes(), "val", (16, 16), 2, tmp_path / "prepared").folder
    assert problems(deep=True) == []
    content = bytearray((folder / "images.npy").read_bytes())
    content[-1] ^= 1
    (folder / "images.npy").write_bytes(content)
    assert problems() == []
    (found,) = problems(deep=True)
    assert "pixel_hash" in found
    assert "remove that folder" in found
    (folder / "manifest.json").write_text("{")
    assert "is not whole" in problems()[0]


def test_whether_a_dataset_was_verified_is_said(tmp_path: Path) -> None:
    class Coco(Scenes):
        name = "coco"
        mark = "as it was"

        def fingerprint(self, split: str) -> str:
            return self.mark + split

    source = Coco()
    assert recall(source, tmp_path) is None
    text = doctor._verified(source, "coco: 3 images", tmp_path)
    assert text == Finding(True, "coco: 3 images, not verified; `bench data verify coco` reads every file")
    remember(source, tmp_path, 0)
    assert doctor._verified(source, "coco: 3 images", tmp_path) == Finding(True, "coco: 3 images, verified")
    remember(source, tmp_path, 2)
    assert not doctor._verified(source, "coco: 3 images", tmp_path).ok
    source.mark = "as it is now"
    assert recall(source, tmp_path) is None


def test_a_dataset_that_cannot_be_read_is_a_fault(problems: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (found,) = problems(mine=tmp_path / "mine")
    assert found.startswith("mine: ")
