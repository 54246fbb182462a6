"""Subsets of a split by the hash of the image id: fixed, and the smaller within the larger. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import get_args

from bench.errors import UserError
from bench.spec import Percent

PERCENTS: tuple[int, ...] = get_args(Percent)


def chosen_ids(ids: Sequence[str], limit: int | None) -> list[str]:
    """The `limit` ids with the smallest sha256, in their old order; None is all."""
    if limit is None:
        return list(ids)
    if limit < 1:
        raise UserError(f"the limit on images is {limit}; expected 1 or more")
    kept = set(sorted(ids, key=lambda id: hashlib.sha256(id.encode()).hexdigest())[:limit])
    return [id for id in ids if id in kept]


def share_ids(ids: Sequence[str], percent: int) -> list[str]:
    """`percent` of the ids, rounded down, but at least one."""
    return chosen_ids(ids, share_count(len(ids), percent))


def share_count(images: int, percent: int) -> int:
    """How many images `percent` of them are."""
    return max(1, images * percent // 100)


def hold_out(ids: Sequence[str], percent: int) -> tuple[list[str], list[str]]:
    """(the rest, `percent` of the ids held out): every id in one of the two, those with the largest sha256 held out.

    Raises UserError where there are too few for both to have one.
    """
    rest = share_ids(ids, 100 - percent)
    kept = set(rest)
    held = [id for id in ids if id not in kept]
    if not held:
        raise UserError(f"{percent} % of {len(ids)} training images leaves none to hold out; train on more images")
    return rest, held
