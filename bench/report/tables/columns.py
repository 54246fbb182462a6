"""The columns of a comparison of networks, and the rule for when the paper's numbers may stand beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.paper.numbers import cells_of, read_as
from bench.protocols import AP_AT_K, AT
from bench.record import Record
from bench.report.tables.grouping import SectionKey, Split
from bench.report.tables.marks import Better
from bench.report.tables.table import Column
from bench.settings import OFFICIAL_IMAGES, WHOLE, epochs_of, profile_named
from bench.spec import Suite, size_text
from models.categories import Task
from models.registry import REGISTRY

SCORES: Mapping[Task, tuple[str, ...]] = {"semantic": ("mIoU",), "instance": ("AP",), "panoptic": ("mIoU", "PQ", "AP")}
COSTS = ("FLOPs", "Params")
LABELS = {"coco": "COCO", "ade20k": "ADE20K", "cityscapes": "Cityscapes"}
AP_AT = "table2"  # the exhibit with AP@k
INPUT_UNSTATED = "paper (input size not stated)"


@dataclass(frozen=True)
class Form:
    """How a metric is counted and printed."""

    unit: str
    better: Better
    digits: int
    paper_digits: int


SCORE = Form("%", "higher", 1, 1)
FORMS: Mapping[str, Form] = {
    "FLOPs": Form("G", "lower", 2, 0),
    "Params": Form("M", "lower", 1, 0),
    "Hurst": Form("1", "higher", 3, 3),
    "DFA": Form("1", "higher", 3, 3),
}


def dataset_label(dataset: str) -> str:
    return LABELS.get(dataset, dataset)


def may_stand_beside(suite: Suite, key: SectionKey, split: Split, records: Iterable[Record]) -> bool:
    """Whether these runs may be set beside the paper's numbers: a profile that allows it, the paper's size, a dataset
    the paper has, trained and evaluated on all of it (of Figure 3, on its part) for as long as the profile says.
    """
    if not profile_named(key.profile).reproduction or split.dataset not in OFFICIAL_IMAGES:
        return False
    printed = [read_as(cell) for cell in cells_of(suite.exhibit or "")]
    sizes = {size for dataset, size in printed if dataset == split.dataset}
    done = [(r.spec, r.metrics) for r in records if r.metrics]
    epochs = {spec.recipe.epochs for spec, _ in done if not REGISTRY[spec.model].is_floor}
    seen = {(m.train_images, m.final.images) for _, m in done}
    train, val = OFFICIAL_IMAGES[split.dataset]
    part = WHOLE.model_copy(update={"train_percent": key.percent})
    whole = seen == {(train * key.percent // 100, val)} and all(spec.budget == part for spec, _ in done)
    return key.size in sizes and whole and epochs <= {epochs_of(suite, profile_named(key.profile))}


def metrics_of(suite: Suite) -> tuple[str, ...]:
    """What its networks are scored by, in the paper's order where it prints these."""
    order = list(dict.fromkeys(cell.metric for cell in cells_of(suite.exhibit or "")))
    return tuple(sorted(SCORES[suite.task], key=lambda metric: order.index(metric) if metric in order else len(order)))


def section_columns(suite: Suite, key: SectionKey, found: Mapping[Split, Sequence[Record]]) -> tuple[Column, ...]:
    """Costs first, then one group a split. `found` maps each split to the runs of the networks' first settings."""
    scores: list[Column] = []
    for split, records in found.items():
        beside = may_stand_beside(suite, key, split, records)
        scores += [_score_column(suite, key, split, metric, records, beside) for metric in metrics_of(suite)]
        if suite.exhibit == AP_AT:
            scores += _at_k(scores[-1], beside)
    reference = next(iter(found))  # heads grow with the number of categories, so one dataset is the reference
    priced = any(cell.metric in COSTS for cell in cells_of(suite.exhibit or ""))
    costs = _cost_columns(key, reference, priced and any(column.beside for column in scores))
    return (*costs, *scores)


def _at_k(standard: Column, beside: bool) -> list[Column]:
    """AP@k in both readings, beside the AP of all other tables; the paper's one number stands beside either."""
    return [
        replace(
            standard,
            key=f"{standard.key}@{k}.{reading}",
            group=f"{standard.group}: {words} ({reading})",
            metric=f"AP@{k}",
            reading=reading,
            beside=beside,
            difference=beside,
        )
        for reading, (_, words) in AP_AT_K.items()
        for k in AT
    ]


def printed_column(dataset: str | None, metric: str) -> Column:
    """A column of the paper's own table."""
    group = dataset_label(dataset) if dataset else "Cost, input size not stated"
    return replace(_column(group, metric), key=f"paper.{dataset or 'cost'}.{metric}", dataset=dataset, printed=True)


def _score_column(
    suite: Suite, key: SectionKey, split: Split, metric: str, records: Sequence[Record], beside: bool
) -> Column:
    counts = sorted({record.metrics.final.images for record in records if record.metrics})
    images = " or ".join(str(count) for count in counts)
    group = f"{dataset_label(split.dataset)}, {images} images, split {split.short}"
    due = beside and any(cell.metric == metric for cell in cells_of(suite.exhibit or ""))
    return replace(_column(group, metric, split), size=size_text(key.size), beside=due, difference=due)


def _cost_columns(key: SectionKey, reference: Split, beside: bool) -> tuple[Column, Column]:
    group = f"Cost at {size_text(key.size)}, categories of {dataset_label(reference.dataset)}"
    flops, params = (
        replace(_column(group, name, reference), size=size_text(key.size), beside=beside) for name in COSTS
    )
    return replace(flops, paper_title=INPUT_UNSTATED), replace(params, difference=beside)


def _column(group: str, metric: str, split: Split | None = None) -> Column:
    form = FORMS.get(metric, SCORE)
    return Column(
        key=f"{split.dataset}.{split.short}.{metric}" if split else metric,
        group=group,
        metric=metric,
        unit=form.unit,
        better=form.better,
        digits=form.digits,
        paper_digits=form.paper_digits,
        dataset=split.dataset if split else None,
        split=split.short if split else None,
    )
