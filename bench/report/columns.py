"""The columns of a comparison of networks, and the rule for when the paper's numbers may stand beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.paper.numbers import paper
from bench.record import Record
from bench.report.grouping import SectionKey, Split
from bench.report.marks import Better
from bench.report.table import Column
from bench.settings import OFFICIAL_IMAGES, WHOLE, profile_named
from bench.spec import Suite, size_text
from models.categories import Task
from models.registry import REGISTRY

SCORES: Mapping[Task, tuple[str, ...]] = {"semantic": ("mIoU",), "instance": ("AP",), "panoptic": ("mIoU", "PQ", "AP")}
COSTS = ("FLOPs", "Params")
LABELS = {"coco": "COCO", "ade20k": "ADE20K", "cityscapes": "Cityscapes"}
INPUT_UNSTATED = "paper (input size not stated)"


@dataclass(frozen=True)
class Form:
    """How a metric is counted and printed."""

    unit: str
    better: Better
    digits: int
    paper_digits: int


SCORE = Form("%", "higher", 1, 1)
FORMS: Mapping[str, Form] = {"FLOPs": Form("G", "lower", 2, 0), "Params": Form("M", "lower", 1, 0)}


def dataset_label(dataset: str) -> str:
    return LABELS.get(dataset, dataset)


def may_stand_beside(suite: Suite, key: SectionKey, split: Split, records: Iterable[Record]) -> bool:
    """Whether these runs may be set beside the paper's numbers: a profile that allows it, the paper's size, a dataset
    the paper has, trained and evaluated on all of it for as long as the profile says.
    """
    tables = paper().tables
    if suite.exhibit is None or suite.exhibit not in tables or not profile_named(key.profile).reproduction:
        return False
    sizes = {cell.resolution for cell in tables[suite.exhibit].cells if cell.dataset == split.dataset}
    done = [(r.spec, r.metrics) for r in records if r.metrics]
    epochs = {spec.recipe.epochs for spec, _ in done if not REGISTRY[spec.model].is_floor}
    seen = {(m.train_images, m.final.images) for _, m in done}
    whole = seen == {OFFICIAL_IMAGES.get(split.dataset)} and all(spec.budget == WHOLE for spec, _ in done)
    return key.size in sizes and whole and epochs <= {profile_named(key.profile).epochs}


def section_columns(suite: Suite, key: SectionKey, found: Mapping[Split, Sequence[Record]]) -> tuple[Column, ...]:
    """Costs first, then one group a split. `found` maps each split to the runs of the networks' first settings."""
    scores: list[Column] = []
    for split, records in found.items():
        beside = may_stand_beside(suite, key, split, records)
        scores += [_score_column(split, metric, records, beside) for metric in SCORES[suite.task]]
    reference = next(iter(found))  # heads grow with the number of categories, so one dataset is the reference
    costs = _cost_columns(key, reference, any(column.beside for column in scores))
    return (*costs, *scores)


def printed_column(dataset: str | None, metric: str) -> Column:
    """A column of the paper's own table."""
    group = dataset_label(dataset) if dataset else "Cost, input size not stated"
    return replace(_column(group, metric), key=f"paper.{dataset or 'cost'}.{metric}", dataset=dataset, printed=True)


def _score_column(split: Split, metric: str, records: Sequence[Record], beside: bool) -> Column:
    counts = sorted({record.metrics.final.images for record in records if record.metrics})
    images = " or ".join(str(count) for count in counts)
    group = f"{dataset_label(split.dataset)}, {images} images, split {split.short}"
    return replace(_column(group, metric, split), beside=beside, difference=beside)


def _cost_columns(key: SectionKey, reference: Split, beside: bool) -> tuple[Column, Column]:
    group = f"Cost at {size_text(key.size)}, categories of {dataset_label(reference.dataset)}"
    flops = replace(_column(group, "FLOPs", reference), beside=beside, paper_title=INPUT_UNSTATED)
    params = replace(_column(group, "Params", reference), beside=beside, difference=beside)
    return flops, params


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
