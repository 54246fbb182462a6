"""A table of words beside the tables of numbers. Markdown and the page show it; CSV and LaTeX do not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """`lines` are as long as `heads`; the first of each names its row. `intervals`: how many the lines hold."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    intervals: int = 0

    @property
    def said(self) -> tuple[str, ...]:
        """The notes, and how many of the intervals chance alone would move."""
        if self.intervals < 2:
            return self.notes
        chance = "where nothing differs, about one in twenty would leave out zero all the same."
        return *self.notes, f"{self.intervals} intervals: {chance}"
