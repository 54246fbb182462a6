"""A run that dies takes nothing with it: real crashes in real processes, by the networks of misbehaving/."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CAUSES = {
    "fail": "ValueError: no pupil in …/images/7.png on <host>",
    "exit": "its process ended with exit code 3 (about to _exit)",
    "leave": "its process ended with exit code 0",
    "segfault": "its process was killed by SIGSEGV",
    "take-memory": "out of memory (RuntimeError",
    "hang": "no progress for 0.25 minutes",
    "be-killed": "its process was killed by SIGKILL, as the kernel does where memory runs out",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, bad_suites: Any) -> tuple[Any, int, str]:
    """The suite after its first run, with the exit code and what was printed."""
    suite = bad_suites(tmp_path_factory.mktemp("bad"), ("behave", *CAUSES))
    return suite, *suite.run("--jobs", "2", "--stall-minutes", "0.25")


def test_the_suite_goes_on_and_says_so(ended: tuple[Any, int, str]) -> None:
    suite, code, text = ended
    assert code == 1, text
    assert suite.states() == {"behave": "done", **dict.fromkeys(CAUSES, "failed")}
    assert "1 done, 7 failed" in text
    assert "`--only failed`" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("deed", CAUSES)
def test_its_cause_is_recorded_and_said(ended: tuple[Any, int, str], deed: str) -> None:
    suite, _, text = ended
    reason = suite.statuses()[deed]["reason"]
    assert reason.startswith(CAUSES[deed])
    (line,) = [line for line in text.splitlines() if line.startswith(f"  failed: {deed}-")]
    assert line.endswith(reason)


@pytest.mark.parametrize("deed", CAUSES)
def test_the_last_lines_that_it_printed_are_recorded(ended: tuple[Any, int, str], deed: str) -> None:
    (attempt,) = ended[0].attempts(deed)
    tail = attempt["log_tail"]
    assert f"about to _{deed.replace('-', '_')}" in tail
    assert attempt["versions"]["torch"]  # what it ran on is still there
    if deed in ("segfault", "hang"):  # where it was
        assert any("misbehaving.py" in line and f"in _{deed}" in line for line in tail)
    if deed == "segfault":
        assert "Fatal Python error: Segmentation fault" in tail


def test_no_name_of_this_machine_is_in_a_record(ended: tuple[Any, int, str]) -> None:
    suite = ended[0]
    text = "".join(path.read_text() for path in (suite.folder / "results").rglob("*.json"))
    for name in (str(suite.folder), str(Path.home()) + "/", "somebody"):
        assert name not in text
    for word in {socket.gethostname(), getpass.getuser()} - {"root"}:
        assert not re.search(rf"\b{re.escape(word)}\b", text)


def test_only_the_failed_ones_run_again(ended: tuple[Any, int, str]) -> None:
    suite = ended[0]
    code, text = suite.run("--only", "failed", "--jobs", "2", misbehave=False)
    assert code == 0, text
    assert "8 runs, 1 done, 7 to run" in text
    assert suite.states() == dict.fromkeys(("behave", *CAUSES), "done")
    assert [len(suite.attempts(deed)) for deed in ("behave", *CAUSES)] == [1, 2, 2, 2, 2, 2, 2, 2]
    assert "log_tail" not in suite.attempts("segfault")[1]
