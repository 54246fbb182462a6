"""The drawing of one module's inside: a box a part, in the order of the data, an arrow for all that feeds it.

matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from bench.record import Module, Network
from bench.report.drawing.blocks import Block
from bench.report.drawing.blueprint import BOX_HEIGHT, CHARACTER, INK, LONGEST, SKIP, SMALL, TEXT, draw_box, line
from bench.report.drawing.figures import DOTS_PER_INCH, WIDTH, files_of, own_style

BOX_WIDTH, ROW = 2.6, 0.56  # inches
MIDDLE, TOP, BOTTOM = WIDTH / 2, 0.3, 0.3
ASIDE = 0.3  # how far from the boxes the first arrow runs that passes one, and how far from it the next
BELOW = "In a box: the output (tokens × channels), and the number of parameters. Blue: what passes other parts."


def inside_of(network: Network, block: Block) -> tuple[Module, ...]:
    """What a block is made of, one step down, in the order of the pass; nothing where that is not recorded."""
    parts = [module for module in network.modules if module.name.rpartition(".")[0] == block.name]
    return tuple(parts) if all(part.inputs for part in parts) else ()


@dataclass(frozen=True)
class Inside:
    """`parts`: of one module, each after those that feed it. What feeds one from without stands above the first."""

    name: str
    alt: str
    title: str
    parts: tuple[Module, ...]

    def draw(self) -> dict[str, bytes]:
        """The files by format: svg, png and pdf."""
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        height = TOP + BOTTOM + ROW * (len(self.parts) + 1)
        with own_style():
            rcParams["text.parse_math"] = False  # names are names
            figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH)
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
            axes.set_axis_off()
            title = "\n".join(wrap(self.title, LONGEST))
            axes.text(0.12, height - 0.08, title, fontsize=TEXT + 0.5, va="top", color=INK)
            axes.text(0.12, 0.1, BELOW, fontsize=SMALL, va="center", color=INK)
            first = height - TOP - ROW / 2
            rows = {part.name: first - ROW * (n + 1) for n, part in enumerate(self.parts)}
            without = {name: first for part in self.parts for name in part.inputs or () if name not in rows}
            above = ", ".join(without)
            axes.text(MIDDLE, first, above, fontsize=SMALL, ha="center", va="center", color=INK)
            for part in self.parts:
                name = f"{part.name.rpartition('.')[2]} ({part.kind})"
                middle = (MIDDLE, rows[part.name])
                draw_box(axes, middle, BOX_WIDTH, part.kind, name, part.output, part.parameters)
            _draw_arrows(axes, self.parts, without | rows, CHARACTER * len(above) / 2)
            return files_of(figure)


def _draw_arrows(axes: Any, parts: Sequence[Module], rows: Mapping[str, float], label: float) -> None:
    """Straight down from the row above, else around what lies between: each on a line of its own. `label`: half the
    width of what stands above the first part.
    """
    inner, edge, passing = {part.name for part in parts}, MIDDLE + BOX_WIDTH / 2, 0
    for part in parts:
        for source in part.inputs or ():
            start, end = rows[source], rows[part.name]
            if start - end < 1.5 * ROW:
                points = [(MIDDLE, start - BOX_HEIGHT / 2), (MIDDLE, end + BOX_HEIGHT / 2)]
                line(axes, points, INK)
            else:
                passing += 1
                beside = edge + ASIDE * passing
                leaves = edge if source in inner else MIDDLE + label + 0.05
                line(axes, [(leaves, start), (beside, start), (beside, end), (edge, end)], SKIP)
