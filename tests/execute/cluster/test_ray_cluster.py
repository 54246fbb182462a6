"""Real Ray clusters of two nodes: runs on both, a node and a driver that are killed, a stop, a folder not shared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.execute.cluster import ray_nodes
from tests.execute.commands import finish, wait_for

pytest.importorskip("ray", reason="Ray is not installed: the extra `ray`")
pytestmark = pytest.mark.slow
RUNS, EPOCHS = 24, 2


def test_a_killed_driver_is_started_again_and_nothing_is_done_twice(tmp_path: Path) -> None:
    ray_nodes.write(tmp_path, RUNS, EPOCHS)
    with ray_nodes.cluster() as cluster:
        ray_nodes.add_node(cluster)
        first = ray_nodes.start(tmp_path, "--address", cluster.address)
        wait_for(lambda: ray_nodes.done(tmp_path) >= 5 or first.poll() is not None)
        first.kill()
        _, text = finish(first)
        assert len(ray_nodes.nodes_of(text)) == 2, text
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*/status.json")}
        code, text = finish(ray_nodes.start(tmp_path, "--address", cluster.address))
    assert code == 0, text
    assert len(ray_nodes.nodes_of(text)) == 2, text
    assert f"{RUNS} runs, " in text
    for path, time in before.items():
        assert path.stat().st_mtime_ns == time
    ray_nodes.check_records(tmp_path, RUNS, EPOCHS)
    marks = list((tmp_path / "results").glob(".cluster-*"))
    assert len(marks) == 1  # the killed driver's


def test_a_killed_node_loses_no_run(tmp_path: Path) -> None:
    ray_nodes.write(tmp_path, RUNS, EPOCHS)
    with ray_nodes.cluster() as cluster:
        node = ray_nodes.add_node(cluster)
        driver = ray_nodes.start(tmp_path, "--address", cluster.address)
        wait_for(lambda: ray_nodes.done(tmp_path) >= 5 or driver.poll() is not None)
        ray_nodes.kill(ray_nodes.processes(node))
        code, text = finish(driver)
    assert code == 0, text
    assert len(ray_nodes.nodes_of(text)) == 2, text
    assert "its worker got lost (" in text
    assert "raylet" not in text  # Ray's own words stay out of the terminal
    assert "given again, 1 of 3 times" in text
    ray_nodes.check_records(tmp_path, RUNS, EPOCHS)
    assert "Traceback" not in text


@pytest.mark.nightly
def test_sigterm_saves_and_so_does_a_run_whose_driver_is_killed_and_the_same_command_goes_on(tmp_path: Path) -> None:
    epochs = 40
    ray_nodes.write(tmp_path, 1, epochs)
    with ray_nodes.cluster() as cluster:
        driver = ray_nodes.start(tmp_path, "--address", cluster.address)
        wait_for(lambda: list((tmp_path / "results").glob("*/checkpoint/step-*")) or driver.poll() is not None)
        driver.send_signal(signal.SIGTERM)
        code, text = finish(driver)
        assert code == 143, text
        assert text.count("stopping: each run saves after the step in hand") == 1
        assert "stopped, saved at step " in text
        assert text.splitlines()[-2:] == [
            "0 done, 1 stopped",
            "stopped by SIGTERM; the same command goes on from there",
        ]
        (run,) = (tmp_path / "results").glob("unet-small-*")
        driver = ray_nodes.start(tmp_path, "--address", cluster.address)
        wait_for(lambda: "resumed" in ray_nodes.attempts(run)[-1] or driver.poll() is not None)
        driver.kill()
        finish(driver)
        wait_for(lambda: "stopped" in ray_nodes.attempts(run)[-1])  # the run notices, and saves
        code, text = finish(ray_nodes.start(tmp_path, "--address", cluster.address))
    assert code == 0, text
    assert "goes on from step " in text
    first, second, third = ray_nodes.attempts(run)
    assert first["stopped"]["checkpoint"]["step"] == second["resumed"]["step"]
    assert second["stopped"]["checkpoint"]["step"] == third["resumed"]["step"]
    assert second["resumed"]["step"] < third["resumed"]["step"]
    ray_nodes.check_records(tmp_path, 1, epochs)


def can_unshare() -> bool:
    try:
        return (
            subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode
            == 0
        )
    except OSError:
        return False


@pytest.mark.skipif(not can_unshare(), reason="this user may not hide a folder from a node (unshare -m)")
def test_a_node_that_does_not_see_the_folder_sends_whole_and_equal_records(tmp_path: Path) -> None:
    """The node has empty folders where the driver's results and prepared data are."""
    ray_nodes.write(tmp_path, 2, EPOCHS, weights=True)
    for name in ("results", "prepared", "scratch"):
        (tmp_path / name).mkdir()
    with ray_nodes.cluster(head_cpus=0) as cluster:
        hidden = " && ".join(f"mount -t tmpfs none {tmp_path / name}" for name in ("results", "prepared"))
        node = subprocess.Popen(
            [
                *("unshare", "-m", "sh", "-c"),
                f"{hidden} && exec {sys.executable} -m ray.scripts.scripts start --address={cluster.address} "
                f"--num-cpus=1 --object-store-memory={ray_nodes.OBJECTS} --block",
            ],
            env={**ray_nodes.ENV, "TMPDIR": str(tmp_path / "scratch")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_for(lambda: ray_nodes.alive(cluster) == 2)
            code, text = finish(ray_nodes.start(tmp_path, "--address", cluster.address))
        finally:
            os.killpg(node.pid, signal.SIGTERM)
            node.wait(60)
    assert code == 0, text
    ray_nodes.check_records(tmp_path, 2, EPOCHS)
    assert len(list((tmp_path / "scratch").glob("maskattn-bench-*/*/prepared/scenes/*"))) == 2  # train and val
    assert list((tmp_path / "scratch").glob("maskattn-bench-*/*/results/*/status.json")) == []
    here = subprocess.run(
        ray_nodes.command("--results", "local"),
        cwd=tmp_path,
        env=ray_nodes.ENV,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),  # one thread, as the node has
    )
    assert here.returncode == 0, here.stderr
    for run in (tmp_path / "local").iterdir():
        there = tmp_path / "results" / run.name
        for name in ("metrics.json", "history.jsonl", "network.json", "spec.json", "images.parquet", "longrange.json"):
            assert (there / name).exists() == (run / name).exists()
            if (run / name).exists():
                assert (there / name).read_bytes() == (run / name).read_bytes(), name
        assert (there / "checkpoint" / "weights.safetensors").read_bytes() == (
            run / "checkpoint" / "weights.safetensors"
        ).read_bytes()
        pictures = sorted(path.name for path in (run / "samples").iterdir())
        assert pictures
        assert [path.name for path in sorted((there / "samples").iterdir())] == pictures
        status = json.loads((there / "status.json").read_text())
        assert status["files"].keys() == json.loads((run / "status.json").read_text())["files"].keys()
