"""Room on a disk is asked for before anything is written; tests/execute/test_disk.py has the real full disks."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.data.native.scenes import Scenes
from bench.data.prepared import prepare_sizes
from bench.disk import amount, free_bytes, require
from bench.errors import UserError
from bench.files import write_json


def test_room_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert abs(free_bytes(tmp_path / "a" / "b") - free_bytes(tmp_path)) < 100_000_000
    with pytest.raises(UserError, match=r"free and the books may need 1000000.0 TB; make room first"):
        require(tmp_path / "a", 10**18, "the books")
    assert list(tmp_path.iterdir()) == []
    require(tmp_path / "a", 1000, "the books")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"the books cannot be written into .*/file/a \(Not a directory\)"):
        require(tmp_path / "file" / "a", 0, "the books")
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to this user; tests/execute/test_disk.py mounts a read-only disk")
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="Permission denied"):
        require(tmp_path, 0, "the books")


def test_bytes_in_words() -> None:
    assert [amount(size) for size in (0, 999, 1000, 5.4e6, 2e12)] == ["0 B", "999 B", "1 kB", "5 MB", "2.0 TB"]


def test_the_room_that_a_preparation_needs_covers_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("bench.data.prepared.require", lambda folder, need, what: asked.append(need))
    made = prepare_sizes(Scenes(), "val", [(32, 32), (48, 64)], 64, tmp_path)
    taken = sum(path.stat().st_size for prepared in made for path in prepared.folder.iterdir())
    assert taken < asked[0] < 2 * taken
    pixels = 64 * (32 * 32 + 48 * 64) * 5
    assert asked == [pixels + 64 * 2 * 4000]


FILL = """
import resource, sys
from pathlib import Path
from bench.files import write_json
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_json(Path(sys.argv[1]), {"x": "y" * 2000})
except OSError as error:
    print(error)
"""


def test_a_file_that_grows_too_large_leaves_the_old_one_and_names_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"x": 1})
    done = subprocess.run([sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"[Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}: '{path}'\n"
    assert path.read_text() == '{\n "x": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000
