"""YAML that people write, read safely: plain values only, of bounded size, whatever aliases it has. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # with every alias followed: a few lines of aliases of aliases would stand for billions


def read_yaml(path: Path) -> Any:
    """The document. Raises UserError where it is no YAML of plain values, or larger than any settings are."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(
                f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read, and settings take a few hundred"
            )
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UserError(f"{path} is nested too deep to be settings") from None
    except (yaml.YAMLError, ValueError, OSError, OverflowError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    _check_nodes(content, path)
    return content


def _check_nodes(content: Any, path: Path) -> None:
    waiting, seen = [content], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > MAX_NODES:
            raise UserError(f"{path} has more than {MAX_NODES:,} values, aliases followed; settings take a few dozen")
        if isinstance(node, dict):
            waiting += [*node, *node.values()]
        elif isinstance(node, list | tuple | set):
            waiting += node
