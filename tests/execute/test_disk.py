"""A disk that is full, read-only or gone: one clear line, old records as they were, and the same command completes.

Real disks: a tmpfs of some megabytes, where this user may mount one; else a limit on the size of files.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def mount(folder: Path, *options: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(["mount", *options, str(folder)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MB, at <tmp_path>/disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount(folder, "-t", "tmpfs", "-o", "size=12m", "tmpfs")
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"this user may mount nothing ({error})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_line(text: str) -> str:
    """The line of the mistake. No traceback came with it."""
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("bench: ")]
    return line


@pytest.mark.slow
def test_a_disk_that_fills_up_harms_no_record_and_the_rerun_completes(
    disk: Path, tmp_path: Path, bad_suites: Any
) -> None:
    suite = bad_suites(tmp_path, ("behave", "fill-disk"), {"TARGET": str(disk)})
    (tmp_path / "results").symlink_to(disk / "results")
    (disk / "results").mkdir()
    code, text = suite.run("--models", "behave")
    assert code == 0, text
    before = contents(disk)
    code, text = suite.run()
    assert code == 2, text
    assert "No space left on device" in one_line(text)
    after = contents(disk)
    assert (disk / "filler").exists()
    assert {name: after[name] for name in before} == before
    assert suite.states() == {"behave": "done"}
    (disk / "filler").unlink()
    code, text = suite.run(misbehave=False)
    assert code == 0, text
    assert suite.states() == {"behave": "done", "fill-disk": "done"}
    assert len(suite.attempts("behave")) == 1
    assert not [name for name in contents(disk) if name.endswith((".tmp", ".part")) or ".lock" in name]


@pytest.mark.slow
def test_a_file_that_cannot_be_written_fails_its_run_alone(tmp_path: Path, bad_suites: Any) -> None:
    """Needs no disk of its own: no file may grow beyond 3,000 bytes, and metrics.json has more."""
    suite = bad_suites(tmp_path, ("behave",))
    assert suite.run("--results", "elsewhere", misbehave=False)[0] == 0  # prepares the data, without the limit
    code, text = suite.run(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)), misbehave=False)
    assert code == 1, text
    assert "File too large" in suite.statuses()["behave"]["reason"]
    assert suite.run(misbehave=False)[0] == 0
    assert suite.states() == {"behave": "done"}
    assert not [name for name in contents(tmp_path / "results") if name.endswith((".tmp", ".part"))]


def test_too_small_a_disk_is_said_before_anything_is_written(disk: Path, tmp_path: Path, bad_suites: Any) -> None:
    suite = bad_suites(tmp_path, ("behave", "exit", "fail"))
    mount(disk, "-o", "remount,size=1m")
    code, text = suite.run("--results", str(disk / "results"))
    assert code == 2
    assert "has 1 MB free and the records of these runs may need 3 MB; make room first" in one_line(text)
    code, text = suite.bench("data", "prepare", "scenes", "--sizes", "128x128", "--prepared", str(disk / "prepared"))
    assert code == 2
    assert "prepared may need" in one_line(text)
    assert contents(disk) == {}


@pytest.mark.parametrize("command", ["run", "prepare", "report"])
def test_a_read_only_disk_is_one_line_and_nothing_changes(
    disk: Path, tmp_path: Path, bad_suites: Any, command: str
) -> None:
    suite = bad_suites(tmp_path, ("behave",))
    (disk / "old.md").write_text("old")
    (tmp_path / "results").mkdir()
    mount(disk, "-o", "remount,ro")
    target = str(disk) if command == "report" else str(disk / command)
    given = {
        "run": ("run", "--suite", "./bad.yaml", "--profile", "./tiny.yaml", "--results", target),
        "prepare": ("data", "prepare", "scenes", "--sizes", "8x8", "--prepared", target),
        "report": ("report", "--out", target),
    }
    code, text = suite.bench(*given[command], misbehave=False)
    assert code == 2, text
    line = one_line(text)
    assert f"cannot be written into {target} (Read-only file system)" in line
    assert contents(disk) == {"old.md": b"old"}


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["results", "prepared"])
def test_a_folder_removed_meanwhile_fails_its_run_and_the_rerun_completes(
    tmp_path: Path, bad_suites: Any, gone: str
) -> None:
    suite = bad_suites(tmp_path, ("remove-folder", "behave"), {"TARGET": str(tmp_path / gone)})
    code, text = suite.run()
    assert code == 1, text
    assert "Traceback" not in text
    failed = {model: status["reason"] for model, status in suite.statuses().items() if status["state"] == "failed"}
    assert set(failed) == ({"remove-folder"} if gone == "results" else {"behave", "remove-folder"})
    told = ("No such file", "no prepared data at", "lost its folder: that was removed")
    assert all(any(words in reason for words in told) for reason in failed.values()), failed
    code, text = suite.run(misbehave=False)
    assert code == 0, text
    assert suite.states() == {"behave": "done", "remove-folder": "done"}
