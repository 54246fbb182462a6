"""A json of hundreds of megabytes row by row: only one row of its lists is in memory at a time. Imports no torch.

COCO's instances of the training split are 450 MB of text, ten times that as Python objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from bench.data.problem import FaultError, Problem

WINDOW = 1 << 22  # bytes read at a time; a row may be longer
SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Span(NamedTuple):
    """Where a row stands in its file, in bytes."""

    start: int
    end: int


def spans(numbers: Sequence[int]) -> list[Span]:
    """Start, end, start, end, ... as spans."""
    return [Span(start, end) for start, end in zip(numbers[::2], numbers[1::2], strict=True)]


Handler = Callable[[Any, Span], None]


def scan(path: Path, handlers: Mapping[str, Handler]) -> None:
    """Calls the handler of a key of the top object for each element of that key's list, in the file's order.

    Raises FaultError where the file is absent, no json object, or a key is not there or has no list.
    """
    try:
        with path.open("rb") as file:
            scanner = _Scanner(file)
            if (first := scanner.peek()) not in "{":
                reason = f"is no json object, it begins with {first!r}; expected a COCO json with {', '.join(handlers)}"
                raise FaultError(Problem(path, "format", reason))
            keys = scanner.object(handlers)
    except FileNotFoundError:
        text = f"no annotation json at {path}; check the dataset's folder with `bench data list`"
        raise FaultError(Problem(path, "missing", "no such file"), text) from None
    except (OSError, ValueError) as error:
        raise FaultError(Problem(path, "unreadable", f"is not readable json ({error}); fetch it again")) from None
    if lacking := [key for key in handlers if key not in keys]:
        reason = f"lacks {', '.join(lacking)}; expected a COCO json with {', '.join(handlers)}"
        raise FaultError(Problem(path, "format", reason))
    if other := [key for key in handlers if not keys[key]]:
        raise FaultError(Problem(path, "format", f"has no list of {', '.join(other)}; it is no COCO json"))


def read_spans(path: Path, spans: Iterable[Span], image: str) -> list[Any]:
    """The rows at these places, parsed again. Raises FaultError where they are no longer there."""
    try:
        with path.open("rb") as file:
            return [_read(file, span) for span in spans]
    except (OSError, ValueError) as error:
        raise FaultError(Problem(path, "unreadable", f"has changed while it was read ({error})", image)) from None


def _read(file: IO[bytes], span: Span) -> Any:
    file.seek(span.start)
    return json.loads(file.read(span.end - span.start))


class _Scanner:
    """A window that moves over the file. It is decoded as Latin-1, where a character is a byte, to keep the places."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.text, self.at, self.base = "", 0, 0  # the window, the place in it, the window's place in the file
        if file.read(3) != b"\xef\xbb\xbf":  # a byte order mark
            file.seek(0)
        else:
            self.base = 3

    def object(self, handlers: Mapping[str, Handler]) -> dict[str, bool]:
        """Every key with whether its value is a list."""
        keys: dict[str, bool] = {}
        self.expect("{")
        while self.peek() != "}":
            key, _ = self.value()
            self.expect(":")
            keys[str(key)] = is_list = self.peek() == "["
            if is_list:
                self.list(handlers.get(str(key)))
            else:
                self.value()
            if self.peek() != "}":
                self.expect(",")
        self.expect("}")
        if self.peek():
            raise ValueError(f"something follows the object at byte {self.base + self.at}")
        return keys

    def list(self, handler: Handler | None) -> None:
        self.expect("[")
        while self.peek() != "]":
            value, span = self.value()
            if handler is not None:
                handler(value, span)
            if self.peek() != "]":
                self.expect(",")
        self.expect("]")

    def value(self) -> tuple[Any, Span]:
        """The value here, and where it stands."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                if not self.more():
                    raise ValueError(f"at byte {self.base + self.at}: {getattr(error, 'msg', error)}") from None
                continue
            if len(self.text) - end < len(".e+") and self.more():  # a number may go on
                continue
            break
        text = self.text[self.at : end]
        if not text.isascii():
            value = json.loads(text.encode("latin-1"))
        span = Span(self.base + self.at, self.base + end)
        self.at = end
        return value, span

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            match = SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def expect(self, character: str) -> None:
        if (found := self.peek()) != character:
            place = self.base + self.at
            raise ValueError(f"at byte {place}: expected {character!r}, found {found or 'the end'!r}")
        self.at += 1

    def more(self) -> bool:
        """Moves the window on and lengthens it; False at the end of the file."""
        piece = self.file.read(max(WINDOW, len(self.text) - self.at))
        if piece:
            self.text = self.text[self.at :] + piece.decode("latin-1")
            self.base, self.at = self.base + self.at, 0
        return bool(piece)
