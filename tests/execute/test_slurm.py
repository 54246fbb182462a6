"""The script of a Slurm array, with bash in Slurm's place."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.execute.slurm import MOST_ELEMENTS, TO_HERE, YOURS, Array, script_text, write_script

SAY = "import json, os, sys; json.dump([os.getcwd(), *sys.argv[1:]], sys.stdout)"
SAVES = """
trap 'echo saved; exit 143' TERM
echo started
while :; do sleep 0.05; done
"""
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
PATIENCE = 60  # seconds


def array(*command: str, folder: Path = Path("/"), run_ids: tuple[str, ...] = ("a", "b")) -> Array:
    return Array("mine", command, folder, run_ids)


def element(script: Path, number: int = 0) -> subprocess.Popen[str]:
    """bash, as it would execute one element of the array. A `scontrol` beside the script is found."""
    surroundings = {
        **os.environ,
        "PATH": f"{script.parent}:{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_JOB_ID": "17",
    }
    return subprocess.Popen(["bash", str(script)], env=surroundings, stdout=subprocess.PIPE, text=True)


def with_lines(script: Path, lines: str) -> None:
    """The user writes these lines into the part of the script that is his."""
    before, _, rest = script.read_text().partition(f"{YOURS}\n")
    _, end, after = rest.partition(f"{TO_HERE}\n")
    script.write_text(f"{before}{YOURS}\n{lines}{end}{after}")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / 'it\'s "mine" $HOME 100%' / "runs.sh"


@pytest.fixture(autouse=True)
def folder(script: Path) -> Path:
    script.parent.mkdir()
    return script.parent


@given(arguments=st.lists(WORDS, max_size=4), run_ids=st.lists(WORDS, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_bash_gives_the_command_every_word_as_it_was(arguments: list[str], run_ids: list[str]) -> None:
    command = array("printf", r"%s\0", *arguments, run_ids=tuple(run_ids))
    text = script_text(Path("/runs.sh"), command)
    for number, run_id in enumerate(run_ids):
        surroundings = {**os.environ, "SLURM_ARRAY_TASK_ID": str(number)}
        done = subprocess.run(["bash", "-c", text], env=surroundings, stdout=subprocess.PIPE, check=True)
        assert done.stdout.decode().split("\0")[:-1] == [*arguments, f"--run-id={run_id}"]


def test_an_element_is_one_run_in_the_folder_of_the_command(script: Path, folder: Path) -> None:
    write_script(script, array(sys.executable, "-c", SAY, f"--results={folder}/results", folder=folder))
    with_lines(script, "MORE=(--device 'cuda:0 ')\n")
    out, _ = element(script, 1).communicate(timeout=PATIENCE)
    assert json.loads(out) == [str(folder), f"--results={folder}/results", "--run-id=b", "--device", "cuda:0 "]
    outside = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert outside.returncode != 0
    assert "SLURM_ARRAY_TASK_ID: submit this by sbatch" in outside.stderr


def test_sbatch_is_told_of_every_element_of_the_signal_and_of_the_log_beside(script: Path, folder: Path) -> None:
    write_script(script, array("true", run_ids=("a", "b", "c")))
    lines = script.read_text().splitlines()
    told = [shlex.split(line)[1:] for line in lines[: lines.index("MORE=()")] if line.startswith("#SBATCH ")]
    assert [word for (word,) in told[:6]] == [
        "--job-name=mine",
        "--array=0-2",
        f"--output={str(folder).replace('%', '%%')}/runs-%A_%a.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
    ]
    assert all(line.startswith("#") for line in lines[: lines.index("MORE=()")])  # sbatch reads on to the first other


def test_more_runs_than_slurm_has_elements_are_taken_in_turn() -> None:
    few = array(run_ids=("a", "b", "c"))
    assert few.elements == ("a", "b", "c")
    run_ids = tuple(f"r{number}" for number in range(2 * MOST_ELEMENTS + 1))
    elements = [element.split(",") for element in array(run_ids=run_ids).elements]
    assert len(elements) == MOST_ELEMENTS
    assert elements[0] == ["r0", "r1001", "r2002"]
    assert {len(element) for element in elements[1:]} == {2}
    assert sorted(run_id for element in elements for run_id in element) == sorted(run_ids)


def test_writing_it_again_keeps_the_lines_of_the_user_alone(script: Path) -> None:
    write_script(script, array("true", run_ids=("old",)))
    with_lines(script, "#SBATCH --partition=gpu\nmodule load cuda\nMORE=(--jobs 2)\n")
    kept = script.read_text()
    write_script(script, array("true", run_ids=("new", "other")))
    assert script.read_text() == kept.replace("  old\n", "  new\n  other\n").replace("--array=0-0", "--array=0-1")


@pytest.mark.parametrize("content", ["", "#!/bin/bash\necho mine\n", "\xff", None])
def test_a_file_that_is_not_ours_stays(script: Path, content: str | None) -> None:
    script.mkdir() if content is None else script.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"runs\.sh is there and not a whole script of `bench plan --slurm`"):
        write_script(script, array("true"))
    assert script.is_dir() if content is None else script.read_bytes() == content.encode("latin-1")


def test_a_path_that_is_no_utf8_comes_through(script: Path, folder: Path) -> None:
    strange = folder / os.fsdecode(b"\xff")
    strange.mkdir()
    for _ in range(2):
        write_script(script, array(sys.executable, "-c", SAY, folder=strange))
    out, _ = element(script).communicate(timeout=PATIENCE)
    assert json.loads(out)[0] == str(strange)


def test_a_script_of_ours_that_lost_its_lines_is_not_written_over(script: Path) -> None:
    write_script(script, array("true"))
    script.write_text(script.read_text().replace(TO_HERE, ""))
    with pytest.raises(UserError, match="not a whole script"):
        write_script(script, array("true"))


@pytest.mark.parametrize("name", ["back\\slash.sh", "line\nbreak.sh"])
def test_a_path_that_sbatch_cannot_read_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match="sbatch takes no line break or backslash"):
        write_script(folder / name, array("true"))
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("number", "at_end", "code", "queued_again"),
    [
        (signal.SIGUSR1, None, 0, True),  # scontrol takes the element's place, and ends well
        (signal.SIGTERM, None, 143, False),
        (None, 0, 0, False),
        (None, 1, 1, False),
    ],
)
def test_a_run_is_asked_to_save_and_its_element_queued_again_where_the_time_ends(
    script: Path, folder: Path, number: int | None, at_end: int | None, code: int, queued_again: bool
) -> None:
    (folder / "scontrol").write_text('#!/bin/bash\necho "scontrol $*"\n')
    (folder / "scontrol").chmod(0o755)
    body = SAVES if at_end is None else f"exit {at_end}"
    write_script(script, array("bash", "-c", body))
    bash = element(script)
    assert bash.stdout is not None
    if number is not None:
        assert bash.stdout.readline() == "started\n"
        bash.send_signal(number)
    out, _ = bash.communicate(timeout=PATIENCE)
    assert bash.returncode == code
    assert out == ("saved\n" if number else "") + ("scontrol requeue 17\n" if queued_again else "")


def test_a_run_that_ends_well_although_its_time_was_over_is_not_queued_again(script: Path, folder: Path) -> None:
    write_script(script, array("bash", "-c", SAVES.replace("143", "0")))
    bash = element(script)
    assert bash.stdout is not None
    assert bash.stdout.readline() == "started\n"
    bash.send_signal(signal.SIGUSR1)
    bash.communicate(timeout=PATIENCE)
    assert bash.returncode == 0
