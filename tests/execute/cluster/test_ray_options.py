"""`--executor ray`: its options, its mistakes, and that nobody else pays for it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.cli import main

RUN = ("run", "--suite", "table4")
NO_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the extra `ray`")


def mistake(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """The one line that is said."""
    try:
        code = main([*RUN, *more])
    except SystemExit as left:
        code = int(str(left.code))
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    return said.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--executor", "ray", "--jobs", "2"], "--jobs is for this machine"),
        (["--executor", "ray", "--device", "cpu"], "--device is for this machine"),
        (["--address", "a:1"], "--address is for a cluster; give --executor ray, too"),
        (["--cpus-per-run", "2"], "--cpus-per-run is for a cluster"),
        (["--gpus-per-run", "0"], "--gpus-per-run is for a cluster"),
        (["--executor", "ray", "--gpus-per-run", "2"], "a number from 0 to 1, got '2'"),
        (["--executor", "ray", "--gpus-per-run", "nan"], "a number from 0 to 1, got 'nan'"),
        (["--executor", "ray", "--cpus-per-run", "0"], "whole number from 1"),
        (["--executor", "dask"], "invalid choice: 'dask'"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    assert said in mistake(capsys, *more)


def test_without_ray_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.commands.ray_cluster.find_spec", lambda name: None)
    assert "python -m pip install ray" in mistake(capsys, "--executor", "ray")


@NO_RAY
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://127.0.0.1:10001", "a driver runs on a node of the cluster; give HOST:PORT"),
        ("127.0.0.1", "--address is HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster answers at 127.0.0.1:99999"),
        ("no-such-host.invalid:6379", "no Ray cluster answers at no-such-host.invalid:6379"),
    ],
)
def test_an_address_that_cannot_be_reached_is_one_line(
    capsys: pytest.CaptureFixture[str], address: str, said: str
) -> None:
    assert said in mistake(capsys, "--executor", "ray", "--address", address)


@NO_RAY
def test_a_port_that_nobody_listens_at_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "(Connection refused)" in mistake(capsys, "--executor", "ray", "--address", address)


@NO_RAY
def test_another_server_at_the_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray itself would try for three minutes."""

    def answer() -> None:
        caller, _ = server.accept()
        with caller:
            caller.recv(100)
            caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        said = mistake(capsys, "--executor", "ray", "--address", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert "(something else listens there)" in said


@NO_RAY
@pytest.mark.parametrize(
    ("cpus", "gpus", "resources", "runs"),
    [
        (1, 0.0, {"CPU": 8.0}, 8),
        (3, 0.0, {"CPU": 8.0, "GPU": 1.0}, 2),
        (1, 1.0, {"CPU": 8.0, "GPU": 2.0}, 2),
        (1, 0.5, {"CPU": 8.0, "GPU": 2.0}, 4),
        (1, 0.4, {"CPU": 8.0, "GPU": 2.0}, 4),  # 0.8 of each: a third has no GPU left that is large enough
        (1, 0.1, {"CPU": 64.0, "GPU": 1.0}, 10),
        (1, 0.5, {"CPU": 3.0, "GPU": 2.0}, 3),
        (1, 1.0, {"CPU": 8.0}, 0),
        (16, 0.0, {"CPU": 8.0}, 0),
        (1, 0.0, {}, 0),
    ],
)
def test_how_many_runs_a_node_has_room_for(cpus: int, gpus: float, resources: dict[str, float], runs: int) -> None:
    from bench.execute.cluster.connection import Resources

    assert Resources(cpus, gpus).room(resources) == runs


def test_no_command_imports_ray_unless_asked(tmp_path: Path) -> None:
    code = (
        "import sys; from bench.cli import main; import bench.commands.carry_out; "
        "main(['run', '--suite', 'table4', '--jobs', '1', '--datasets', 'coco']); "
        "assert 'ray' not in sys.modules, 'ray'; print('none')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("none\n"), done.stderr
