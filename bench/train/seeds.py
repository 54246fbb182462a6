"""One seed a run, one derived for each use of chance, by name: changing one leaves the others alone. No torch."""

from __future__ import annotations

import hashlib


def axis_seed(seed: int, axis: str, *place: int) -> int:
    """A 63-bit seed for an axis ('initialisation', 'loss sampling') at a place in the run."""
    text = ":".join([str(seed), axis, *map(str, place)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
