"""Joins a Ray cluster, or starts Ray on this machine; which nodes it has, and how many runs they have room for."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.errors import UserError

OBJECTS = 200_000_000  # bytes of shared memory for what is on its way: records, in pieces
REACHED = 5.0  # seconds for a first answer of an address
HERE = "local"
PREFACE, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"  # an empty frame of the type 4


@dataclass(frozen=True)
class Resources:
    """What each run is to have: whole processors, and GPUs or a part of one."""

    cpus: int
    gpus: float

    def room(self, resources: dict[str, float]) -> int:
        """How many runs there can be at a time on a node with these resources."""
        by_cpu = int(resources.get("CPU", 0) // self.cpus)
        if not self.gpus:
            return by_cpu
        each = int(1 / self.gpus + 1e-9)  # a run's part is never of two GPUs
        return min(by_cpu, int(resources.get("GPU", 0)) * each)


def connect(address: str | None) -> None:
    """Raises UserError, in one line, where there is no cluster at the address."""
    address = address or os.environ.get("RAY_ADDRESS") or HERE
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == HERE:
        cpus = len(os.sched_getaffinity(0))
        options |= {"num_cpus": cpus, "object_store_memory": OBJECTS, "include_dashboard": False}
    else:
        _reach(address)
    ray._private.worker._worker_logs_enabled = False  # log_to_driver leaves out what raylets say of lost workers
    with _unprinted() as printed:
        try:
            ray.init(address=address, **options)
            return
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            line = " ".join(str(error).split())[:300]
    if "InvalidAuthToken" in printed[0]:
        raise UserError(
            f"Ray at {address} wants a token: export RAY_AUTH_MODE=token, with the head's ~/.ray/auth_token"
        )
    raise UserError(f"Ray at {address}: {line}; `ray status` on its head says whether it runs")


def disconnect() -> None:
    """Ends Ray, where it was started here."""
    ray.shutdown()


def nodes() -> dict[str, dict[str, Any]]:
    """Those that live, by id."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def has_gpus() -> bool:
    return any(node["Resources"].get("GPU", 0) for node in nodes().values())


def room(resources: Resources) -> int:
    """How many runs the cluster can have at a time."""
    return sum(resources.room(node["Resources"]) for node in nodes().values())


def require_room(resources: Resources) -> int:
    """Raises UserError where no node is large enough for a run."""
    if (found := room(resources)) == 0:
        kinds = {_words(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in nodes().values()}
        raise UserError(
            f"no node of the cluster has {_words(resources.cpus, resources.gpus)} for a run; it has nodes of "
            f"{' and of '.join(sorted(kinds))}; see --cpus-per-run and --gpus-per-run"
        )
    return found


def on(node_id: str) -> NodeAffinitySchedulingStrategy:
    """On this node or nowhere."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def here() -> NodeAffinitySchedulingStrategy:
    """On the node of this process."""
    return on(ray.get_runtime_context().get_node_id())


@contextmanager
def errors_told() -> Iterator[None]:
    """Raises UserError for what a task raised that the user can put right, and for a cluster that is gone."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        if "failed to import on the worker" in str(error) or isinstance(error.cause, ImportError):
            raise UserError(
                "a node cannot import this project; install the same version for the Python that runs its `ray start`"
            ) from None
        raise
    except RayError as error:
        line = " ".join(str(error).split())[:300]
        raise UserError(f"Ray is not there any more ({line}); the same command goes on") from None


def _reach(address: str) -> None:
    if "://" in address:
        raise UserError(f"--address {address}: a driver runs on a node of the cluster; give HOST:PORT of its head")
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise UserError(f"--address is HOST:PORT of the cluster's head, as `ray start --head` says it; got {address!r}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACHED) as caller:
            reason = _spoken(caller)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason is not None:
        raise UserError(f"no Ray cluster answers at {address} ({reason}); `ray start --head` starts one")


@contextmanager
def _unprinted() -> Iterator[list[str]]:
    """Keeps what the block prints as errors, also where no Python prints it; it is in the list afterwards."""
    printed: list[str] = []
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield printed
        finally:
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            printed.append(kept.read().decode(errors="replace"))


def _spoken(caller: socket.socket) -> str | None:
    """Why what answers is no Ray: it speaks HTTP/2 (RFC 9113, 3.4), or TLS. Ray itself would try for minutes."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return None
    caller.sendall(PREFACE + SETTINGS)
    answer = caller.recv(len(SETTINGS))
    return None if answer[3:4] == SETTINGS[3:4] else "something else listens there"


def _words(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPUs and {gpus:g} GPUs"
