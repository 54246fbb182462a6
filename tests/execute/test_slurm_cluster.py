"""An array on a real Slurm: every run ends, also those whose element was queued again or cancelled in the middle."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.execute.commands import PROFILE, SUITE, wait_for
from tests.execute.slurm_cluster import Cluster, NoClusterError

EPOCHS = 40  # four steps each: seconds, so that a signal comes in the middle
WHICH = ("--suite", "./one.yaml", "--profile", "./some.yaml")


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "slurm")
    try:
        cluster.start()
        yield cluster
    except NoClusterError as error:
        pytest.skip(str(error))
    finally:
        cluster.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / 'it\'s "mine" 100%'
    folder.mkdir()
    (folder / "one.yaml").write_text(SUITE.replace("floors", "seeds: [0, 1, 2]\nfloors"))
    (folder / "some.yaml").write_text(PROFILE.format(name="some", epochs=EPOCHS, images=8) + "max_seeds: 3\n")
    yield folder
    print(*(path.read_text() for path in folder.glob("*.log")))  # noqa: T201


def bench(folder: Path, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def submit(slurm: Cluster, script: Path, *options: str) -> str:
    """The job's number. It runs in the cluster's folder: a script does not depend on where it is submitted."""
    said = slurm.ask("sbatch", "--time=10", "--cpus-per-task=1", *options, str(script))
    found = re.fullmatch(r"Submitted batch job (\d+)\n", said)
    assert found is not None, said
    return found[1]


def one_processor_each(script: Path) -> None:
    """As clusters do it, by cgroups or task/affinity; in the lines of the script that are the user's."""
    cpus = " ".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    confine = f"CPUS=({cpus})\ntaskset --cpu-list --pid ${{CPUS[SLURM_ARRAY_TASK_ID % ${{#CPUS[@]}}]}} $$\n"
    script.write_text(script.read_text().replace("MORE=()\n", f"MORE=()\n{confine}"))


def attempts(folder: Path, seed: int) -> list[dict[str, Any]]:
    paths = sorted((folder / "results").glob(f"unet-small-*-s{seed}-*/attempts/*.json"))
    return [json.loads(path.read_text()) for path in paths]


def is_saved(folder: Path, seed: int) -> bool:
    return any((folder / "results").glob(f"unet-small-*-s{seed}-*/checkpoint/step-*.safetensors"))


@pytest.mark.slow
def test_every_run_of_an_array_ends_and_those_that_were_interrupted_go_on(slurm: Cluster, folder: Path) -> None:
    assert "runs.sh: 3 runs in 3 elements" in bench(folder, "plan", *WHICH, "--slurm", "runs.sh")
    assert "to start at" in slurm.ask("sbatch", "--test-only", "--cpus-per-task=1", str(folder / "runs.sh"))
    one_processor_each(folder / "runs.sh")
    job = submit(slurm, folder / "runs.sh")  # two of three at a time
    for seed, command in (
        (0, ("scontrol", "requeue", f"{job}_0")),  # as after a lost node, or for a job of higher priority
        (1, ("scancel", "--batch", "--signal=USR1", f"{job}_1")),  # as before the end of the time
        (2, ("scancel", f"{job}_2")),
    ):
        wait_for(lambda seed=seed: is_saved(folder, seed))  # type: ignore[misc]
        assert slurm.ask(*command) == ""
    wait_for(lambda: slurm.is_over(job))
    assert bench(folder, "status", *WHICH).startswith("2/3 done, 1 started\n")

    job = submit(slurm, folder / "runs.sh", "--array=1-2")  # 1 is done: it has nothing to do, and ends well
    wait_for(lambda: slurm.is_over(job))
    for element in (1, 2):
        assert "ExitCode=0:0" in slurm.ask("scontrol", "show", "job", f"{job}_{element}")
    assert bench(folder, "status", *WHICH) == "3/3 done\n"
    for seed in range(3):
        first, second = attempts(folder, seed)
        assert first["stopped"]["checkpoint"]["step"] > 0
        assert second["resumed"]["step"] == first["stopped"]["checkpoint"]["step"]
        assert second["resumed"]["made_by"]["attempt"] == 1
    assert "nothing to run" in bench(folder, "plan", *WHICH, "--slurm", "runs.sh")
