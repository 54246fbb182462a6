"""Archives unpacked: nothing outside the folder, nothing half, nothing more than the disk holds."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.downloading.unpack import unpack
from bench.errors import UserError


def evil_zip(path: Path, name: str, mode: int = 0) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "good")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")


def evil_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w") as archive:
        for member, type in (("good.txt", tarfile.REGTYPE), (name, kind)):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = type, "/etc/passwd"
            archive.addfile(info, io.BytesIO(b""))


@pytest.mark.parametrize(
    ("write", "arguments"),
    [
        (evil_zip, ("../evil",)),
        (evil_zip, ("a/../../evil",)),
        (evil_zip, ("/tmp/evil",)),
        (evil_zip, ("..\\evil",)),
        (evil_zip, ("C:\\evil",)),
        (evil_zip, ("link", 0o120777)),
        (evil_zip, ("device", 0o020666)),
        (evil_tar, ("../evil",)),
        (evil_tar, ("/tmp/evil",)),
        (evil_tar, ("link", tarfile.SYMTYPE)),
        (evil_tar, ("hard", tarfile.LNKTYPE)),
        (evil_tar, ("device", tarfile.CHRTYPE)),
        (evil_tar, ("pipe", tarfile.FIFOTYPE)),
    ],
)
def test_no_member_is_written_outside(tmp_path: Path, write: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    write(tmp_path / "archive", *arguments)
    with pytest.raises(UserError, match=r"the member .*(outside the folder|link or device)") as caught:
        unpack(tmp_path / "archive", tmp_path / "deep" / "folder")
    assert arguments[0].split("/")[-1].split("\\")[-1] in str(caught.value)
    assert list((tmp_path / "deep" / "folder").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "deep"]


def test_a_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.zip", tmp_path / "folder"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.txt", "first")
        archive.writestr("two.txt", "second")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"second", b"sEcond"))
    with pytest.raises(UserError, match=r"the member two\.txt is damaged"):
        unpack(path, folder)
    path.write_bytes(whole[:-30])
    with pytest.raises(UserError, match="no whole zip or tar archive"):
        unpack(path, folder)
    assert list(folder.iterdir()) == []
    path.write_bytes(whole)
    unpack(path, folder)
    assert (folder / "two.txt").read_text() == "second"


def test_an_archive_that_outgrows_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 9_000_000}))
    with pytest.raises(UserError, match=r"unpacks to 0\.01 GB, 0\.01 GB are free"):
        unpack(tmp_path / "a.zip", tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []
