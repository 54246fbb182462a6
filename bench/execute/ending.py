"""What is recorded of a process that has ended: its run's own record, or else how it died."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.lock import LOST, LostLeaseError
from bench.record import Status
from bench.spec import RunSpec
from bench.store import Store, read_attempt


def settle(
    spec: RunSpec, store: Store, code: int | None, number: int | None, output: Sequence[str], cause: str | None = None
) -> Status | None:
    """The run's status; where its process died without one, that is recorded as its failure. None: held elsewhere.

    code: its exit code; number: the attempt that it began, None where it came to none or left it to be gone on with;
    output: its last lines, kept with an attempt that failed; cause: why it was killed, where it was by us. Raises
    UserError where nothing can be written.
    """
    status = store.whole(spec.run_id)
    if code == 0 and (number is None or (status is not None and status.state == "done")):
        return status
    try:
        with store.lock(spec.run_id) as mine:
            return _record(spec, store, number, output, cause or _how(code, output)) if mine else None
    except LostLeaseError:
        return None
    except OSError as error:
        raise UserError(f"{store.root} cannot be written to: {error}; put that right and repeat the command") from None


def _record(spec: RunSpec, store: Store, number: int | None, output: Sequence[str], reason: str) -> Status:
    status = store.whole(spec.run_id)
    if status is not None and (status.state == "done" or status.attempt == number):
        return status if status.state == "done" else _finish(store, status, output)
    if number is None or not _attempt(store, spec.run_id, number).is_file():
        number = store.begin(spec)  # it came to no attempt, or its folder was removed
    return _finish(store, Status(run_id=spec.run_id, state="failed", attempt=number, reason=reason), output)


def _finish(store: Store, status: Status, output: Sequence[str]) -> Status:
    """Adds the output to the attempt; status.json comes last, as always."""
    path = _attempt(store, status.run_id, status.attempt)
    attempt: dict[str, Any] = {"schema_version": 1, "number": status.attempt}
    with suppress(UserError):  # absent or damaged
        attempt |= read_attempt(path)
    store.write_attempt(status.run_id, status.attempt, attempt | ({"log_tail": list(output)} if output else {}))
    store.finish(status)
    return status


def _attempt(store: Store, run_id: str, number: int) -> Path:
    return store.folder(run_id) / "attempts" / f"{number}.json"


def _how(code: int | None, output: Sequence[str]) -> str:
    if code == LOST:
        return "its process lost its folder: that was removed, or taken over by another `bench run`"
    if code == -signal.SIGKILL:
        return "its process was killed by SIGKILL, as the kernel does where memory runs out"
    if code is not None and code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    last = f" ({output[-1]})" if output else ""
    return f"its process ended with exit code {code}{last}"
