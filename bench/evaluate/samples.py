"""The pictures that a run keeps of the first images of its split: image | truth | prediction. Imports no torch.

Semantic: a colour a category. Instance and panoptic: the same, and things of one category in shades of its colour, so
that neighbours differ. Void is black.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.data.resize import resize_labels
from models.categories import Categories, PredictedSegment, Segment, Task

SAMPLES = 4  # pictures a run keeps
LONGEST = 320  # pixels of a panel's longer side: a record goes into git
VOID, VOID_COLOR = "void", (0, 0, 0)
CLASSES = "classes"  # the PNG's text: [[name, [r, g, b]], ...] of what truth and prediction show
SHADES = (0.0, 0.45, -0.35, 0.7, -0.55, 0.25)  # of a colour: the way to white, or (negative) to black

Color = tuple[int, int, int]
Table = Mapping[int, Segment] | Mapping[int, PredictedSegment]
Map = tuple[NDArray[Any], Table]  # (H, W) segment ids, 0 = void, with their table


def draw_sample(
    folder: Path, index: int, id: str, categories: Categories, task: Task, image: NDArray[np.uint8], *maps: Map
) -> None:
    """Writes the picture of the split's image `index`, named after its id, into `folder`.

    image: (H, W, 3) RGB; maps: truth and prediction. Panels stand side by side, shrunk where they are larger than
    LONGEST.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    size = (height, width) if longest <= LONGEST else (height * LONGEST // longest, width * LONGEST // longest)
    picture = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    small = [(resize_labels(ids, size), table) for ids, table in maps]
    painted = [_paint(ids, _colors(ids, table, categories, task)) for ids, table in small]
    text = PngInfo()
    text.add_text(CLASSES, json.dumps(_classes(small, categories)))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([picture, *painted], axis=1)).save(folder / _file_name(index, id), pnginfo=text)


def _file_name(index: int, id: str) -> str:
    """'0-val-000000.png'; what no file name should hold is an underscore."""
    return f"{index}-{re.sub(r'[^A-Za-z0-9._-]', '_', id)}.png"


def _paint(ids: NDArray[Any], colors: Mapping[int, Color]) -> NDArray[np.uint8]:
    """(H, W) segment ids -> (H, W, 3)."""
    palette = np.full((max(colors, default=0) + 1, 3), VOID_COLOR, dtype=np.uint8)
    for number, color in colors.items():
        palette[number] = color
    painted: NDArray[np.uint8] = palette[ids]
    return painted


def _colors(ids: NDArray[Any], table: Table, categories: Categories, task: Task) -> dict[int, Color]:
    """The colour of each segment."""
    kinds = {number: categories.entries[table[number].category] for number in sorted(table)}
    things = {number: kind.id for number, kind in kinds.items() if kind.isthing and task != "semantic"}
    shades = _shades(things, _touching(ids))
    return {number: _shaded(kind.color, shades.get(number, 0)) for number, kind in kinds.items()}


def _shades(things: Mapping[int, int], touching: Mapping[int, set[int]]) -> dict[int, int]:
    """Thing -> its place in SHADES, by its place among its category's; two that touch differ, as long as a thing
    touches fewer of its category than there are shades.
    """
    found: dict[int, int] = {}
    count: Counter[int] = Counter()
    for number, category in things.items():
        first = count[category]
        count[category] += 1
        taken = {found[other] for other in touching.get(number, ()) if things.get(other) == category and other in found}
        order = [(first + step) % len(SHADES) for step in range(len(SHADES))]
        found[number] = next((shade for shade in order if shade not in taken), order[0])
    return found


def _touching(ids: NDArray[Any]) -> Mapping[int, set[int]]:
    """Segment -> the segments beside, above and below it."""
    found: dict[int, set[int]] = defaultdict(set)
    for one, other in ((ids[:, 1:], ids[:, :-1]), (ids[1:], ids[:-1])):
        for a, b in np.unique(np.stack([one, other], axis=-1)[one != other], axis=0).tolist():
            found[a].add(b)
            found[b].add(a)
    return found


def _shaded(color: Color, shade: int) -> Color:
    way = SHADES[shade]
    end = 255 if way > 0 else 0
    red, green, blue = (round(part + abs(way) * (end - part)) for part in color)
    return red, green, blue


def _classes(maps: list[Map], categories: Categories) -> list[tuple[str, Color]]:
    """What the maps show, in the order of the categories, void last."""
    shown = set(_shown(maps))
    known = [(entry.name, entry.color) for n, entry in enumerate(categories.entries) if n in shown]
    return known + [(VOID, VOID_COLOR)] * (None in shown)


def _shown(maps: list[Map]) -> Iterator[int | None]:
    """The category of each segment that has a pixel; None: void."""
    for ids, table in maps:
        for number in np.unique(ids).tolist():
            yield table[number].category if number in table else None
