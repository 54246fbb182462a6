"""Layer 2: parameters, FLOPs and memory as this program counts them, every network at one input size.

The text determines DETR and Mask2Former: their printed costs give way to counts. It determines neither the proposed
network nor which U-Net it is compared with: their printed costs stay, so that the paper is not judged by our reading.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.audit.claims import Statement
from bench.audit.operands import COST, PRINTED, OtherLayerError, Printed
from bench.audit.operations import sentence
from bench.audit.quantity import Quantity, constant
from bench.audit.ruling import LackingError, Ruling
from bench.measure.cost_records import CostRecord, cost_of

COMMON_SIZE = "128x128"  # of the paper's tables; it states none for its FLOPs
ROUNDING = 0.5  # the paper prints G and M as whole numbers
DETERMINED = ("detr-r50", "detr-r101", "mask2former-r50", "mask2former-r101")
METRICS = {"FLOPs": "flops", "Params": "params"}
COMMAND = "python -m bench cost --all"


def judge(statement: Statement, printed: Printed, records: Sequence[CostRecord]) -> Ruling | None:
    """None for a statement with nothing to count. A printed cost of a network that the text determines is replaced by
    what that network is counted at.
    """
    test = statement.cost or statement
    if not any(_counted(name, printed) for name in test.names):
        return None
    try:
        comparisons = test.comparisons(
            lambda name: _lookup(name, printed, records), 0.0 if statement.cost else _slack(test.names)
        )
    except OtherLayerError:
        return None
    except LackingError as lacking:
        return lacking.ruling("cost")
    holds = all(one.holds for one in comparisons)
    note = f" ({statement.cost.note})" if statement.cost and statement.cost.note else ""
    how = _how(test.names, printed)
    return Ruling(layer="cost", verdict="holds" if holds else "fails", evidence=how + sentence(comparisons) + note)


def _how(names: Sequence[str], printed: Printed) -> str:
    """'counted at 128x128 (as printed: MaskAttn-UNet): ': whose numbers the evidence has."""
    size = f" at {COMMON_SIZE}" if any(name in printed.cells and _counted(name, printed) for name in names) else ""
    kept = [printed.cells[n.removeprefix(PRINTED)] for n in names if _is_kept(n, printed)]
    rows = ", ".join(dict.fromkeys(printed.label(cell) for cell in kept))
    return f"counted{size} (as printed: {rows}): " if rows else f"counted{size}: "


def _is_kept(name: str, printed: Printed) -> bool:
    return name.removeprefix(PRINTED) in printed.cells and not _counted(name, printed)


def _slack(names: Sequence[str]) -> float:
    """A claim that names counts itself gives its own tolerance."""
    return 0.0 if any(COST.fullmatch(name) for name in names) else ROUNDING


def _counted(name: str, printed: Printed) -> bool:
    cell = printed.cells.get(name)
    if cell is None:
        return COST.fullmatch(name) is not None
    return cell.metric in METRICS and cell.model in DETERMINED


def _lookup(name: str, printed: Printed, records: Sequence[CostRecord]) -> Quantity:
    if match := COST.fullmatch(name):
        return _count(match["model"], match["size"], match["what"], match["model"], records)
    cell = printed.cells.get(name)
    if cell is None:
        return printed.lookup(name)
    if cell.metric not in METRICS:
        raise OtherLayerError(name)
    if cell.model not in DETERMINED:
        return printed.lookup(name)
    return _count(cell.model, COMMON_SIZE, METRICS[cell.metric], printed.label(cell), records)


def _count(model: str, size: str, what: str, name: str, records: Sequence[CostRecord]) -> Quantity:
    """Raises LackingError where there is no record, or no number in it."""
    record = cost_of(records, model, size)
    if record is None:
        raise LackingError("not run", f"{model} is not counted at {size} yet", COMMAND)
    value, unit, scale = {
        "flops": (record.flops, "G", 1e9),
        "params": (record.parameters, "M", 1e6),
        "memory": (record.peak_memory_bytes, "MiB", 2.0**20),
    }[what]
    if value is None:
        raise LackingError("undefined", f"{model} at {size} has no {what}: {record.reason or 'not counted'}")
    return constant(value / scale, unit, name)
