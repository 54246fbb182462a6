"""What a failure is called in a record: its cause in one line, without the names of this machine. No torch."""

from __future__ import annotations

import errno
import getpass
import os
import re
import socket
import sys

from bench.machine import PROJECT

PART = r"[^\s/'\":,;()\[\]]+"
HOME = re.compile(rf"/(?:home|Users)/{PART}")  # anybody's, wherever it stands
ABSOLUTE = re.compile(rf"(?:(?<![\w.:/~-])|(?<=file://)|(?<=[\w.]:))/(?:{PART}/)+(?={PART}/{PART})")
FULL = (errno.ENOSPC, errno.EDQUOT)
NO_MEMORY = ("can't allocate memory", "out of memory")  # torch on a CPU; torch on a GPU, and others


def reason_of(error: BaseException) -> str:
    """The error's kind and first line; where memory or disk ran out, that comes first."""
    line = (str(error).splitlines() or [""])[0]
    text = scrub(f"{type(error).__name__}: {line}")
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in NO_MEMORY):
        return f"out of memory ({text})"
    if isinstance(error, OSError) and error.errno in FULL:
        return f"the disk is full ({text})"
    return text


def scrub(text: str) -> str:
    """A text without host, user and folders of this machine: records go into git.

    Paths of the project and of installed packages begin there; of all others the last two parts are
    left, and of a home `~`.
    """
    for folder in sorted((str(PROJECT), sys.prefix, sys.base_prefix), key=len, reverse=True):  # one may hold another
        text = text.replace(folder + os.sep, "")
    text = ABSOLUTE.sub("…/", HOME.sub("/~", text))
    host = socket.gethostname()
    for word, stand_in in ((host, "<host>"), (host.partition(".")[0], "<host>"), (_user(), "<user>")):
        if len(word) > 1 and word not in ("root", "localhost"):
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", stand_in, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return ""
