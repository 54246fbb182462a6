"""What is remembered beside prepared data is believed only where it can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.data import intact, verified

DEEP = "[" * 100_000


class OneSplit:
    name, splits = "some", ("val",)

    def fingerprint(self, split: str) -> str:
        return f"of {split}"


@pytest.mark.parametrize("text", [DEEP, "{", "", "[]", '{"fingerprints": {"val": "of val"}, "problems": Infinity}'])
def test_a_damaged_note_of_a_verification_says_nothing(text: str, tmp_path: Path) -> None:
    source: Any = OneSplit()
    verified.remember(source, tmp_path, 3)
    assert verified.recall(source, tmp_path) == 3
    (tmp_path / "some" / verified.NAME).write_text(text)
    assert verified.recall(source, tmp_path) is None


@pytest.mark.parametrize("text", [DEEP, "{", ""])
def test_a_damaged_stamp_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / intact.FOUND).write_text(text)
    assert intact._found(tmp_path) is None
    (tmp_path / intact.FOUND).write_text(json.dumps({"images.npy": [1, 2]}))
    assert intact._found(tmp_path) == {"images.npy": [1, 2]}
