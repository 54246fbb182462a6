"""A run costs no import of its own: what it needs was imported once, by the server that it is forked from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SUITE = """
name: two
title: a small network, twice
task: panoptic
sizes: [32x32]
models: [unet-small]
datasets: [scenes]
seeds: [0, 1]
floors: false
"""
PROFILE = """
name: tiny
summary: for tests
label: tiny
reproduction: false
epochs: 1
max_batch: 4
train_images: 4
val_images: 2
"""
GLUE = {"pyarrow.pandas_compat", "pyarrow.vendored.version"}  # a few ms, of which Arrow makes no secret


def test_a_run_imports_nothing_after_its_fork_and_torch_is_imported_once(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(SUITE)
    (tmp_path / "tiny.yaml").write_text(PROFILE)
    notes = tmp_path / "notes"
    notes.mkdir()
    suite = ("--suite", "./two.yaml", "--profile", "./tiny.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "tests.execute.probe", "run", *suite],
        cwd=tmp_path,
        env={**os.environ, "NOTES": str(notes), "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(path.read_text()) for path in notes.iterdir()]
    assert len(found) == 2
    assert all(note["torch_before"] for note in found)
    assert len({note["server"] for note in found}) == 1
    assert [set(note["imported"]) - GLUE for note in found] == [set(), set()]
