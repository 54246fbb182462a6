"""Several `bench run` on the same results: each run is executed once, and only a dead one's is taken over."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

RUNS = ("first", "second", "third", "fourth")


def at_once(suite: Any, count: int) -> list[str]:
    """What so many commands printed that began together. None of them met a mistake."""
    processes = [suite.start() for _ in range(count)]
    texts = [process.communicate(timeout=540)[0] for process in processes]
    assert {process.returncode for process in processes} <= {0, 1}, texts  # 1: some run was left to another
    return texts


def check(tmp_path: Path, bad_suites: Any, count: int) -> None:
    log = tmp_path / "log"
    suite = bad_suites(tmp_path, RUNS, {"TARGET": str(log)})
    texts = at_once(suite, count)
    assert Counter(log.read_text().split()) == dict.fromkeys(RUNS, 1)
    assert suite.states() == dict.fromkeys(RUNS, "done")
    assert [len(suite.attempts(run)) for run in RUNS] == [1, 1, 1, 1]
    assert not any("failed" in text for text in texts)
    code, text = suite.run()
    assert code == 0
    assert "4 runs, 4 done, nothing to do" in text


@pytest.mark.slow
def test_two_commands_share_the_runs(tmp_path: Path, bad_suites: Any) -> None:
    check(tmp_path, bad_suites, 2)


@pytest.mark.slow
def test_twenty_commands_share_the_runs(tmp_path: Path, bad_suites: Any) -> None:
    check(tmp_path, bad_suites, 20)


@pytest.mark.slow
def test_a_live_holder_is_left_alone_and_a_dead_one_is_not(tmp_path: Path, bad_suites: Any) -> None:
    suite = bad_suites(tmp_path, ("hang",))
    holder = suite.start()
    try:
        for _ in range(1200):
            if (tmp_path / "results").is_dir() and suite.attempt_count("hang"):
                break
            time.sleep(0.1)
        code, text = suite.run()
        assert code == 1
        assert "another `bench run` has it in hand; left to it" in text
        assert suite.attempt_count("hang") == 1
    finally:
        os.killpg(holder.pid, signal.SIGKILL)  # the command, its fork server and its runs
        holder.communicate()
    start = time.monotonic()
    code, text = suite.run(misbehave=False)
    assert code == 0, text
    assert time.monotonic() - start < 60  # no waiting for a lease to run out
    assert suite.states() == {"hang": "done"}
    assert len(suite.attempts("hang")) == 2
