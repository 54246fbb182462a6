"""What of the code or the packages differs on a node."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench.errors import UserError
from bench.execute.cluster.same_code import check_same, code_here


def test_every_source_file_is_in_it() -> None:
    code = code_here()
    root = Path(bench.__file__).parents[1]
    sources = {
        path.relative_to(root).as_posix() for name in ("bench", "models") for path in (root / name).rglob("*.py")
    }
    assert sources <= code.files.keys()
    assert "bench/profiles/smoke.yaml" in code.files
    assert code.files["bench/cli.py"] == hashlib.sha256((root / "bench/cli.py").read_bytes()).hexdigest()
    check_same(code, code)


def test_the_first_difference_is_told_and_how_many_there_are() -> None:
    code = code_here()
    other = replace(code, files={**code.files, "bench/run.py": "0", "models/unet.py": "0"})
    with pytest.raises(UserError, match=r"its bench/run\.py and 1 more is not this command's"):
        check_same(code, other)
    lacking = replace(code, files={name: digest for name, digest in code.files.items() if name != "models/unet.py"})
    with pytest.raises(UserError, match=r"its models/unet\.py is not this command's"):
        check_same(code, lacking)
    assert len({code.short, other.short, lacking.short}) == 3


def test_another_torch_is_told_with_both_versions() -> None:
    code = code_here()
    with pytest.raises(UserError, match=r"it has torch 1\.0, this command "):
        check_same(code, replace(code, versions={**code.versions, "torch": "1.0"}))
