"""The cause of a failure in one line, without the names of this machine."""

from __future__ import annotations

import errno
import socket
import sys
from pathlib import Path

import pytest

from bench import failure
from bench.failure import PROJECT, reason_of, scrub


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("first line\nsecond"), "ValueError: first line"),
        (KeyError(), "KeyError: "),
        (MemoryError(), "out of memory (MemoryError: )"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out of memory (RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried)",
        ),
        (RuntimeError("CUDA out of memory. Tried to"), "out of memory (RuntimeError: CUDA out of memory. Tried to)"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/me/results/run/metrics.json"),
            "the disk is full (OSError: [Errno 28] No space left on device: '…/run/metrics.json')",
        ),
        (OSError(errno.EROFS, "Read-only file system"), "OSError: [Errno 30] Read-only file system"),
    ],
)
def test_the_cause_comes_first(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'File "{PROJECT}/bench/run.py", line 3', 'File "bench/run.py", line 3'),
        (f'File "{sys.prefix}/lib/python3/x.py"', 'File "lib/python3/x.py"'),
        ("no file at /srv/data/coco/val/1.png; go", "no file at …/val/1.png; go"),
        ("('/srv/data/a b/1.png')", "('/srv/data/a b/1.png')".replace("/srv/data/a", "…/data/a")),
        ("see https://pytorch.org/docs/stable/notes.html", "see https://pytorch.org/docs/stable/notes.html"),
        ("12/34/56 images, bench/train/loop.py", "12/34/56 images, bench/train/loop.py"),
        ("/tmp/x", "/tmp/x"),
        ("/home/bob/secret/x/y and /home/bob/x, /Users/eve", "…/x/y and /~/x, /~"),
        ("file:///srv/data/coco/1.png, path:/srv/data/coco/1.png", "file://…/coco/1.png, path:…/coco/1.png"),
        ("see https://example.org/home/bob/x", "see https://example.org/~/x"),
    ],
)
def test_paths_of_this_machine_are_shortened(text: str, expected: str) -> None:
    assert scrub(text) == expected


def test_host_and_user_are_replaced_as_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node7")
    monkeypatch.setattr(failure.getpass, "getuser", lambda: "ada")
    assert scrub("ada@node7 and adam on node77, node7.local") == "<user>@<host> and adam on node77, <host>.local"
    assert str(Path.home()) + "/" not in scrub(f"{Path.home()}/projects/one/x.py")


def test_the_short_name_of_a_host_is_replaced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node7.cluster.example")
    assert scrub("node7 lost node7.cluster.example, not node77") == "<host> lost <host>, not node77"


def test_a_user_without_a_name_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid 1234")

    monkeypatch.setattr(failure.getpass, "getuser", nobody)
    assert scrub("all is well") == "all is well"
