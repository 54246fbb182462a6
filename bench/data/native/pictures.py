"""Opening a picture that somebody else wrote: every way it can be bad becomes one clear fault. Imports no torch."""

from __future__ import annotations

import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PureWindowsPath

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from bench.data.problem import FaultError, Problem

MAX_PIXELS = 50_000_000  # the largest picture of COCO, ADE20K and Cityscapes has below 20 million; 150 MB as RGB
PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")  # a file name, perhaps in folders, none of which begins with a dot


@contextmanager
def opened(path: Path, image: str | None = None, what: str = "picture") -> Iterator[ImageFile]:
    """A picture of sane size, its header read. What goes wrong then or in the block, decoding, raises FaultError.

    `image` is the id of the image that the file belongs to, `what` the name of a missing file.
    """
    try:
        data = _content(path, image)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is the stricter limit
            picture = Image.open(BytesIO(data))
        with picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise FaultError(_absurd(path, f"{picture.height}x{picture.width} pixels", image))
            yield picture
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        problem = Problem(path, "missing", "no such file", image)
        raise FaultError(problem, f"no {what} at {path}") from None
    except Image.DecompressionBombError:
        raise FaultError(_absurd(path, "a size", image)) from None
    except UnidentifiedImageError:
        raise FaultError(Problem(path, "unreadable", "not a picture", image)) from None
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error) as error:  # what Pillow raises for a damaged one
        raise FaultError(Problem(path, "unreadable", f"damaged or truncated ({error})", image)) from None


def inside(folder: Path, name: object, listing: Path, image: str | None = None) -> Path:
    """The file of this name below the folder. Raises FaultError where the name, found in `listing`, leaves it."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise FaultError(Problem(listing, "format", f"a file name is text, found {name!r}", image))
    if not _PLAIN.fullmatch(name) and _leaves(name):
        raise FaultError(Problem(listing, "outside", f"the file name {name!r} leaves the dataset's folder", image))
    path = folder / name
    real = os.path.realpath(path) if path.is_symlink() else _real(path.parent) + path.name
    if not real.startswith(_real(folder)):  # the folder itself may well be a link
        reason = f"the file name {name!r} leaves the dataset's folder by a link"
        raise FaultError(Problem(listing, "outside", reason, image))
    return path


def _leaves(name: str) -> bool:
    windows = PureWindowsPath(name)
    return ".." in windows.parts or bool(windows.drive or windows.root) or name.startswith("/")


@lru_cache(maxsize=64)
def _real(folder: Path) -> str:
    """Without links, with a separator at the end; asked for once for each folder, not for each of its files."""
    return os.path.join(os.path.realpath(folder), "")  # noqa: PTH118


def _content(path: Path, image: str | None) -> bytes:
    """The file's bytes; a PNG's checksums are compared, which Pillow leaves out: a flipped bit is another segment."""
    size = path.stat().st_size
    if size > 4 * MAX_PIXELS:
        raise FaultError(_absurd(path, f"{size} bytes", image))
    data = path.read_bytes()
    if data.startswith(PNG):
        _check_chunks(data)
    return data


def _check_chunks(data: bytes) -> None:
    """Raises ValueError where a chunk's CRC is wrong or the last one is lacking (PNG specification, 5.3)."""
    at, kind = len(PNG), b""
    while kind != b"IEND":
        if len(data) < at + 12:
            raise ValueError("the PNG is cut short")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if len(data) < end:
            raise ValueError("the PNG is cut short")
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ValueError("a checksum of the PNG is wrong")
        at = end


def _absurd(path: Path, found: str, image: str | None) -> Problem:
    reason = f"has {found}; at most {MAX_PIXELS // 10**6} million pixels are read"
    return Problem(path, "absurd size", reason, image)
