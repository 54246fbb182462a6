"""Files of results/, read within bounds and written whole: beside their name first, then renamed. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import UserError
from bench.spec import invalid

SCHEMA_VERSION = 1
MAX_BYTES = 32_000_000  # of a json of a record; the largest, of 150 classes, has 60,000
T = TypeVar("T", bound=BaseModel)


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Atomic: readers see the old file or the new one, whole. Raises OSError, which names the path."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):  # the folder may be gone
            beside.unlink()


def write_json(path: Path, content: Any) -> None:
    """Atomic; refuses NaN and infinity, which are not numbers of a record."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_bytes(path: Path) -> bytes:
    """Raises ValueError for a link, which may lead anywhere, and for more than MAX_BYTES; OSError."""
    if path.is_symlink():
        raise ValueError("it is a symbolic link")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, at most {MAX_BYTES:,} are read")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} is not readable JSON ({error})") from None


def read(path: Path, model: type[T]) -> T:
    """A validated file of a record. Raises UserError with the first thing that is wrong."""
    with suppress(OSError, ValueError):  # parsed and checked in one go; else what is wrong is found below
        return model.model_validate_json(read_bytes(path))
    content = read_json(path)
    version = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version}; this program reads version {SCHEMA_VERSION}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise invalid(error, str(path), model) from None
