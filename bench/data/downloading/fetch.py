"""One file over HTTP, into its place only when it is whole, going on where an earlier attempt stopped. No torch.

`<target>.part` is what has come so far, `<target>.json` what the server said of it: its ETag or date. The rest is asked
for on the condition that they still hold (If-Range, RFC 9110 13.1.5): a file that changed in between begins anew.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import UserError

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # in a row that get no further
PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
LONGEST_PAUSE = 60.0
PIECE = 1 << 18  # bytes read at a time, at most: what is here is written at once
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one a little later


class _PassingError(Exception):
    """This attempt failed, the next may not. `wait`: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(
    url: str,
    target: Path,
    length: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Fetches `url` to `target`. `length`: bytes it must have; `progress(done, of)`; `say` hears of each new attempt.

    Raises UserError where the server refuses, is not reached in `ATTEMPTS` attempts, or offers another length.
    """
    part, failures = part_of(target), 0
    furthest = _bytes_in(part)
    while True:
        try:
            _attempt(url, target, length, progress)
            part.replace(target)
            return
        except _PassingError as error:
            failures = failures + 1 if _bytes_in(part) <= furthest else 1
            furthest = max(furthest, _bytes_in(part))
            if failures >= ATTEMPTS:
                raise UserError(f"{url}: {error}; check the network, or name a --mirror; {kept(target)}") from None
            wait = min(LONGEST_PAUSE, PAUSE * 2 ** (failures - 1) if error.wait is None else error.wait)
            if say is not None:
                say(f"{target.name}: {error}; again in {wait:.0f} s")
            time.sleep(wait)


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def notes_of(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def read_notes(target: Path) -> dict[str, Any]:
    try:
        notes = json.loads(notes_of(target).read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def write_notes(target: Path, notes: dict[str, Any]) -> None:
    draft = notes_of(target).with_suffix(".draft")
    draft.write_text(json.dumps(notes, indent=1) + "\n")
    draft.replace(notes_of(target))


def kept(target: Path) -> str:
    """What of a file is here, for whoever stops."""
    have = _bytes_in(part_of(target))
    return (
        f"{have} bytes are kept in {part_of(target)}, the same command goes on from there" if have else "nothing kept"
    )


def _attempt(url: str, target: Path, length: int | None, progress: Callable[[int, int], None] | None) -> None:
    """Brings what is left. Returns when `.part` is whole."""
    part, notes = part_of(target), read_notes(target)
    have = _bytes_in(part) if _mark(notes) and notes.get("url") == url else 0
    if have and have == notes.get("length"):
        return
    with _opened(url, have, notes, part) as response:
        start, total = _range(response)
        if length is not None and total is not None and total != length:
            raise UserError(f"{url} has {total} bytes, expected {length}: it is another file, or an error page")
        if start and (start != have or _said(response) != {key: notes.get(key) for key in _said(response)}):
            part.unlink()
            raise _PassingError("it has changed since the last attempt, begun anew", 0.0)
        if not start:
            part.unlink(missing_ok=True)  # before the notes that describe the new one
            write_notes(target, notes | {"url": url, "length": total, **_said(response)})
        _receive(response, part, start, total or length or 0, progress)
    found, expected = _bytes_in(part), total if total is not None else length
    if expected is not None and found < expected:
        raise _PassingError(f"the connection ended at {found} of {expected} bytes")
    if expected is not None and found > expected:
        part.unlink()
        raise UserError(f"{url} sent {found} bytes, expected {expected}; removed, run the same command again")


def _opened(url: str, have: int, notes: dict[str, Any], part: Path) -> http.client.HTTPResponse:
    headers = {"User-Agent": "maskattn-bench", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(_mark(notes))}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _PassingError(
                f"the server has nothing after byte {have}: the file changed, or it told a wrong length"
            ) from None
        if error.code in PASSING:
            wait = error.headers.get("Retry-After", "")
            raise _PassingError(f"the server answers {error.code}", float(wait) if wait.isdigit() else None) from None
        raise UserError(f"{url}: the server answers {error.code} {error.reason}; name a --mirror that has it") from None
    except (OSError, http.client.HTTPException) as error:  # URLError, a time-out, a reset connection
        reason = getattr(error, "reason", error)
        raise _PassingError(f"cannot be reached ({getattr(reason, 'strerror', None) or reason})") from None
    assert isinstance(answer, http.client.HTTPResponse)
    return answer


def _receive(
    response: http.client.HTTPResponse, part: Path, start: int, total: int, progress: Callable[[int, int], None] | None
) -> None:
    done = start
    with part.open("ab", buffering=0) as file:
        while piece := _piece(response, done):
            file.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, max(total, done))


def _piece(response: http.client.HTTPResponse, done: int) -> bytes:
    try:
        return response.read1(PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(f"the connection broke at {done} bytes ({error})") from None


def _range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where the answer begins in the file, and the file's length where it is told."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if match is None:
            raise _PassingError("the server's answer names no range")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    told = response.headers.get("Content-Length", "")
    return 0, int(told) if told.isdigit() else None


def _said(response: http.client.HTTPResponse) -> dict[str, str]:
    """What the server says of the file's state."""
    found = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
    return {key: value for key, value in found.items() if value}


def _mark(notes: dict[str, Any]) -> str | None:
    """What If-Range may hold: a strong ETag or a date. None: nothing tells whether the file is still the same."""
    etag = notes.get("etag")
    return etag if isinstance(etag, str) and not etag.startswith("W/") else notes.get("last_modified")


def _bytes_in(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
