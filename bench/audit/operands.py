"""What a claim compares: numbers, ids of numbers, and sums of both. A layer says what an id is worth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.audit.quantity import FUNCTIONS, Mark, Quantity, constant
from bench.errors import UserError, unknown
from bench.paper.numbers import PAPER_YAML, PaperCell, content, paper
from bench.spec import Frozen
from models.registry import REGISTRY

SIZE = r"(?P<size>\d+x\d+)"
COST = re.compile(rf"cost\.(?P<model>[a-z0-9-]+)\.{SIZE}\.(?P<what>flops|params|memory)")
MEASURED = re.compile(
    rf"measured\.(?P<model>[a-z0-9-]+)(\[(?P<options>[a-z_]+=[a-z0-9-]+)\])?\.(?P<dataset>[a-z0-9]+)\.{SIZE}"
    r"\.(?P<task>semantic|instance|panoptic)\.(?P<metric>miou|pq|ap)"
)
PRINTED = "printed."  # before a cell's id: the paper's number in every layer
DETECTORS = ("detr-r50-detector", "detr-r101-detector")  # without their mask heads: no registered networks

Lookup = Callable[[str], Quantity]


@dataclass(frozen=True)
class Call:
    """A function of operands: {difference: [t4.ours.coco.pq, t4.unet.coco.pq]}."""

    function: str
    parts: tuple[Operand, ...]


Operand = float | str | Call


class OutsideNumber(Frozen):
    """A number of no table of the paper, with where it is from."""

    value: float
    unit: str = ""
    what: str
    source: str


class OtherLayerError(Exception):
    """The id has no value in the layer that was asked: a count of FLOPs is no measured score."""


def parse(raw: Any, where: str) -> Operand:
    """Raises UserError for what is no operand, an unknown function, or the wrong number of its parts."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, dict) or len(raw) != 1:
        raise UserError(f"{where}: an operand is a number, an id, or one function such as sum: [a, b]; got {raw!r}")
    ((name, parts),) = raw.items()
    if name not in FUNCTIONS:
        raise unknown("function", str(name), FUNCTIONS, where)
    wanted = FUNCTIONS[name][1]
    if not isinstance(parts, list) or not parts or wanted not in (None, len(parts)):
        count = len(parts) if isinstance(parts, list) else 0
        raise UserError(f"{where}: {name} takes {wanted or 'one or more'} operands in a list, got {count}")
    return Call(name, tuple(parse(part, where) for part in parts))


def evaluate(operand: Operand, lookup: Lookup) -> Quantity:
    if isinstance(operand, float):
        return constant(operand)
    if isinstance(operand, str):
        return lookup(operand)
    return FUNCTIONS[operand.function][0]([evaluate(part, lookup) for part in operand.parts])


def names(operand: Operand) -> Iterator[str]:
    """The ids in an operand, from left to right."""
    if isinstance(operand, str):
        yield operand
    elif isinstance(operand, Call):
        for part in operand.parts:
            yield from names(part)


@dataclass(frozen=True)
class Printed:
    """What stands in the paper, and the few numbers from outside that claims are held against."""

    cells: Mapping[str, PaperCell]
    facts: Mapping[str, Any]  # the whole of paper.yaml
    outside: Mapping[str, OutsideNumber] = field(default_factory=dict)

    @classmethod
    def read(cls, outside: Mapping[str, OutsideNumber], path: Path = PAPER_YAML) -> Printed:
        return cls(paper(path).cells, content(path), outside)

    def lookup(self, name: str) -> Quantity:
        """The printed number. Raises OtherLayerError for counts and measurements, UserError for an unknown id."""
        cell = self.cells.get(name.removeprefix(PRINTED))
        if cell is not None:
            return constant(cell.value, "" if cell.unit == "1" else cell.unit, self.label(cell)).marked(_mark(cell))
        if name in self.outside:
            number = self.outside[name]
            return constant(number.value, number.unit, number.what)
        for prefix in ("paper.", "count."):
            if name.startswith(prefix):
                return constant(_fact(self.facts, name, prefix))
        if _is_known(COST, name) or _is_known(MEASURED, name):
            raise OtherLayerError(name)
        raise unknown("operand", name, [*self.cells, *self.outside])

    def label(self, cell: PaperCell) -> str:
        """The row's network, or what else it stands for with the metric: 'MaskAttn-UNet', 'COCO, AP@30'."""
        short = cell.row.partition("(")[0].strip()
        return short if cell.row in self.facts["models"] else f"{short}, {cell.metric}"

    def check(self, name: str) -> None:
        """Raises UserError for an id that no layer knows."""
        with suppress(OtherLayerError):
            self.lookup(name)

    def where(self, name: str) -> str:
        """Where a reader finds the number."""
        cell = self.cells.get(name.removeprefix(PRINTED))
        if cell is not None:
            return f"{cell.reference}: {cell.row}, {cell.column}"
        if name in self.outside:
            return f"{self.outside[name].what} ({self.outside[name].source})"
        if name.startswith("paper."):
            return "the paper's text: " + name.removeprefix("paper.").replace("_", " ").replace(".", ", ")
        return "how many the paper lists" if name.startswith("count.") else "counted or measured by this program"


def _mark(cell: PaperCell) -> Mark | None:
    known: Mapping[str | None, Mark] = {"bold": "bold", "underline": "underline", "none": "none"}
    return known.get(cell.mark_image)


def _fact(facts: Mapping[str, Any], name: str, prefix: str) -> float:
    """paper.training.lam.chosen: the number at that path; count.tables.table1.columns: how many entries it has."""
    found: Any = facts
    for key in name.removeprefix(prefix).split("."):
        if isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, dict) and key in found:
            found = found[key]
        else:
            keys = found if isinstance(found, dict) else range(len(found)) if isinstance(found, list) else ()
            raise unknown("key", key, [str(key) for key in keys], f"operand {name}")
    if prefix == "count." and isinstance(found, (list, dict)):
        return float(len(found))
    if prefix == "count." or isinstance(found, bool) or not isinstance(found, (int, float)):
        raise UserError(f"operand {name}: paper.yaml has {found!r} there, which is no {prefix.removesuffix('.')} of it")
    return float(found)


def _is_known(pattern: re.Pattern[str], name: str) -> bool:
    match = pattern.fullmatch(name)
    if match and match["model"] not in (*REGISTRY, *DETECTORS):
        raise unknown("model", match["model"], REGISTRY, f"operand {name}")
    return match is not None
