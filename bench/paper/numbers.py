"""The paper's printed numbers, read from paper.yaml and validated. No torch.

A cell is found by (table, registered network, dataset, metric), or by the id that the claims use (`t4.unet.coco.miou`;
`fig3.10.pq` is a point of Figure 3).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import UserError, unknown
from bench.spec import invalid

PAPER_YAML = Path(__file__).with_name("paper.yaml")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads the file in 30 ms, the other in 400

POINTS = "figure3"  # the only figure with numbers in the text
UNNAMED, UNNAMED_DATASET = "table8", "coco"

T = TypeVar("T", bound=BaseModel)
PrintedMark = Literal["bold", "underline", "none", "none_visible"]


class PaperCell(BaseModel):
    """One printed number, in the unit it is printed in (45.3 with '%', 11 with 'G')."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    id: str
    table: str
    row: str
    column: str
    model: str | None = Field(None, description="the registered network this row stands for")
    dataset: str | None
    split: str | None
    task: str | None = Field(None, description="semantic, instance, panoptic; cost or analysis for what is no score")
    metric: str
    unit: str
    value: float
    resolution: tuple[int, int] | None = Field(description="height x width; None where the paper does not say")
    train_percent: int = Field(100, description="of the training split")
    mark_text: PrintedMark | None = Field(None, description="the mark in the paper's text, where bold was lost")
    mark_image: PrintedMark | None = Field(None, description="the mark in the picture of the table")
    reference: str = Field("", description="where in the paper, for a reader")


class PaperTable(BaseModel):
    """One table of the paper. `lines` and `caption_line` are lines of the text named by paper.yaml's source."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    section: str | None = None
    caption_line: int | None = None
    lines: tuple[int, ...]
    caption_substance: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[PaperCell, ...]

    @property
    def number(self) -> str:
        return self.name.removeprefix("table")


class Paper(BaseModel):
    """What of the paper the program reads; the rest of paper.yaml is for readers and for the checks."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    arxiv: str
    text_file: str
    text_sha256: str
    models: Mapping[str, str]
    tables: Mapping[str, PaperTable]
    points: tuple[PaperCell, ...] = Field(description="of Figure 3, a share of the training data each")

    @property
    def cells(self) -> dict[str, PaperCell]:
        """Every printed number by its id. Raises UserError for an id that two have."""
        cells = [*(cell for table in self.tables.values() for cell in table.cells), *self.points]
        twice = [name for name, count in Counter(cell.id for cell in cells).items() if count > 1]
        if twice:
            raise UserError(f"paper.yaml: two cells have the id {twice[0]}; ids are unique")
        return {cell.id: cell for cell in cells}

    def table(self, name: str) -> PaperTable:
        """Raises UserError with 'did you mean' for a table the paper does not have."""
        if name not in self.tables:
            raise unknown("table", name, self.tables, "the paper")
        return self.tables[name]


