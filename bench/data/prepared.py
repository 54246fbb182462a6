"""The prepared form: what every run reads, made once for each dataset, split and size. Imports no torch.

A folder `<root>/<dataset>/<split>-<H>x<W>[-n<limit>][-skipped]-<fingerprint>/` with
    images.npy         (N, H, W, 3) uint8 RGB
    segments.npy       (N, H, W) uint16, the segment's number in its image, 0 = void
    segments.parquet   image, segment, category, isthing, iscrowd, area, x, y, w, h: measured at this size
    instances.parquet  image, category, iscrowd, area, x, y, w, h, height, width, counts: only where the dataset has
                       instances of its own
    manifest.json      what it was made of, what vanished, and the hashes that prove two splits identical
It is made in a draft, a hidden folder beside it (bench/data/preparing/draft.py), and renamed into place, so it is
either whole or not there; a preparation that was interrupted or killed goes on from its draft. A draft of files that
have changed since is removed when the same target is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.preparing import tables
from bench.data.preparing.assembling import (
    FORMAT,
    INSTANCE_TABLE,
    MANIFEST,
    OWN_INSTANCES,
    SEGMENT_TABLE,
    Skipped,
    assemble,
    manifest_problem,
)
from bench.data.preparing.draft import CHUNK, IMAGES, SEGMENTS, Draft, discard, held
from bench.data.preparing.shares import chosen_ids
from bench.data.preparing.writing import SKIP_HINT, Size, fill
from bench.data.problem import FaultError
from bench.data.resize import RULE
from bench.data.scene import Instance
from bench.data.source import Checked, Source, forms
from bench.disk import require
from bench.errors import UserError
from models.categories import Categories, Segment

Progress = Callable[[int, int], None]  # (images done, of)
TABLE_BYTES = 4000  # of an image: about 20 segments and instances, in a chunk and in a table


class Prepared:
    """One prepared split, read by memory map. `images` (N, H, W, 3) uint8, `segments` (N, H, W) uint16."""

    def __init__(self, folder: Path) -> None:
        """Opens the manifest only; arrays and tables are opened when first used. Raises UserError if not whole."""
        self.folder = folder
        try:
            self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        except FileNotFoundError:
            raise UserError(f"no prepared data at {folder}; run `bench data prepare`") from None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"prepared data at {folder} is not whole ({error}); remove that folder") from None
        found = self.manifest.get("format") if isinstance(self.manifest, dict) else None
        if found != FORMAT:
            raise UserError(f"{folder} has format {found}, expected {FORMAT}; remove that folder")
        if problem := manifest_problem(self.manifest):
            raise UserError(f"prepared data at {folder} is damaged ({problem}); remove that folder and prepare again")
        self.categories = Categories.from_json(self.manifest["categories"])
        self.size: tuple[int, int] = (self.manifest["size"][0], self.manifest["size"][1])

    @property
    def dataset(self) -> str:
        return str(self.manifest["dataset"])

    @property
    def split(self) -> str:
        return str(self.manifest["split"])

    @property
    def ids(self) -> list[str]:
        ids: list[str] = self.manifest["ids"]
        return ids

    @property
    def split_hash(self) -> str:
        """sha256 over what decides the truth: ids, size, categories, segments, instances; not the pixels."""
        return str(self.manifest["split_hash"])

    def fraction_hash(self, percent: int) -> str:
        """The split hash of `percent` of the images: as `split_hash`, over those images alone."""
        return self.split_hash if percent == 100 else str(self.manifest["fractions"][str(percent)]["split_hash"])

    @property
    def instance_truth(self) -> str:
        """Which annotation serves as instance truth: "instances" or "panoptic things"."""
        return str(self.manifest["instance_truth"])

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        return self._array(IMAGES)

    @cached_property
    def segments(self) -> NDArray[np.uint16]:
        return self._array(SEGMENTS)

    @cached_property
    def segment_rows(self) -> tables.Rows:
        """The whole segment table, (rows, 10) int32 in `tables.SEGMENT_COLUMNS`, sorted by image and segment."""
        return tables.read(self.folder / SEGMENT_TABLE, tables.SEGMENT_COLUMNS)

    @cached_property
    def instance_rows(self) -> tables.Rows | None:
        """The whole instance table in `tables.INSTANCE_COLUMNS`, sorted by image; None where there is none."""
        if self.instance_truth != OWN_INSTANCES:
            return None
        return tables.read(self.folder / INSTANCE_TABLE, tables.INSTANCE_COLUMNS)

    def __len__(self) -> int:
        return len(self.manifest["ids"])

    def table(self, image: int) -> dict[int, Segment]:
        """The segments of one image that have a pixel at this size."""
        return tables.segments_of(self.segment_rows, self.segment_bounds(image))

    def segment_bounds(self, image: int) -> slice:
        """Which rows of the segment table are this image's."""
        return slice(int(self._segment_starts[image]), int(self._segment_starts[image + 1]))

    def instances(self, image: int) -> list[Instance] | None:
        """The dataset's own instances of one image at this size; None where its thing segments serve."""
        rows = self.instance_rows
        if rows is None:
            return None
        return tables.instances_of(
            rows, slice(int(self._instance_starts[image]), int(self._instance_starts[image + 1]))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepared, (self.folder,)  # a worker process opens the files itself

    @cached_property
    def _segment_starts(self) -> NDArray[np.int64]:
        return tables.starts(self.segment_rows, len(self))

    @cached_property
    def _instance_starts(self) -> NDArray[np.int64]:
        rows = self.instance_rows
        return tables.starts(rows or tables.join((), len(tables.INSTANCE_COLUMNS)), len(self))

    def _array(self, name: str) -> NDArray[Any]:
        try:
            return np.load(self.folder / name, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder / name} cannot be read ({error}); remove its folder, prepare again"
            ) from None


