"""A table of words beside the tables of numbers. Markdown and the page show it; CSV and LaTeX do not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """`lines` are as long as `heads`; the first of each names its row."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