@cache
def content(path: Path = PAPER_YAML) -> Mapping[str, Any]:
    """The whole file as plain data. Raises UserError where it cannot be read."""
    try:
        return dict(yaml.load(path.read_bytes(), Loader=LOADER))
    except (yaml.YAMLError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


@cache
def paper(path: Path = PAPER_YAML) -> Paper:
    """The paper's numbers, read once. Raises UserError where paper.yaml does not fit."""
    given = content(path)
    try:
        models = given["models"]
        tables = {name: _table(name, table, models) for name, table in given["tables"].items()}
        source = {key: given["source"][key] for key in ("title", "arxiv", "text_file", "text_sha256")}
        points = _points(given["figures"]["figure3"])
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise UserError(f"{path} is not the paper's numbers ({type(error).__name__}: {error})") from None
    return _validated(Paper, {**source, "models": models, "tables": tables, "points": points}, "paper.yaml")


def paper_value(
    exhibit: str,
    model: str,
    dataset: str | None,
    metric: str,
    size: tuple[int, int] | None = None,
    percent: int = 100,
) -> PaperCell | None:
    """The printed number, or None where the paper prints none.

    `exhibit` is a table or figure3, `model` a registered name (`maskattn-unet`), `dataset` is None for FLOPs and
    Params, `metric` one of mIoU, PQ, AP, FLOPs, Params, AP@30 …, `percent` of the training data. Table 8 prints one
    metric at three sizes (height x width, as `read_as` has them); elsewhere `size` need not be given. Raises
    UserError for a table the paper does not have.

    >>> paper_value("table4", "maskattn-unet", "coco", "mIoU").value
    45.3
    >>> paper_value("table8", "maskattn-unet", "coco", "mIoU", size=(48, 64)).value
    17.1
    """
    if exhibit != POINTS:
        paper().table(exhibit)
    found = _index().get((exhibit, model, dataset, metric, percent), {})
    return found.get(size) if size else next(iter(found.values())) if len(found) == 1 else None


def cells_of(exhibit: str) -> tuple[PaperCell, ...]:
    """The printed numbers of a table or of Figure 3; none of an exhibit that has none."""
    table = paper().tables.get(exhibit)
    return paper().points if exhibit == POINTS else table.cells if table else ()


def read_as(cell: PaperCell) -> tuple[str | None, tuple[int, int] | None]:
    """(dataset, (height, width)) of a score; our reading of Table 8, which names no dataset and no order of its sides:
    its numbers fit those of Table 4 on COCO and no other, and 64 x 48 is width x height.
    """
    if cell.table != UNNAMED or cell.resolution is None:
        return cell.dataset, cell.resolution
    width, height = cell.resolution
    return UNNAMED_DATASET, (height, width)


Key = tuple[str, str, str | None, str, int]  # exhibit, model, dataset, metric, percent


@cache
def _index() -> Mapping[Key, Mapping[tuple[int, int] | None, PaperCell]]:
    """Key -> size -> cell, of the cells that these decide; Table 9 prints one network's modules as its rows."""
    cells = [(_key(exhibit, cell), cell) for exhibit in (*paper().tables, POINTS) for cell in cells_of(exhibit)]
    count = Counter(key for key, _ in cells)
    index: dict[Key, dict[tuple[int, int] | None, PaperCell]] = defaultdict(dict)
    for ((exhibit, model, dataset, metric, percent), size), cell in ((key, c) for key, c in cells if count[key] == 1):
        if model:
            index[exhibit, model, dataset, metric, percent][size] = cell
    return index


def _key(exhibit: str, cell: PaperCell) -> tuple[tuple[str, str | None, str | None, str, int], tuple[int, int] | None]:
    dataset, size = read_as(cell)
    return (exhibit, cell.model, dataset, cell.metric, cell.train_percent), size


def _table(name: str, content: Mapping[str, Any], models: Mapping[str, str]) -> PaperTable:
    reference = f"Table {name.removeprefix('table')}, line {content.get('caption_line', content['lines'][-1])}"
    ours = {"reference": reference, "model": content.get("model")}  # of a table whose rows are no networks
    cells = [
        _validated(PaperCell, {**ours, **cell, "model": models.get(cell["row"], ours["model"])}, f"paper.yaml: {name}")
        for cell in content["cells"]
    ]
    return _validated(PaperTable, {**content, "name": name, "cells": cells}, f"paper.yaml: {name}")


def _points(figure: Mapping[str, Any]) -> list[PaperCell]:
    shared = {key: figure[key] for key in ("model", "dataset", "split", "task", "resolution")}
    shared |= {"table": "figure3", "unit": "%", "reference": f"Figure 3, line {figure['lines'][-1]}"}
    return [
        _validated(PaperCell, {**shared, **_point(point["fraction"], metric, point[metric])}, "paper.yaml: figure3")
        for point in figure["data"]
        for metric in figure["series"]
    ]


def _point(percent: int, metric: str, value: float) -> dict[str, Any]:
    named = {"id": f"fig3.{percent}.{metric.lower()}", "row": f"{percent} % of the data", "column": metric}
    return {**named, "metric": metric, "value": value, "train_percent": percent}


def _validated(model: type[T], content: Mapping[str, Any], where: str) -> T:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise invalid(error, where, model) from None