def load(folder: Path) -> Prepared:
    """Opens a prepared folder. Raises UserError where it is absent, not whole, or of another format."""
    return Prepared(folder)


def prepared_folder(
    source: Source, split: str, size: Size, limit: int | None, root: Path, skipped: bool = False
) -> Path:
    """Where this preparation lies or will lie; `size` is (height, width); `skipped`: images that are bad left out."""
    made_of = f"{FORMAT} {RULE} {source.fingerprint(split)}"
    mark = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    part = ("" if limit is None else f"-n{limit}") + ("-skipped" if skipped else "")
    return root / source.name / f"{split}-{size[0]}x{size[1]}{part}-{mark}"


def existing(
    source: Source, split: str, size: Size, limit: int | None, root: Path, skipped: bool = True
) -> Prepared | None:
    """The preparation if it is already there; opens no annotation, so it takes milliseconds.

    Where there is no whole one: the one that was made with `skip_bad`, if `skipped`.
    """
    for lacking in (False, True) if skipped else (False,):
        folder = prepared_folder(source, split, size, limit, root, lacking)
        if (folder / MANIFEST).is_file():
            return Prepared(folder)
    return None


def check_disjoint(train: Prepared, val: Prepared) -> None:
    """Raises UserError where an image id is in both splits."""
    if both := sorted(set(train.ids) & set(val.ids)):
        raise UserError(
            f"{train.dataset}: {len(both)} images are in the training and the validation split, such as {both[0]}; "
            f"run `bench data verify {train.dataset}`"
        )


def rows_of(prepared: Prepared, ids: Iterable[str]) -> NDArray[np.int64]:
    """Row numbers, ascending, of these images."""
    kept = set(ids)
    return np.array([row for row, id in enumerate(prepared.ids) if id in kept], dtype=np.int64)


