"""The category tables of the three datasets: 80 things and 53 stuff, 100 and 50, 8 and 11. Imports no torch.

Each is a file in `categories/`, which names its source. Ids are the dataset's own: COCO's category ids, ADE20K's label
values 1 .. 150, Cityscapes' label ids. Colours are for looking at; no id is ever read from one.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from models.categories import Categories

FOLDER = Path(__file__).parent / "categories"


@cache
def table(name: str) -> Categories:
    """The categories of "coco", "ade20k" or "cityscapes", sorted by id."""
    return Categories.from_json(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["categories"])
