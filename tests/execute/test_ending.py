"""What is recorded of a process that has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.execute.ending import settle
from bench.store import Store
from tests.test_store import SPEC


@pytest.mark.parametrize("name", ["status.json", "attempts/1.json"])
def test_a_damaged_file_does_not_end_the_suite(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    number = store.begin(SPEC)
    store.write_attempt(SPEC.run_id, number, {"number": number})
    (store.folder(SPEC.run_id) / name).write_text("[")
    status = settle(SPEC, store, -9, number, ["last line"])
    assert status is not None
    assert (status.state, status.attempt) == ("failed", 1)
    record = store.record(SPEC.run_id)
    assert "SIGKILL" in str(record.status.reason)
    assert record.attempt["log_tail"] == ["last line"]
