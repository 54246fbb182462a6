"""Damaged records: never a traceback, never a number that no run gave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import read
from bench.report.build import read_records
from bench.spec import RunSpec
from bench.store import Store
from tests.robustness.mutations import damaged_bytes, damaged_json, text_of

RECORD = "unet-scenes-64x64-quick-s0-9a7f4788ed"
RESULTS = Path(__file__).parents[2] / "results"
FILES = ("spec.json", "status.json", "metrics.json", "network.json", "attempts")


@pytest.fixture
def store(tmp_path):
    """One real record, sealed as a run seals its own."""
    folder = tmp_path / RECORD
    shutil.copytree(RESULTS / RECORD, folder, ignore=shutil.ignore_patterns("checkpoint", "images.parquet"))
    store = Store(tmp_path)
    store.finish(store.record(RECORD).status)
    return store


def file_of(store, name):
    folder = store.folder(RECORD)
    return folder / name if name != "attempts" else folder / "attempts" / f"{store.record(RECORD).status.attempt}.json"


def check(store, whole, path, content, chance):
    """Damages a file, reads the record, mends it."""
    path.write_bytes(content)
    try:
        found = store.record(RECORD)
    except UserError as error:
        assert "\n" not in str(error), str(error)
        assert str(error).strip(), chance
        assert store.whole(RECORD) is None
        records, damaged = read_records(store)
        assert (records, list(damaged)) == ([], [RECORD])
        return True
    numbers = found.spec, found.metrics, found.network, found.attempt
    assert numbers == (whole.spec, whole.metrics, whole.network, whole.attempt)
    return False


@pytest.mark.parametrize("name", FILES)
def test_a_record_with_damaged_bytes_is_refused_or_unchanged(store, name, cases):
    path, whole = file_of(store, name), store.record(RECORD)
    content = path.read_bytes()
    refused = sum(check(store, whole, path, damaged_bytes(content, chance), chance) for chance in cases(80))
    assert refused > 60


@pytest.mark.parametrize("name", FILES)
def test_a_record_with_a_changed_value_is_refused_or_unchanged(store, name, cases):
    path, whole = file_of(store, name), store.record(RECORD)
    content = json.loads(path.read_bytes())
    for chance in cases(80):
        check(store, whole, path, text_of(damaged_json(content, chance)), chance)


def test_without_its_seal_a_changed_spec_still_does_not_pass(store, cases):
    """The run id is the hash of the spec: no value of it can change unseen."""
    path = store.folder(RECORD) / "spec.json"
    whole, content = read(path, RunSpec), json.loads(path.read_bytes())
    status = store.folder(RECORD) / "status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"files": None}))
    for chance in cases(200):
        path.write_bytes(text_of(damaged_json(content, chance)))
        try:
            found = store.record(RECORD)
        except UserError as error:
            assert "\n" not in str(error)
            continue
        assert found.spec.canonical() == whole.canonical()


@pytest.mark.parametrize("name", ["../spec.json", "/etc/passwd", "attempts/../../x.json", "a/b.json"])
def test_a_seal_names_no_file_outside_the_record(store, name):
    status = store.folder(RECORD) / "status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"files": {name: "00"}}))
    with pytest.raises(UserError, match="files"):
        store.record(RECORD)
