"""longrange.json of a run: sealed like its other files, absent from older records, refused where it is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.errors import UserError
from bench.intact import wrong
from bench.measure.level_statistics import longrange_of
from bench.measure.longrange_record import VERSION, lacks_longrange, read_longrange, write_longrange
from bench.record import Metrics, Network, Record, Scores, Status
from bench.store import Store
from tests.specs import spec_of_size

SPEC = spec_of_size("32x32")
MAPS = {f"att{n}": np.random.default_rng(n).standard_normal((1, 2, 16, 16)) for n in range(1, 7)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.write_attempt(SPEC.run_id, store.begin(SPEC), {})
    return store


def finished(store: Store) -> Record:
    folder = store.folder(SPEC.run_id)
    empty = dict.fromkeys(Scores.model_fields) | {"ap_classes": 0, "instance_truth": "t", "images": 1}
    metrics = Metrics(protocol="standard", train_images=1, final=Scores(**empty), untrained=None, classes=())
    (folder / "metrics.json").write_text(metrics.model_dump_json())
    (folder / "network.json").write_text(Network.no_network("unet", (32, 32), 2).model_dump_json())
    store.finish(Status(run_id=SPEC.run_id, state="done", attempt=1))
    return store.record(SPEC.run_id)


def test_what_is_written_is_read_and_sealed(store: Store) -> None:
    found = longrange_of(MAPS, MAPS, 0)
    write_longrange(store.folder(SPEC.run_id), found)
    record = finished(store)
    assert read_longrange(record) == found
    assert not lacks_longrange(record)
    path = record.folder / "longrange.json"
    path.write_text(path.read_text().replace('"images":1', '"images":2'))
    with pytest.raises(UserError, match=r"longrange\.json is not as it was written"):
        read_longrange(record)
    assert wrong(record) == "longrange.json changed since the run ended"
    path.unlink()
    with pytest.raises(UserError, match=r"longrange\.json is not as it was written"):
        read_longrange(record)


def test_an_older_record_has_none_and_one_of_an_older_version_lacks_it(store: Store) -> None:
    assert read_longrange(finished(store)) is None
    assert lacks_longrange(finished(store))
    write_longrange(
        store.folder(SPEC.run_id), longrange_of(MAPS, MAPS, 0).model_copy(update={"statistics": VERSION + 1})
    )
    assert lacks_longrange(finished(store))


def test_a_new_attempt_clears_it_and_a_run_that_failed_shows_none(store: Store) -> None:
    path = store.folder(SPEC.run_id) / "longrange.json"
    write_longrange(path.parent, longrange_of(MAPS, MAPS, 0))
    store.finish(Status(run_id=SPEC.run_id, state="failed", attempt=1, reason="r"))
    assert read_longrange(store.record(SPEC.run_id)) is None
    store.begin(SPEC)
    assert not path.exists()


def test_what_is_not_what_it_says_is_refused(store: Store) -> None:
    (store.folder(SPEC.run_id) / "longrange.json").write_text('{"schema_version": 1, "imagse": 3}')
    with pytest.raises(UserError, match="imagse"):
        read_longrange(finished(store))
