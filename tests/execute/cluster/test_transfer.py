"""A record that comes back in pieces from a store elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import bench.execute.cluster.transfer as transfer
from bench.execute.cluster.transfer import (
    STATUS,
    DamagedError,
    RemoteRecord,
    attempts_of,
    discard,
    piece,
    put,
    remote_record,
    take_over,
)
from bench.lock import lease
from bench.record import WEIGHTS, Status
from bench.store import Store, changed_files
from tests.finished import finished

WEIGHT = bytes(range(256)) * 1000  # of 256,000 bytes


@pytest.fixture
def there(tmp_path: Path) -> Any:
    """A finished run elsewhere, with pictures, weights, a checkpoint and what a killed process left."""
    store = Store(tmp_path / "there")
    record = finished(store, 0.5)
    folder = record.folder
    for name, content in (
        (WEIGHTS, WEIGHT),
        ("samples/1.png", b"picture"),
        ("checkpoint/step-1.safetensors", b"no"),
        ("attempts/.2.json.7.tmp", b"no"),
        (".metrics.json.7.tmp", b"no"),
        (".lock-3", b"no"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    store.finish(record.status)  # its hashes hold the weights, too
    return store.record(record.run_id)


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return Store(tmp_path / "here")


def fetch(there: Any, here: Store, record: RemoteRecord | None = None) -> Status | None:
    record = record or remote_record("n", there.folder)
    return put(record, there.spec, here, lambda name, offset: piece(record.folder, name, offset))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_whole_and_equal_and_holds_what_a_record_holds(there: Any, here: Store, monkeypatch: Any) -> None:
    monkeypatch.setattr(transfer, "PIECE", 1000)  # the weights take 256
    assert fetch(there, here) == there.status
    expected = files(there.folder)
    for name in (".lock-3", ".metrics.json.7.tmp", "attempts/.2.json.7.tmp", "checkpoint/step-1.safetensors"):
        del expected[name]
    assert files(here.folder(there.run_id)) == expected
    assert changed_files(here.folder(there.run_id), here.record(there.run_id).status) == []
    discard(there.folder)
    assert not there.folder.exists()


def test_a_piece_is_no_longer_than_said(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (transfer.PIECE + 7))
    lengths = [len(piece(tmp_path, "long", offset)) for offset in (0, transfer.PIECE, transfer.PIECE + 7)]
    assert lengths == [8 << 20, 7, 0]


def test_what_came_damaged_leaves_the_store_as_it_was(there: Any, here: Store) -> None:
    number = here.begin(there.spec)
    here.write_attempt(there.run_id, number, {"number": number})
    here.finish(Status(run_id=there.run_id, state="failed", attempt=number, reason="before"))
    before = files(here.folder(there.run_id))
    good = remote_record("n", there.folder)
    bad = RemoteRecord("n", there.folder, {**good.files, "metrics.json": "0" * 64})
    with pytest.raises(DamagedError, match=r"metrics\.json"):
        fetch(there, here, bad)
    assert files(here.folder(there.run_id)) == before


@pytest.mark.parametrize("name", ["images.parquet", "metrics.json", WEIGHTS, STATUS])
def test_what_had_changed_before_it_was_sent_leaves_the_store_as_it_was(there: Any, here: Store, name: str) -> None:
    (there.folder / name).write_bytes(b"x")
    with pytest.raises(DamagedError, match=re.escape(name)):
        fetch(there, here)
    assert files(here.folder(there.run_id)) == {}


def test_a_node_that_is_lost_meanwhile_leaves_the_store_as_it_was(there: Any, here: Store) -> None:
    def read(name: str, offset: int) -> bytes:
        if name == STATUS:
            raise ConnectionError
        return piece(there.folder, name, offset)

    with pytest.raises(ConnectionError):
        put(remote_record("n", there.folder), there.spec, here, read)
    assert files(here.folder(there.run_id)) == {}
    assert fetch(there, here) == there.status


def test_status_comes_last(there: Any, here: Store, monkeypatch: Any) -> None:
    order = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append(Path(to).name), replace(self, to))[1])
    fetch(there, here)
    assert order[-1] == STATUS
    assert len(order) > 5


def test_a_record_that_another_process_has_finished_meanwhile_stays(there: Any, here: Store) -> None:
    other = finished(here, 0.5)
    before = files(other.folder)
    assert fetch(there, here) == other.status
    assert files(other.folder) == before


def test_a_run_that_another_process_holds_is_left_to_it(there: Any, here: Store) -> None:
    folder = here.folder(there.run_id)
    folder.mkdir(parents=True)
    with lease(folder) as held:
        assert held is not None
        assert fetch(there, here) is None
    assert files(folder) == {}


def test_attempts_are_counted_on(there: Any, here: Store) -> None:
    """Two attempts here, before: the one elsewhere is the third, and all three are kept."""
    for number in (1, 2):
        here.begin(there.spec)
        here.write_attempt(there.run_id, number, {"number": number, "here": True})
    store = Store(there.folder.parent)
    shutil.rmtree(there.folder)
    take_over(attempts_of(here.folder(there.run_id)), there.folder)
    assert store.begin(there.spec) == 3
    store.write_attempt(there.run_id, 3, {"number": 3})
    store.finish(Status(run_id=there.run_id, state="failed", attempt=3, reason="r"))
    status = fetch(there, here)
    assert status is not None
    assert status.attempt == 3
    kept = sorted((here.folder(there.run_id) / "attempts").iterdir())
    assert [json.loads(path.read_text()).get("here") for path in kept] == [True, True, None]


@pytest.mark.parametrize("name", ["../stolen", "/stolen", ".lock-1", "a/b/c", "samples/../../x"])
def test_no_name_leads_out_of_the_run(there: Any, here: Store, name: str) -> None:
    with pytest.raises(DamagedError, match="no file of a record"):
        fetch(there, here, RemoteRecord("n", there.folder, {name: "0" * 64}))
    assert list(here.root.rglob("stolen")) == []
