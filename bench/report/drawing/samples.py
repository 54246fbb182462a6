"""The sample pictures of finished runs, read back, and which of them may be shown to everyone."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.evaluate.samples import CLASSES, LONGEST, Color
from bench.files import read_bytes
from bench.record import Record

PUBLIC = ("scenes",)  # drawn by the program itself; other datasets' images are not ours to pass on (.gitignore)
NAME = re.compile(r"(\d+)(?:-(.+))?\.png")  # older runs' names have no id


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture of a run. Panels are (H, W, 3); `classes`: what truth and prediction show, empty in older ones."""

    number: int  # of the image in its split
    id: str | None
    file: str  # under results/
    sha256: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    classes: Mapping[str, Color]

    @property
    def name(self) -> str:
        return self.id or f"image {self.number}"


def is_public(dataset: str) -> bool:
    """Whether a page that others get may hold its images."""
    return dataset in PUBLIC


def read_samples(record: Record) -> tuple[list[Sample], list[str]]:
    """The run's pictures in order, and in words what is wrong with those that cannot be read."""
    samples, faults = [], []
    for path in sorted((record.folder / "samples").glob("*.png")):
        named = NAME.fullmatch(path.name)
        if named is None:
            continue
        try:
            samples.append(_read(path, int(named[1]), named[2]))
        except (OSError, ValueError, SyntaxError) as error:  # PIL says SyntaxError of a broken PNG
            faults.append(f"{_file(path)} cannot be read ({' '.join(str(error).split())})")
    return sorted(samples, key=lambda sample: sample.number), faults


def _read(path: Path, number: int, id: str | None) -> Sample:
    content = read_bytes(path)
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        width, height = picture.size
        if width % 3 or height > LONGEST or width > 3 * LONGEST:
            raise ValueError(f"{width} x {height} pixels are not three panels of at most {LONGEST}")
        pixels = np.asarray(picture.convert("RGB"))
        classes = _classes(str(picture.info.get(CLASSES, "[]")))
    image, truth, prediction = np.split(pixels, 3, axis=1)
    return Sample(number, id, _file(path), hashlib.sha256(content).hexdigest(), image, truth, prediction, classes)


def _classes(text: str) -> dict[str, Color]:
    found: dict[str, Color] = {}
    try:
        for name, (red, green, blue) in json.loads(text):
            found[str(name)] = (int(red), int(green), int(blue))
    except (TypeError, ValueError):
        raise ValueError("its list of classes is none") from None
    return found


def _file(path: Path) -> str:
    return "/".join(path.parts[-3:])
