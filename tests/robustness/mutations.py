"""Damage to files, seeded: what disks, interrupted copies, editors and other programs do to them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 10**30, 1e308, -0.5, 2.5, "", "x", "NaN", "../../etc/passwd", "/absolute", "nul\0byte",
    [], {}, [[]], {"a": {}}, [None], "é\ud800", 2**63, "2017-99-99", [1] * 50,
]  # fmt: skip


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    """The content with one thing done to its bytes; never the same content."""
    while True:
        found = bytearray(content)
        at = chance.randrange(len(found) + 1)
        kind = chance.randrange(8)
        if kind == 0:
            del found[at:]
        elif kind == 1 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del found[at : at + chance.randrange(1, 64)]
        elif kind == 3:
            found[at:at] = chance.randbytes(chance.randrange(1, 16))
        elif kind == 4:
            end = at + chance.randrange(1, 512)
            found[at:end] = bytes(len(found[at:end]))
        elif kind == 5:
            found[at:at] = found[chance.randrange(len(found) + 1) :][:256]
        elif kind == 6:
            found += found[:256]
        else:
            found = bytearray(chance.randbytes(chance.randrange(200)))
        if bytes(found) != content:
            return bytes(found)


def damaged_json(content: Any, chance: random.Random) -> Any:
    """The document with one node replaced, removed, doubled or renamed; never an equal document."""
    while True:
        found = copy.deepcopy(content)
        holder, key = chance.choice(list(_places(found)))
        kind = chance.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[f"{key}{chance.choice(['_', 's', ' '])}"] = holder.pop(key)
        elif kind == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 3 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = holder[key] * chance.choice([-1, 0, 2, 0.1, 1e9]) + chance.choice([0, 1, 0.25])
        else:
            holder[key] = copy.deepcopy(chance.choice(STRANGE))
        if json.dumps(found) != json.dumps(content):
            return found


def text_of(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) below a node."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield node, key
        yield from _places(value)
