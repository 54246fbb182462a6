"""A Slurm of one node with two CPUs on this machine: its own daemons, in a folder of their own, on free ports."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0
KillWait=60
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""  # cred_expire: a job that was queued again waits so many seconds; 5 is the least
STARTS = 30  # seconds


class NoClusterError(Exception):
    """Slurm is not installed, or does not start here; the message says which."""


class Cluster:
    """Between `start` and `stop`. Every process of it, and of its jobs, has the name of its slurm.conf in its
    environment, which is how they are found when it ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{os.environ['PATH']}:/usr/sbin"  # where the daemons are, and not on everyone's path
        self.environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Raises NoClusterError."""
        for name in ("slurmctld", "slurmd", "sbatch"):
            if shutil.which(name, path=self.environment["PATH"]) is None:
                raise NoClusterError(f"no {name} here: Debian's package slurm-wlm brings it")
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        settings = {"host": socket.gethostname().partition(".")[0], "user": getpass.getuser(), "ports": _free_ports()}
        (self.folder / "slurm.conf").write_text(CONF.format(folder=self.folder, **settings))
        for name in ("slurmctld", "slurmd"):
            command = [str(shutil.which(name, path=self.environment["PATH"])), "-D"]
            with (self.folder / f"{name}.out").open("w") as out:
                self._daemons.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))
        until = time.monotonic() + STARTS
        while "idle" not in self.ask("sinfo", "--noheader", "--format=%t"):
            if time.monotonic() > until:
                logs = [path.read_text(errors="replace").splitlines()[-1:] for path in self.folder.glob("*.out")]
                raise NoClusterError(f"Slurm does not start here: {logs}")
            time.sleep(0.2)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints, errors and all."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    def is_over(self, job: str) -> bool:
        """Whether none of its elements waits or runs; asked twice a second at most."""
        time.sleep(0.5)
        return self.ask("squeue", "--noheader", f"--job={job}") == ""

    def stop(self) -> None:
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        while found := [pid for pid in _processes() if mark in _environ(pid)]:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for daemon in self._daemons:
            daemon.wait()


def _free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], other.getsockname()[1]]


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid()]


def _environ(pid: int) -> list[bytes]:
    """Empty of a process that is over, and of another user's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
