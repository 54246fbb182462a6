"""The measured side of an operand: which run's which score stands for a printed number."""

from __future__ import annotations

from dataclasses import dataclass

from bench.audit.operands import MEASURED, OtherLayerError, Printed
from bench.audit.ruling import LackingError
from bench.audit.runs import Wanted, network
from bench.paper.numbers import PaperCell
from bench.record import Record
from bench.spec import parse_size
from models.registry import REGISTRY

FIELDS = {"mIoU": "miou", "PQ": "pq", "AP": "ap"}  # printed name -> field of a record's scores
BY_THE_TEXT = "paper-text.ap_iou"  # AP@k with k an IoU threshold, as Table 2's caption says
NO_SCORE = ("cost", None)  # tasks of printed numbers that no evaluation yields


@dataclass(frozen=True)
class Score:
    """`metric` is a field of `bench.store.Scores`, or protocol.key of `bench.protocols`; `exhibit` where the paper
    prints it ('' where it does not).
    """

    wanted: Wanted
    metric: str
    exhibit: str

    def of(self, record: Record) -> float | None:
        """In percent; None where the record has no such number."""
        if record.metrics is None:
            return None
        protocol, _, key = self.metric.rpartition(".")
        numbers = (record.metrics.protocols or {}).get(protocol, {}) if protocol else vars(record.metrics.final)
        value = numbers.get(key)
        return None if value is None else 100 * float(value)


def is_score(name: str, printed: Printed) -> bool:
    """Whether the measured layer puts another value in the operand's place."""
    cell = printed.cells.get(name)
    return MEASURED.fullmatch(name) is not None if cell is None else cell.task not in NO_SCORE


def score_of(name: str, printed: Printed) -> Score:
    """Raises LackingError for a score that the paper leaves open or that this program does not measure."""
    if match := MEASURED.fullmatch(name):
        key, _, value = (match["options"] or "").partition("=")
        label = match["model"] + (f" [{match['options']}]" if key else "")
        made = network(match["model"], {key: value} if key else {})
        place = match["dataset"], parse_size(match["size"]), match["task"]
        return Score(Wanted(match["model"], label, made, *place, 100), match["metric"], "")
    cell = printed.cells.get(name)
    if cell is None:
        raise OtherLayerError(name)
    return _of_cell(cell)


def _of_cell(cell: PaperCell) -> Score:
    metric = FIELDS.get(cell.metric) or cell.metric.replace("AP@", BY_THE_TEXT)
    if metric == cell.metric:
        raise LackingError("not run", f"this program does not measure {cell.metric} exponents of feature maps yet")
    if cell.dataset is None or cell.resolution is None:
        raise LackingError("undefined", f"the dataset of {cell.reference.partition(',')[0]} is not named")
    if cell.model is None or cell.task is None:
        raise OtherLayerError(cell.id)
    made = network(cell.model, {})
    place = cell.dataset, cell.resolution, cell.task, cell.train_percent
    return Score(Wanted(cell.model, REGISTRY[cell.model].label, made, *place), metric, cell.table)
