"""Real Ray clusters of several nodes on this machine, small ones, and `bench run --executor ray` on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.execute.commands import children

OBJECTS = 80_000_000  # bytes of shared memory of a node
SUITE = """
name: many
title: one small network, many seeds
task: panoptic
sizes: [32x32]
models: [unet-small]
datasets: [scenes]
seeds: [{seeds}]
floors: false
"""
PROFILE = """
name: brief
summary: for tests
label: brief
reproduction: false
epochs: {epochs}
max_batch: 2
train_images: 8
val_images: 2
keep_weights: {weights}
"""
STEPS = 4  # of an epoch
ENV = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


@contextmanager
def cluster(head_cpus: int = 1) -> Iterator[Any]:
    """A head, to which nodes can be added. All its processes have ended afterwards."""
    from ray.cluster_utils import Cluster

    os.environ.update(RAY_USAGE_STATS_ENABLED="0")
    head = {"num_cpus": head_cpus, "object_store_memory": OBJECTS, "include_dashboard": False}
    head["_system_config"] = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        left = [pid for node in made.list_all_nodes() for pid in processes(node)]
        made.shutdown()
        kill(left)


def add_node(made: Any, cpus: int = 1) -> Any:
    return made.add_node(num_cpus=cpus, object_store_memory=OBJECTS)


def alive(made: Any) -> int:
    """How many nodes have joined and live."""
    return sum(node["Alive"] for node in made.global_state.node_table())


def processes(node: Any) -> list[int]:
    """A node's own, their workers, fork servers and runs."""
    found = [info.process.pid for infos in node.all_processes.values() for info in infos]
    for pid in found:
        found.extend(child for child in children(pid) if child not in found)
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def write(folder: Path, runs: int, epochs: int, weights: bool = False) -> None:
    (folder / "many.yaml").write_text(SUITE.format(seeds=", ".join(map(str, range(runs)))))
    (folder / "brief.yaml").write_text(PROFILE.format(epochs=epochs, weights=str(weights).lower()))


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "bench", "run", "--suite", "./many.yaml", "--profile", "./brief.yaml", *more]


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """In a process group of its own, as a terminal's foreground job."""
    return subprocess.Popen(
        command("--executor", "ray", *more),
        cwd=folder,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )


def done(folder: Path) -> int:
    """How many runs are."""
    return len(list((folder / "results").glob("*/status.json")))


def begun(folder: Path) -> int:
    return len(list((folder / "results").glob("*/attempts/*.json")))


def attempts(run: Path) -> list[dict[str, Any]]:
    """In the order of their numbers."""
    paths = sorted((run / "attempts").glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) for path in paths]


def check_records(folder: Path, runs: int, epochs: int) -> None:
    """Each run is done, once, with every epoch; nothing of the work on it is left over."""
    found = sorted((folder / "results").iterdir())
    assert len([run for run in found if run.is_dir()]) == runs
    for run in (run for run in found if run.is_dir()):
        status = json.loads((run / "status.json").read_text())
        assert status["state"] == "done", status
        made = attempts(run)
        assert status["attempt"] == len(made)
        ended = [one["number"] for one in made if "end" in one and "stopped" not in one]
        assert ended == [status["attempt"]], made
        lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == list(range(1, epochs + 1))
        assert [line["step"] for line in lines] == [STEPS * epoch for epoch in range(1, epochs + 1)]
        left = {path.name for path in run.iterdir() if path.name.startswith(".")} | {
            path.name for path in run.glob("checkpoint/step-*")
        }
        assert left == set()


def nodes_of(text: str) -> set[str]:
    """Those on which a command's runs started."""
    return {line.split("starting on node ")[1].split()[0] for line in text.splitlines() if "starting on node" in line}
