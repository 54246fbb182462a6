"""The sbatch script of a Slurm array: each of its elements is one `bench run --run-id`. No torch.

An element ends before its run where its time runs out, its node dies or a job of higher priority takes its place. It
is then queued again, by itself in the first case and by Slurm in the others, and goes on from the last checkpoint.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import write_bytes

MOST_ELEMENTS = 1001  # MaxArraySize of slurm.conf where a site does not set it: indices 0 to 1000
LEAVING = 120  # seconds before the end of the time, at least: a run saves after the step in hand
MARK = "# Written by `bench plan --slurm`"  # begins the second line: what has it is ours, and may be written again
YOURS, TO_HERE = "# ---- yours, kept when this is written again", "# ---- to here"
DEFAULTS = """\
# Time of one stretch: a run that needs more is saved, queued again and goes on.
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=4
# With one # less, and the names of your cluster:
##SBATCH --gres=gpu:1
##SBATCH --mem=16G
##SBATCH --partition=gpu
##SBATCH --account=mine
# More options of `bench run`, such as MORE=(--checkpoint-minutes 5); `module load` and the like also stand here.
MORE=()
"""
SCRIPT = """\
#!/bin/bash
{mark}. Submit it by `sbatch`, from anywhere; see docs/scaling.md
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@{leaving}
{yours}
{kept}{to_here}
RUNS=(
{runs}
)
cd -- {folder} || exit
ask() {{ kill -TERM $! 2>/dev/null; }}  # to save and leave
trap 'again=yes; ask' USR1  # the time is nearly over
trap ask TERM  # scancel, or a job of higher priority
{command} \\
  --run-id="${{RUNS[${{SLURM_ARRAY_TASK_ID:?submit this by sbatch}}]}}" "${{MORE[@]}}" &
while wait $!; code=$?; kill -0 $! 2>/dev/null; do :; done  # a signal ends `wait`, not the run
if [ -n "${{again-}}" ] && [ "$code" -gt 128 ]; then exec scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""


@dataclass(frozen=True)
class Array:
    """`command`: `bench run` with its options, executed in `folder`, for these runs."""

    name: str
    command: tuple[str, ...]
    folder: Path
    run_ids: tuple[str, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        """The run ids of each element, with commas between them: one, unless there are more than MOST_ELEMENTS."""
        return tuple(",".join(self.run_ids[first::MOST_ELEMENTS]) for first in range(len(self.run_ids))[:MOST_ELEMENTS])


def write_script(path: Path, array: Array) -> None:
    """Writes it, with the lines that are the user's as they stand there. Raises UserError where a file of another
    origin is there, OSError.
    """
    path = path.absolute()
    kept = _kept(path) if path.exists() else DEFAULTS
    write_bytes(path, os.fsencode(script_text(path, array, kept)))  # as the paths in it are encoded


def script_text(path: Path, array: Array, kept: str = DEFAULTS) -> str:
    """`path`: the script's own, absolute; the elements' output goes beside it."""
    log = str(path.with_name(f"{path.stem}-")).replace("%", "%%") + "%A_%a.log"
    if set("\n\\") & {*log, *array.name}:
        raise UserError(f"{str(path)!r}, {array.name!r}: sbatch takes no line break or backslash here; rename it")
    words = [shlex.quote(word) for word in array.command]
    return SCRIPT.format(
        mark=MARK,
        name=shlex.quote(array.name),
        last=len(array.elements) - 1,
        log=shlex.quote(log),
        leaving=LEAVING,
        yours=YOURS,
        kept=kept,
        to_here=TO_HERE,
        runs="\n".join(f"  {shlex.quote(element)}" for element in array.elements),
        folder=shlex.quote(str(array.folder)),
        command=" ".join(f"\\\n  {word}" if word.startswith(("--", "'--")) else word for word in words),
    )


def _kept(path: Path) -> str:
    """The user's lines of our script at `path`."""
    text = os.fsdecode(path.read_bytes()) if path.is_file() else ""
    whole = rf"#!/bin/bash\n{re.escape(MARK)}.*?\n{YOURS}\n(.*?)(?<=\n){TO_HERE}\n.*"
    parts = re.fullmatch(whole, text, flags=re.DOTALL)
    if parts is None:
        raise UserError(f"{path} is there and not a whole script of `bench plan --slurm`; name another file")
    return parts[1]
