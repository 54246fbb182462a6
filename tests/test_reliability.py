"""docs/reliability.md names the test behind each promise: it is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert not name or name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test() -> None:
    tables = [block.splitlines() for block in PAGE.split("\n\n") if block.startswith("|")]
    promises = [row for heading, _, *rows in tables if "Shown by" in heading for row in rows]
    assert len(promises) > 20
    assert [row for row in promises if "`tests/" not in row and not row.endswith("| the same |")] == []


def test_only_tests_marked_slow_are_called_slow() -> None:
    for path, name in NAMED:
        source = (ROOT / path).read_text()
        found = re.search(rf"((?:^@.*\n)*)^def {name}\b", source, re.M) if name else None
        if found:
            slow = "pytest.mark.slow" in found[1] or "pytestmark = pytest.mark.slow" in source
            assert slow == (f"*slow* `{path}::{name}`" in PAGE), name
