from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.native import json_rows
from bench.data.native.json_rows import Span, read_spans, scan
from bench.data.problem import FaultError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
VALUES = st.recursive(SCALARS, lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=4), one))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.dictionaries(st.text(max_size=4), VALUES, max_size=4),
    window=st.integers(1, 40),
    ascii=st.booleans(),
    indent=st.sampled_from([None, 2]),
    mark=st.booleans(),
)
def test_rows_are_what_json_says_whatever_the_window(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: dict[str, Any],
    window: int,
    ascii: bool,
    indent: int | None,
    mark: bool,
) -> None:
    monkeypatch.setattr(json_rows, "WINDOW", window)
    path = tmp_path / "a.json"
    text = json.dumps(content, ensure_ascii=ascii, indent=indent)
    path.write_bytes(text.encode("utf-8-sig" if mark else "utf-8", "surrogatepass"))
    lists = {key: value for key, value in content.items() if isinstance(value, list)}
    found: dict[str, list[Any]] = {key: [] for key in lists}
    places: dict[str, list[Span]] = {key: [] for key in lists}

    def handler(key: str) -> json_rows.Handler:
        def add(value: Any, span: Span) -> None:
            found[key].append(value)
            places[key].append(span)

        return add

    scan(path, {key: handler(key) for key in lists})
    assert found == lists
    for key, spans in places.items():
        assert read_spans(path, spans, "an image") == lists[key]


def test_the_file_is_never_whole_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "WINDOW", 1 << 16)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"annotations": [{"id": n, "segmentation": [0.5] * 200} for n in range(10_000)]}))
    seen = []
    tracemalloc.start()
    scan(path, {"annotations": lambda row, _: seen.append(row["id"])})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(seen) == 10_000
    assert peak < path.stat().st_size / 5


@pytest.mark.parametrize("cut", [1, 7, 20, 60])
def test_a_truncated_file_is_unreadable(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"annotations": [{"id": n} for n in range(9)], "x": 12})[:-cut])
    with pytest.raises(FaultError, match="is not readable json"):
        scan(path, {"annotations": lambda *_: None})
