"""A draft's chunks -> the arrays, tables, hashes and manifest of a prepared folder. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from bench.data import tables
from bench.data.chunks import COUNTED, Chunk, read_chunk, read_names
from bench.data.resize import RULE
from bench.data.shares import PERCENTS, share_ids
from bench.data.source import Source
from bench.data.tables import INSTANCE_COLUMNS, SEGMENT_COLUMNS, Rows, TruthHash
from bench.data.writing import SKIP_HINT
from bench.errors import UserError
from models.categories import Categories

FORMAT = 2  # goes up whenever the meaning of a prepared file or of a draft changes
MANIFEST, IMAGES, SEGMENTS = "manifest.json", "images.npy", "segments.npy"
SEGMENT_TABLE, INSTANCE_TABLE = "segments.parquet", "instances.parquet"
OWN_INSTANCES, THING_SEGMENTS = "instances", "panoptic things"  # what serves as instance truth
GROUP = 64  # chunks a row group of the tables


class Skipped(NamedTuple):
    """An image that was left out; None where the fault's image is not known."""

    image: str | None
    reason: str


def assemble(
    source: Source,
    split: str,
    size: tuple[int, int],
    files: Sequence[Path],
    bad: Sequence[Skipped],
    skip_bad: bool,
    folder: Path,
) -> bool:
    """Makes the prepared `folder` of a split from its chunk `files`, anew if it is there. Returns whether images are
    left out; `bad` are those that the listing leaves out already.

    Memory stays bounded: one chunk, and the rows of GROUP. Raises UserError where images are bad, unless `skip_bad`.
    """
    ids, refused = _names(files)
    skipped = [*bad, *refused]
    if skipped and not skip_bad:
        raise UserError(f"{skipped[0].reason}{SKIP_HINT}")
    if not ids:
        raise UserError(f"{source.name} {split}: none of its {len(skipped)} images can be read: {skipped[0].reason}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    own = source.has_instances(split)
    manifest = {
        "format": FORMAT,
        "dataset": source.name,
        "split": split,
        "size": list(size),
        "categories": source.categories.to_json(),
        "ids": ids,
        "skipped": [one._asdict() for one in skipped],
        **_write(files, ids, size, source.categories, own, folder),
        "form": source.form,
        "fingerprint": source.fingerprint(split),
        "resize": RULE,
        "instance_truth": OWN_INSTANCES if own else THING_SEGMENTS,
        "versions": {"numpy": np.__version__, "pillow": PIL.__version__},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return bool(skipped)


def _names(files: Sequence[Path]) -> tuple[list[str], list[Skipped]]:
    ids: list[str] = []
    bad: list[Skipped] = []
    for file in files:
        kept, reasons = read_names(file)
        ids += kept
        bad += [Skipped(id, reason) for id, reason in reasons.items()]
    return ids, bad


def _write(
    files: Sequence[Path], ids: list[str], size: tuple[int, int], categories: Categories, own: bool, folder: Path
) -> dict[str, Any]:
    """Arrays and tables; `own`: whether there is an instance table. Returns hashes, fractions and counts of them."""
    with ExitStack() as stack:
        segments = stack.enter_context(tables.writer(folder / SEGMENT_TABLE, SEGMENT_COLUMNS))
        instances = stack.enter_context(tables.writer(folder / INSTANCE_TABLE, INSTANCE_COLUMNS)) if own else None
        arrays = stack.enter_context(_Arrays(ids, size, categories, folder))
        for start in range(0, len(files), GROUP):
            rows = [arrays.add(read_chunk(file)) for file in files[start : start + GROUP]]
            segments(tables.join((chunk[0] for chunk in rows), len(SEGMENT_COLUMNS)))
            if instances is not None:
                instances(tables.join((chunk[1] for chunk in rows), len(INSTANCE_COLUMNS)))
    for share in arrays.shares:
        share.table(folder / SEGMENT_TABLE, SEGMENT_COLUMNS)
        share.table(folder / INSTANCE_TABLE if own else None, INSTANCE_COLUMNS)
    fractions = {str(percent): share.to_json() for percent, share in zip(PERCENTS, arrays.shares, strict=True)}
    return {
        "ids_sha256": fractions["100"]["ids_sha256"],
        "split_hash": fractions["100"]["split_hash"],
        "pixel_hash": arrays.pixels.hexdigest(),
        "fractions": fractions,
        **_counts(arrays.counts, own),
    }


class _Arrays:
    """The two arrays while they are written, and what is counted and hashed on the way."""

    def __init__(self, ids: list[str], size: tuple[int, int], categories: Categories, folder: Path) -> None:
        self.images = _array(folder / IMAGES, (len(ids), *size, 3), np.uint8)
        self.segments = _array(folder / SEGMENTS, (len(ids), *size), np.uint16)
        self.pixels = hashlib.sha256()
        self.counts = np.zeros((len(COUNTED), len(categories)), dtype=np.int64)
        self.shares = [_Share(ids, share_ids(ids, percent), size, categories) for percent in PERCENTS]
        self.done = 0

    def __enter__(self) -> _Arrays:
        return self

    def __exit__(self, *_: object) -> None:
        self.images.close()
        self.segments.close()

    def add(self, chunk: Chunk) -> tuple[Rows, Rows]:
        """Returns the chunk's rows of both tables; `image` counts from the split's first now."""
        pixels = chunk.images.tobytes()
        self.images.write(pixels)
        self.pixels.update(pixels)
        self.segments.write(chunk.segments.tobytes())
        for share in self.shares:
            share.segments(self.done, chunk.segments)
        self.counts += chunk.counts
        chunk.segment_rows.numbers[:, 0] += self.done
        chunk.instance_rows.numbers[:, 0] += self.done
        self.done += len(chunk.ids)
        return chunk.segment_rows, chunk.instance_rows


class _Share:
    """The truth hash of some of the images, as if they alone had been prepared."""

    def __init__(self, ids: list[str], chosen: list[str], size: tuple[int, int], categories: Categories) -> None:
        self.ids = chosen
        kept = set(chosen)
        self.kept = np.array([id in kept for id in ids], dtype=bool)
        self.number = np.cumsum(self.kept) - 1  # an image's place among the chosen
        self.truth = TruthHash(chosen, size, categories)

    def segments(self, first: int, segments: NDArray[np.uint16]) -> None:
        self.truth.segments(segments[self.kept[first : first + len(segments)]])

    def table(self, path: Path | None, columns: tuple[str, ...]) -> None:
        self.truth.table(None if path is None else partial(self._rows, path, columns))

    def _rows(self, path: Path, columns: tuple[str, ...]) -> Iterator[Rows]:
        for rows in tables.read_parts(path, columns):
            kept = self.kept[rows.numbers[:, 0]]
            numbers = rows.numbers[kept]
            numbers[:, 0] = self.number[numbers[:, 0]]
            yield Rows(numbers, tuple(text for text, keep in zip(rows.counts, kept.tolist(), strict=False) if keep))

    def to_json(self) -> dict[str, Any]:
        return {
            "images": len(self.ids),
            "ids_sha256": tables.ids_hash(self.ids),
            "split_hash": self.truth.hexdigest(),
        }


def _counts(counts: NDArray[np.int64], own: bool) -> dict[str, Any]:
    """How many segments and instances there were natively and vanished: of each category in their order, and in all."""
    found: dict[str, Any] = {}
    for name, row in zip(COUNTED, counts.tolist(), strict=True):
        there = own or not name.startswith("instances")
        found[f"{name}_by_category"] = row if there else None
        found[name] = sum(row) if there else None
    return found


def _array(path: Path, shape: tuple[int, ...], dtype: Any) -> BinaryIO:
    """A .npy file with its header, to which the values are to be written: a memory map would count as memory."""
    file = path.open("wb")
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file
