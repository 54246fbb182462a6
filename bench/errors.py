"""Exit codes, and the user's mistakes: one clear line and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130  # exit codes


class UserError(Exception):
    """Something the user can put right: the message names the thing, what was found and expected, the next step."""


def unknown(kind: str, found: str, known: Iterable[str], where: str = "") -> UserError:
    """The error for a name that is not known, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
    place = f" in {where}" if where else ""
    return UserError(f"unknown {kind} '{found}'{place}; {hint}")
