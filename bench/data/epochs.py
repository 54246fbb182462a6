"""How many steps an epoch has, and who takes which rows of a batch. Imports no torch."""

from __future__ import annotations


def steps_per_epoch(images: int, batch_size: int, drop_last: bool) -> int:
    """How many batches an epoch has; at least one where there is an image."""
    full, rest = divmod(images, batch_size)
    return full + (1 if rest and not (drop_last and full) else 0)


def share_of(rows: int, process: int, processes: int) -> slice:
    """The rows of a batch that a process takes: together each once, in order, and no two shares differ by more than a
    row.
    """
    return slice(process * rows // processes, (process + 1) * rows // processes)
