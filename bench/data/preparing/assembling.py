"""Drafts -> the tables, hashes and manifests of prepared folders. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from bench.data.preparing import tables
from bench.data.preparing.draft import CHUNK, COUNTED, IMAGES, SEGMENTS, ArrayFile, Chunk, Draft
from bench.data.preparing.shares import PERCENTS, share_ids
from bench.data.preparing.tables import INSTANCE_COLUMNS, SEGMENT_COLUMNS, Rows, TruthHash
from bench.data.preparing.writing import SKIP_HINT, Size
from bench.data.resize import RULE
from bench.data.source import Source
from bench.errors import UserError
from models.categories import Categories

FORMAT = 3  # goes up whenever the meaning of a prepared file or of a draft changes
MANIFEST = "manifest.json"
SEAL = "sha256"  # the manifest's last key: the hash of all others
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
    ids: Sequence[str],
    drafts: Mapping[Size, Draft],
    finished: Iterable[int],
    bad: Sequence[Skipped],
    skip_bad: bool,
) -> dict[Size, tuple[Path, bool]]:
    """Makes a whole folder in each draft of the images `ids`; `finished` tells the first of each chunk when it is done.

    `bad`: what the listing leaves out. Returns each folder, and whether images are left out of it.
    """
    own = source.has_instances(split)
    refused: dict[Size, dict[str, str]] = {size: {} for size in drafts}
    found = {}
    with ExitStack() as stack:
        all_of = {
            size: stack.enter_context(Assembly(ids, size, source.categories, own, draft.whole))
            for size, draft in drafts.items()
        }
        for first in finished:
            for size, draft in drafts.items():
                chunk = draft.read(first)
                refused[size] |= chunk.bad
                if chunk.bad and not skip_bad:  # the draft is one of an earlier call that did skip
                    raise UserError(f"{next(iter(chunk.bad.values()))}{SKIP_HINT}")
                all_of[size].add(chunk)
        for size, draft in drafts.items():
            skipped = [*bad, *(Skipped(id, reason) for id, reason in refused[size].items())]
            assembly = all_of[size]
            if refused[size]:
                kept = [id for id in ids if id not in refused[size]]
                if not kept:
                    raise UserError(f"{source.name} {split}: no image can be read, the first: {skipped[0].reason}")
                assembly = stack.enter_context(Assembly(kept, size, source.categories, own, draft.emptied("kept")))
                for chunk in _kept_only(draft, ids, len(kept), assembly.folder):
                    assembly.add(chunk)
            _write_manifest(source, split, size, assembly, skipped)
            found[size] = assembly.folder, bool(skipped)
    return found


class Assembly:
    """The images `ids` at one size, taken chunk by chunk: writes their tables into `folder`, counts and hashes.

    Memory stays bounded: one chunk, and the rows of GROUP.
    """

    def __init__(self, ids: Sequence[str], size: Size, categories: Categories, own: bool, folder: Path) -> None:
        """`own`: whether there is an instance table."""
        self.ids, self.own, self.folder = list(ids), own, folder
        self._pixels = hashlib.sha256()
        self._counts = np.zeros((len(COUNTED), len(categories)), dtype=np.int64)
        self._shares = [_Share(self.ids, share_ids(ids, percent), size, categories) for percent in PERCENTS]
        self._rows: list[tuple[Rows, Rows]] = []
        self._done = 0
        self._files = ExitStack()
        self._write_segments = self._files.enter_context(tables.writer(folder / SEGMENT_TABLE, SEGMENT_COLUMNS))
        self._write_instances = (
            self._files.enter_context(tables.writer(folder / INSTANCE_TABLE, INSTANCE_COLUMNS)) if own else None
        )

    def __enter__(self) -> Assembly:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, chunk: Chunk) -> None:
        """The next images."""
        self._pixels.update(chunk.images.data)
        for share in self._shares:
            share.segments(self._done, chunk.segments)
        self._counts += chunk.counts
        rows = _shifted(chunk.segment_rows, self._done), _shifted(chunk.instance_rows, self._done)
        self._rows.append(rows)
        if len(self._rows) == GROUP:
            self._flush()
        self._done += len(chunk.images)

    def finish(self) -> dict[str, Any]:
        """What the manifest says of the images: hashes, shares, counts."""
        self._flush()
        self._files.close()
        for share in self._shares:
            share.table(self.folder / SEGMENT_TABLE, SEGMENT_COLUMNS)
            share.table(self.folder / INSTANCE_TABLE if self.own else None, INSTANCE_COLUMNS)
        fractions = {str(percent): share.to_json() for percent, share in zip(PERCENTS, self._shares, strict=True)}
        return {
            "ids_sha256": fractions["100"]["ids_sha256"],
            "split_hash": fractions["100"]["split_hash"],
            "pixel_hash": self._pixels.hexdigest(),
            "fractions": fractions,
            **_told(self._counts, self.own),
        }

    def _flush(self) -> None:
        self._write_segments(tables.join((rows for rows, _ in self._rows), len(SEGMENT_COLUMNS)))
        if self._write_instances is not None:
            self._write_instances(tables.join((rows for _, rows in self._rows), len(INSTANCE_COLUMNS)))
        self._rows = []


def _kept_only(draft: Draft, ids: Sequence[str], kept: int, folder: Path) -> Iterator[Chunk]:
    """The draft's chunks without their bad images; writes the arrays of the `kept` others into `folder`."""
    size = draft.segments.shape[1:]
    images = ArrayFile.create(folder / IMAGES, (kept, *size, 3), np.uint8)
    segments = ArrayFile.create(folder / SEGMENTS, (kept, *size), np.uint16)
    done = 0
    for first in range(0, len(ids), CHUNK):
        chunk = draft.read(first)
        good = np.array([id not in chunk.bad for id in ids[first : first + CHUNK]])
        number = np.cumsum(good) - 1
        part = Chunk(
            chunk.images[good],
            chunk.segments[good],
            _renumbered(chunk.segment_rows, number),
            _renumbered(chunk.instance_rows, number),
            chunk.counts,
            {},
        )
        images.write(done, part.images)
        segments.write(done, part.segments)
        done += len(part.images)
        yield part