def prepare(
    source: Source,
    split: str,
    size: Size,
    limit: int | None,
    root: Path,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Prepared:
    """`prepare_sizes` of one size."""
    return prepare_sizes(source, split, [size], limit, root, progress, processes)[0]


def prepare_sizes(
    source: Source,
    split: str,
    sizes: Sequence[Size],
    limit: int | None,
    root: Path,
    progress: Progress | None = None,
    processes: int | None = None,
    skip_bad: bool = False,
) -> list[Prepared]:
    """Makes the prepared form of a split at each (height, width) in one pass, or returns at once what is there.

    `progress(done, total)` is called after each chunk; `processes` None means one a core, fewer for few images. The
    processes are spawned: a script that calls this needs the `if __name__ == "__main__"` guard. Raises UserError where
    the dataset's files disagree, unless `skip_bad`: then such images are left out and the manifest says why. Whatever
    ends it, SIGKILL too, the same call goes on from there. Who finds another process at it waits and takes its result.
    """
    there = partial(existing, source, split, limit=limit, root=root, skipped=skip_bad)
    if missing := sorted({size for size in sizes if there(size=size) is None}):
        listed, bad = _listed(source, split, skip_bad)
        ids = chosen_ids(listed, limit)
        if not ids:
            raise UserError(f"{source.name} {split} has no images; check the dataset's folder")
        folders = {size: prepared_folder(source, split, size, limit, root) for size in missing}
        paths = {size: folder.with_name(f".{folder.name}") for size, folder in folders.items()}
        require(root, _room(paths, len(ids)), f"{source.name} {split}, prepared")
        with ExitStack() as stack:
            for path in paths.values():
                stack.enter_context(held(path, partial(_tell_waiting, progress, len(ids))))
            left = [size for size in missing if there(size=size) is None]
            drafts = {size: Draft.open(paths[size], len(ids), size) for size in left}
            chunks = fill(source, split, ids, drafts, processes or _processes(len(ids)), skip_bad)
            finished = _reported(stack.enter_context(closing(chunks)), progress, len(ids))
            wholes = assemble(source, split, ids, drafts, finished, bad, skip_bad)
            for size, (whole, lacking) in wholes.items():
                whole.rename(prepared_folder(source, split, size, limit, root, lacking))
                shutil.rmtree(paths[size])
                _discard_outdated(source, split, size, limit, root)
    return [prepared for size in sizes if (prepared := there(size=size)) is not None]


def _discard_outdated(source: Source, split: str, size: Size, limit: int | None, root: Path) -> None:
    """Removes drafts of the same target that were made of what the dataset's files no longer are."""
    with suppress(UserError):  # from a form whose files are not whole: nothing is known of its drafts
        known = {prepared_folder(form, split, size, limit, root).name for form in forms(source)}
        stem, _, mark = prepared_folder(source, split, size, limit, root).name.rpartition("-")
        for draft in (root / source.name).glob(f".{stem}-{'?' * len(mark)}"):
            if draft.name.removeprefix(".") not in known:
                discard(draft)


def prepared_bytes(images: int, size: Size) -> int:
    """On disk, about: 3 of RGB and 2 of segments a pixel, and the tables."""
    height, width = size
    return images * (height * width * 5 + TABLE_BYTES)


def _room(drafts: Mapping[Size, Path], images: int) -> int:
    """Bytes that these preparations still take."""
    need = sum(prepared_bytes(images, size) for size in drafts)
    with suppress(FileNotFoundError):  # another process may finish a draft, and remove it, while we look
        files = (path for draft in drafts.values() for path in draft.rglob("*"))
        return max(0, need - sum(path.stat().st_blocks * 512 for path in files))
    return need


def _listed(source: Source, split: str, skip_bad: bool) -> tuple[list[str], list[Skipped]]:
    """The images of a split, and where `skip_bad` those that its listing has but cannot be used."""
    if skip_bad and isinstance(source, Checked):
        survey = source.survey(split)
        if not survey.pictures and survey.problems:
            raise UserError(f"{source.name} {split}: {survey.problems[0]}; run `bench data verify {source.name}`")
        return list(survey.pictures), [Skipped(problem.image, str(problem)) for problem in survey.problems]
    try:
        return source.ids(split), []
    except FaultError as fault:
        if fault.problem.image is None:
            raise
        raise UserError(f"{fault}{SKIP_HINT}") from None


def _reported(finished: Iterable[int], progress: Progress | None, images: int) -> Iterator[int]:
    """The same, `progress` told after each."""
    for first in finished:
        yield first
        if progress is not None:
            progress(min(first + CHUNK, images), images)


def _tell_waiting(progress: Progress | None, images: int, chunks: int) -> None:
    if progress is not None:
        progress(min(chunks * CHUNK, images - 1), images)  # never all: it is not ready before its folder is there


def _processes(images: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, images // (4 * CHUNK)))  # below four chunks each, starting them costs more
