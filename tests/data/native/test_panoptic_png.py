from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bench.data.native.panoptic_png import ID_BITS, read_ids, read_pixels, write_ids


@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_ids_come_back(tmp_path: Path, size: tuple[int, int]) -> None:
    ids = np.zeros(size, dtype=np.int32)
    ids[0, 0], ids[-1, -1], ids[size[0] // 2] = 256, (1 << 24) - 1, 0x123456
    write_ids(tmp_path / "a.png", ids)
    assert np.array_equal(read_ids(tmp_path / "a.png"), ids)
    assert np.array_equal(read_pixels(tmp_path / "a.png") & ID_BITS, ids)


def test_a_picture_that_pillow_holds_in_pieces(tmp_path: Path) -> None:
    """As it does from 16 MB on, four bytes a pixel."""
    picture = Image.new("RGB", (2200, 2000), (1, 2, 3))
    picture.putpixel((2199, 1999), (4, 5, 6))
    with pytest.raises(ValueError, match=r"not contiguous|multiple"):
        pa.array(picture)
    picture.save(tmp_path / "a.png", compress_level=1)
    ids = read_ids(tmp_path / "a.png")
    assert ids[1999, 2199] == 4 + 256 * 5 + 65536 * 6
    assert np.unique(ids, return_counts=True)[1].tolist() == [2200 * 2000 - 1, 1]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA"])
def test_pictures_of_other_modes_are_read_by_their_colours(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).convert(mode)
    picture.save(tmp_path / "a.png")
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), dtype=np.int64), -1, 0)
    assert np.array_equal(read_ids(tmp_path / "a.png"), red + 256 * green + 65536 * blue)
