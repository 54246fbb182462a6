"""The paper's printed numbers, read from paper.yaml and validated. No torch.

A cell is found by (table, registered network, dataset, metric), or by the id that the claims use (`t4.unet.coco.miou`;
`fig3.10.pq` is a point of Figure 3).
"""

from __future__ import annotations

from collections import Counter
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


def paper_value(table: str, model: str, dataset: str | None, metric: str) -> PaperCell | None:
    """The printed cell, or None where the paper prints none.

    `model` is a registered name (`maskattn-unet`), `dataset` is None for FLOPs and Params, `metric` is one of
    mIoU, PQ, AP, FLOPs, Params. Raises UserError for a table the paper does not have.

    >>> paper_value("table4", "maskattn-unet", "coco", "mIoU").value
    45.3
    """
    paper().table(table)
    return _index().get((table, model, dataset, metric))


@cache
def _index() -> dict[tuple[str, str | None, str | None, str], PaperCell]:
    """Cells that four names decide. Table 8 prints one metric at three sizes, so its cells are found by id only."""
    cells = [cell for table in paper().tables.values() for cell in table.cells if cell.model]
    keys = [(cell.table, cell.model, cell.dataset, cell.metric) for cell in cells]
    count = Counter(keys)
    return {key: cell for key, cell in zip(keys, cells, strict=True) if count[key] == 1}


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
