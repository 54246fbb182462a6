"""What lies in results/: whole or not done, validated when read."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.files import read, write_bytes, write_json
from bench.lock import LostLeaseError
from bench.record import Damaged, Metrics, Network, Record, Scores, Status
from bench.store import Store, changed_files, with_history
from tests.specs import spec_of_size

SPEC = spec_of_size("64x64")


def finished(store: Store) -> Path:
    number = store.begin(SPEC)
    folder = store.folder(SPEC.run_id)
    values: dict[str, Any] = dict.fromkeys(Scores.model_fields)
    scores = Scores(**{**values, "pq": 0.5, "ap_classes": 1, "instance_truth": "instances", "images": 2})
    metrics = Metrics(protocol="standard", train_images=3, final=scores, untrained=None, classes=())
    network = Network(
        model="unet", input="64x64", classes=2, parameters_total=1, parameters_trainable=1, flops=None, uncounted={}
    )
    write_json(folder / "metrics.json", metrics.model_dump(mode="json"))
    write_json(folder / "network.json", network.model_dump(mode="json"))
    store.write_attempt(SPEC.run_id, number, {"number": number})
    store.finish(Status(run_id=SPEC.run_id, state="done", attempt=number))
    return folder


def test_a_finished_run_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finished(store)
    (record,) = store.records()
    assert record.spec == SPEC
    assert record.metrics is not None
    assert record.metrics.final.pq == 0.5
    assert record.metrics.final.miou is None


LINE = '{"epoch": 1, "step": 4, "loss": 2.5, "terms": {"cross_entropy": 2.5}}\n'


def test_a_history_is_read_epoch_by_epoch(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = finished(store)
    assert with_history(store.record(SPEC.run_id)).history == ()
    (folder / "history.jsonl").write_text(LINE + LINE.replace('"epoch": 1', '"epoch": 2').replace("2.5", "2.0"))
    epochs = with_history(store.record(SPEC.run_id)).history
    assert [(one.epoch, one.loss, one.terms) for one in epochs] == [
        (1, 2.5, {"cross_entropy": 2.5}),
        (2, 2.0, {"cross_entropy": 2.0}),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINE + LINE, "does not hold each epoch once, in order"),
        (LINE.replace('"epoch": 1', '"epoch": 2'), "does not hold each epoch once, in order"),
        (LINE + LINE[:20], "line 2: content: Invalid JSON"),
        (LINE.replace('"loss"', '"los"'), "line 1"),
        (LINE.replace("2.5", "NaN"), "line 1: loss"),
        ("[]\n", "line 1"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_damaged_history_is_named_and_loses_no_run(tmp_path: Path, text: str | bytes, said: str) -> None:
    store = Store(tmp_path)
    path = finished(store) / "history.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=said):
        with_history(store.record(SPEC.run_id))
    assert store.whole(SPEC.run_id) is not None


def test_a_run_without_status_is_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin(SPEC)
    assert store.status(SPEC.run_id) is None
    assert store.records() == []


def test_beginning_again_clears_the_old_attempt_and_counts_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = finished(store)
    assert store.begin(SPEC) == 2
    assert store.status(SPEC.run_id) is None
    assert not (folder / "metrics.json").exists()
    assert (folder / "attempts" / "1.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["final"].update(pq="much"), "final.pq"),
        (lambda m: m.update(extra=1), "unknown key 'extra'"),
        (lambda m: m.pop("final"), "final"),
        (lambda m: m.update(schema_version=7), "schema version 7"),
    ],
)
def test_damaged_metrics_are_named_not_read(tmp_path: Path, change: Any, said: str) -> None:
    store = Store(tmp_path)
    folder = finished(store)
    content = json.loads((folder / "metrics.json").read_text())
    change(content)
    (folder / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=said) as caught:
        store.records()
    assert "\n" not in str(caught.value)
    assert str(folder / "metrics.json") in str(caught.value)


@pytest.mark.parametrize(
    ("protocols", "said"),
    [
        ({"released": {"ap_max31": 0.5}}, "released.ap_max31 is no number of a protocol"),
        ({"papertext": {"ap_iou30": 0.5}}, "papertext.ap_iou30 is no number of a protocol"),
        ({"released": {"ap_max30": 30.2}}, "protocols.released.ap_max30: .* less than or equal to 1"),
        ({"released": {"ap_max30": -0.1}}, "protocols.released.ap_max30: .* greater than or equal to 0"),
    ],
)
def test_numbers_of_protocols_are_known_fractions(tmp_path: Path, protocols: Any, said: str) -> None:
    store = Store(tmp_path)
    path = finished(store) / "metrics.json"
    content = json.loads(path.read_text())
    (record,) = store.records()
    status = record.status
    for fine in (None, {}, {"released": {"ap_max30": 1.0, "ap_max50": None}}):
        path.write_text(json.dumps({**content, "protocols": fine}))
        store.finish(status)
        (record,) = store.records()
        assert record.metrics is not None
        assert record.metrics.protocols == fine
    path.write_text(json.dumps({**content, "protocols": protocols}))
    with pytest.raises(UserError, match=said):
        store.records()


@pytest.mark.parametrize("text", ["", "{", '{"final": NaN}', "[]", "\x00"])
def test_what_is_no_record_is_a_clear_error(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    (finished(store) / "metrics.json").write_text(text)
    with pytest.raises(UserError):
        store.records()


def test_a_copied_folder_is_not_taken_for_another_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finished(store).rename(tmp_path / "unet-scenes-64x64-smoke-s1-0123456789")
    with pytest.raises(UserError, match="does not hold the run it is named after"):
        store.records()


def test_no_number_is_written_as_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"x": 1})
    with pytest.raises(TypeError):
        write_bytes(path, "text")  # type: ignore[arg-type]
    assert json.loads(path.read_text()) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


HOLD = """
import sys
from pathlib import Path
from bench.store import Store
with Store(Path(sys.argv[1])).lock("run") as mine:
    print(mine is not None, flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_by_one_process_and_falls_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with Store(tmp_path).lock("run") as mine:
            assert mine is None
        process.kill()
        process.wait()
        with Store(tmp_path).lock("run") as mine:
            assert mine is not None


@pytest.mark.parametrize("name", ["metrics.json", "network.json", "spec.json", "attempts/1.json"])
@pytest.mark.parametrize("text", [None, "[]", "{"])
def test_a_damaged_record_is_a_run_to_be_done_again(tmp_path: Path, name: str, text: str | None) -> None:
    store = Store(tmp_path)
    folder = finished(store)
    assert store.whole(SPEC.run_id) is not None
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    assert store.whole(SPEC.run_id) is None
    with pytest.raises(UserError):
        store.record(SPEC.run_id)


def test_who_lost_the_run_writes_no_status(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock(SPEC.run_id):
        number = store.begin(SPEC)
        (store.folder(SPEC.run_id) / ".lock-2").touch()  # another took it over
        status = Status(run_id=SPEC.run_id, state="done", attempt=number)
        for write in (partial(store.finish, status), partial(store.begin, SPEC)):
            with pytest.raises(LostLeaseError):
                write()
        with pytest.raises(LostLeaseError):
            store.write_attempt(SPEC.run_id, number, {"number": number})
    assert store.status(SPEC.run_id) is None
    assert list((store.folder(SPEC.run_id) / "attempts").iterdir()) == []


def test_beginning_clears_what_a_killed_process_left_half_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = finished(store)
    for name in ("images.parquet.part", ".metrics.json.123.tmp"):
        (folder / name).touch()
    store.begin(SPEC)
    assert sorted(path.name for path in folder.iterdir()) == ["attempts", "spec.json"]


def test_nothing_is_cleared_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    folder = finished(store)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(OSError, match=r"No space left on device: '.*/spec.json'"):
        store.begin(SPEC)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_record_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.look(SPEC.run_id) is None
    folder = finished(store)
    assert isinstance(store.look(SPEC.run_id), Record)
    (folder / "status.json").write_text("{")
    found = store.look(SPEC.run_id)
    assert isinstance(found, Damaged)
    assert found.reason.startswith(f"{folder / 'status.json'} is not readable JSON")


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_a_state_that_contradicts_the_metrics_is_damage(tmp_path: Path, state: str) -> None:
    store = Store(tmp_path)
    rewrite(finished(store) / "status.json", state=state)
    with pytest.raises(UserError, match=f"says {state}, but there is a metrics.json"):
        store.record(SPEC.run_id)


def test_a_run_that_fails_after_its_metrics_were_written_is_no_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = finished(store)
    store.finish(Status(run_id=SPEC.run_id, state="failed", attempt=1, reason="r"))
    assert store.record(SPEC.run_id).status.state == "failed"
    assert not (folder / "metrics.json").exists()


@pytest.mark.parametrize("name", ["spec.json", "metrics.json", "network.json", "attempts/1.json", None])
def test_a_seal_with_a_file_left_out_is_damage(tmp_path: Path, name: str | None) -> None:
    store = Store(tmp_path)
    path = finished(store) / "status.json"
    files = json.loads(path.read_text())["files"]
    rewrite(path, files={key: digest for key, digest in files.items() if name not in (None, key)})
    with pytest.raises(UserError, match=f"has no sha256 of .*{name or 'spec.json'}"):
        store.record(SPEC.run_id)


@pytest.mark.parametrize("value", [1.0001, -0.0001])
def test_a_score_is_a_fraction(tmp_path: Path, value: float) -> None:
    path = finished(Store(tmp_path)) / "metrics.json"
    final = json.loads(path.read_text())["final"]
    rewrite(path, final=final | {"pq": value})
    with pytest.raises(UserError, match=r"final\.pq"):
        read(path, Metrics)


@pytest.mark.parametrize("name", ["spec.json", "status.json", "metrics.json", "attempts/1.json"])
def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "results")
    path = finished(store) / name
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(UserError, match="it is a symbolic link"):
        store.record(SPEC.run_id)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = finished(Store(tmp_path)) / "metrics.json"
    monkeypatch.setattr("bench.files.MAX_BYTES", 10)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(UserError, match="at most 10 are read"):
        read(path, Metrics)


def test_weights_are_sealed_and_may_be_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = finished(store)
    weights = folder / "checkpoint" / "weights.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    store.finish(Status(run_id=SPEC.run_id, state="done", attempt=1))
    record = store.record(SPEC.run_id)
    assert changed_files(folder, record.status) == []
    weights.write_bytes(b"weightz")
    assert changed_files(folder, record.status) == ["checkpoint/weights.safetensors"]
    weights.unlink()
    assert changed_files(folder, record.status) == []


def test_beginning_again_removes_the_old_weights(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = finished(store) / "checkpoint"
    folder.mkdir()
    for name in ("weights.safetensors", "weights.tmp", "step-000000001-0123456789abcdef.safetensors"):
        (folder / name).write_bytes(b"")
    store.begin(SPEC)
    assert [path.name for path in folder.iterdir()] == ["step-000000001-0123456789abcdef.safetensors"]
