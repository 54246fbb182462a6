"""What a preparation lost, as a table: one line a size, the categories that lost most named."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bench.data.prepared import Prepared
from bench.spec import size_text

WORST = 3  # categories named in a line


def vanished_table(made: Sequence[Prepared]) -> Table:
    """Of each prepared split at each size: images, how many were left out, and how many segments and instances have no
    pixel left there."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("prepared")
    for column in ("images", "left out", "segments", "vanished", "instances", "vanished"):
        table.add_column(column, justify="right")
    table.add_column("most lost")
    several = len({one.manifest["form"] for one in made}) > 1
    for one in made:
        told = one.manifest
        segments = _lost(told["segments_total"], told["segments_vanished"])
        instances = _lost(told["instances_total"], told["instances_vanished"])
        name = f"{one.dataset} {one.split} {size_text(one.size)}"
        name += f", {told['form']}" if several else ""
        table.add_row(name, str(len(one)), str(len(told["skipped"])), *segments, *instances, _worst(one))
    return table


def _lost(total: int | None, vanished: int | None) -> tuple[str, str]:
    if total is None or vanished is None:
        return "-", "-"
    return str(total), f"{vanished} ({vanished / max(1, total):.1%})"


def _worst(prepared: Prepared) -> str:
    """The categories that lost most segments: how many, of how many."""
    told = prepared.manifest
    rows = zip(
        told["segments_vanished_by_category"],
        told["segments_total_by_category"],
        prepared.categories.entries,
        strict=True,
    )
    ranked = sorted(((lost, total, entry.name) for lost, total, entry in rows if lost), key=lambda row: (-row[0], row))
    return ", ".join(f"{name} {lost} of {total}" for lost, total, name in ranked[:WORST]) or "-"
