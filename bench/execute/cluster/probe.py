"""Whether a node sees the driver's results folder: the driver writes a file there, a node looks for it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.files import write_bytes


@dataclass(frozen=True)
class Probe:
    path: Path
    content: str

    def is_here(self) -> bool:
        """Whether this machine reads the same file there, and may write beside it."""
        try:
            if self.path.read_text() != self.content:
                return False
            with tempfile.TemporaryFile(dir=self.path.parent) as file:
                file.write(b"x")
        except (OSError, ValueError):
            return False
        return True


@contextmanager
def probing(root: Path) -> Iterator[Probe]:
    """A probe in this folder while the block runs. A driver that is killed leaves it there: git ignores it."""
    root.mkdir(parents=True, exist_ok=True)
    content = secrets.token_hex(16)
    probe = Probe(root.resolve() / f".cluster-{content[:8]}", content)
    write_bytes(probe.path, content.encode())
    try:
        yield probe
    finally:
        probe.path.unlink(missing_ok=True)