def _write_manifest(source: Source, split: str, size: Size, assembly: Assembly, skipped: Sequence[Skipped]) -> None:
    """The last file of a folder that is whole then."""
    manifest = {
        "format": FORMAT,
        "dataset": source.name,
        "split": split,
        "size": list(size),
        "categories": source.categories.to_json(),
        "ids": assembly.ids,
        "skipped": [one._asdict() for one in skipped],
        **assembly.finish(),
        "form": source.form,
        "fingerprint": source.fingerprint(split),
        "resize": RULE,
        "instance_truth": OWN_INSTANCES if assembly.own else THING_SEGMENTS,
        "versions": {"numpy": np.__version__, "pillow": PIL.__version__},
    }
    text = json.dumps(sealed(manifest), indent=1, ensure_ascii=False) + "\n"
    (assembly.folder / MANIFEST).write_text(text, encoding="utf-8")


def manifest_problem(manifest: Mapping[str, Any]) -> str | None:
    """Why a manifest cannot be believed: it is not as it was written. None where it is."""
    return None if manifest == sealed(manifest) else f"{MANIFEST} is not as it was written"


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the hash of all its other keys."""
    rest = {key: value for key, value in manifest.items() if key != SEAL}
    return rest | {SEAL: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


class _Share:
    """The truth hash of some of the images, as if they alone had been prepared."""

    def __init__(self, ids: Sequence[str], chosen: list[str], size: Size, categories: Categories) -> None:
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
            texts = tuple(text for text, keep in zip(rows.counts, kept.tolist(), strict=False) if keep)
            yield _renumbered(Rows(rows.numbers[kept], texts), self.number)

    def to_json(self) -> dict[str, Any]:
        return {
            "images": len(self.ids),
            "ids_sha256": tables.ids_hash(self.ids),
            "split_hash": self.truth.hexdigest(),
        }


def _renumbered(rows: Rows, number: NDArray[np.int64]) -> Rows:
    numbers = rows.numbers.copy()
    numbers[:, 0] = number[numbers[:, 0]]
    return Rows(numbers, rows.counts)


def _shifted(rows: Rows, by: int) -> Rows:
    numbers = rows.numbers.copy()
    numbers[:, 0] += by
    return Rows(numbers, rows.counts)


def _told(counts: NDArray[np.int64], own: bool) -> dict[str, Any]:
    """How many segments and instances there were natively and vanished: in all, and by category in their order."""
    found: dict[str, Any] = {}
    for name, row in zip(COUNTED, counts.tolist(), strict=True):
        there = own or not name.startswith("instances")
        found[name] = sum(row) if there else None
        found[f"{name}_by_category"] = row if there else None
    return found
