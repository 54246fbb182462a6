from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.data.native.coco_segments import Runs
from bench.data.native.panoptic_png import read_ids, read_pixels, write_ids
from bench.data.problem import FaultError


@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_ids_come_back(tmp_path: Path, size: tuple[int, int]) -> None:
    ids = np.zeros(size, dtype=np.int32)
    ids[0, 0], ids[-1, -1], ids[size[0] // 2] = 256, (1 << 24) - 1, 0x123456
    write_ids(tmp_path / "a.png", ids)
    assert np.array_equal(read_ids(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA"])
def test_pictures_of_other_modes_are_read_by_their_colours(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).convert(mode)
    picture.save(tmp_path / "a.png")
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), dtype=np.int64), -1, 0)
    assert np.array_equal(read_ids(tmp_path / "a.png"), red + 256 * green + 65536 * blue)


def test_a_picture_with_a_transparent_colour_keeps_its_ids(tmp_path: Path) -> None:
    ids = np.arange(12).reshape(3, 4)
    write_ids(tmp_path / "a.png", ids)
    Image.open(tmp_path / "a.png").save(tmp_path / "b.png", transparency=(5, 0, 0))
    assert np.array_equal(read_ids(tmp_path / "b.png"), ids)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("filter", range(5))
def test_every_filter_of_a_row_as_pillow_reads_it(tmp_path: Path, filter: int, interlaced: bool) -> None:
    """By bytes after the filter, whatever picture they give."""
    rng = np.random.default_rng(filter)
    height, width = (1, 1) if interlaced else (9, 11)  # interlaced, that has one pass alone
    rows = rng.integers(0, 256, (height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 0] = filter
    path = tmp_path / "a.png"
    path.write_bytes(png(width, height, rows.tobytes(), interlaced=interlaced))
    with Image.open(path) as picture:
        assert np.array_equal(read_pixels(path), np.asarray(picture))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_runs_of_colours_are_runs_of_ids(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    few = rng.integers(0, 3, (height, width, 3), dtype=np.uint8)  # neighbours that differ in one colour alone
    pixels = np.repeat(few, rng.integers(1, 4), axis=1)
    found, ids = Runs.of_colours(pixels), pixels @ np.array([1, 256, 65536])
    expected = Runs.of(ids)
    assert found.shape == ids.shape
    for name in ("lengths", "ids", "which", "areas"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert np.array_equal(np.repeat(found.ids[found.which], found.lengths).reshape(ids.shape), ids)
    assert dict(zip(*map(list, np.unique(ids, return_counts=True)), strict=True)) == dict(
        zip(found.ids.tolist(), found.areas.tolist(), strict=True)
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, depth: int = 8, interlaced: bool = False) -> bytes:
    """Of three colours; every checksum is right, whatever `rows` are."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, interlaced)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(2, 3, bytes(7 * 2)), "enough data"),  # two of three rows
        (png(2, 3, b"\x09" + bytes(7 * 3 - 1)), "filter"),
        (png(2, 3, bytes(13 * 3), depth=16), "Sixteen"),  # of which half of each id would be lost
    ],
)
def test_a_picture_that_holds_no_ids_is_a_fault(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FaultError, match=reason) as fault:
        read_ids(tmp_path / "a.png", "17")
    assert (fault.value.problem.kind, fault.value.problem.image) == ("unreadable", "17")


def test_real_pictures_as_pillow_reads_them(shared_data: Path) -> None:
    paths = sorted((shared_data / "coco_panoptic").rglob("*.png"))
    assert paths
    for path in paths:
        with Image.open(path) as picture:
            assert np.array_equal(read_pixels(path), np.asarray(picture.convert("RGB"))), path
