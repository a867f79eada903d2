"""The identity of a process, which stays unique when its process ID is reused."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_SLURM = {
    "job_id": "SLURM_JOB_ID",
    "array_job_id": "SLURM_ARRAY_JOB_ID",
    "array_task_id": "SLURM_ARRAY_TASK_ID",
    "restart_count": "SLURM_RESTART_COUNT",
    "submit_time": "CNN_SWEEP_SUBMIT_TIME",
    "cluster": "SLURM_CLUSTER_NAME",
}
_START_TIME = 19  # field 22 of /proc/<pid>/stat, counted from the state (field 3) on


@dataclass(frozen=True)
class ProcessIdentity:
    """One process on one machine, distinct from all others that ever ran.

    Attributes:
        host: The machine's name.
        boot_id: The kernel's random name of this run of the machine.
        pid_namespace: In which numbering ``pid`` counts (containers have their own).
        pid: Number of the process.
        started: When it started, in clock ticks since the machine's boot.
        slurm: job_id, array_job_id, array_task_id and restart_count as Slurm gave them; None outside a job.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: int
    slurm: dict[str, str] | None = None

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> ProcessIdentity:
        """Rebuild an identity from what :meth:`to_data` gave; fields of newer versions are ignored."""
        slurm = data.get("slurm")
        return cls(
            host=str(data["host"]),
            boot_id=str(data["boot_id"]),
            pid_namespace=str(data["pid_namespace"]),
            pid=int(data["pid"]),
            started=int(data["started"]),
            slurm={str(k): str(v) for k, v in slurm.items()} if slurm else None,
        )

    def to_data(self) -> dict[str, Any]:
        """Return the identity as plain data for JSON."""
        return asdict(self)


def current() -> ProcessIdentity:
    """Return the identity of the process that calls."""
    return ProcessIdentity(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        started=_process(os.getpid())[1],
        slurm=_slurm(),
    )


def is_alive(identity: ProcessIdentity) -> bool | None:
    """Return whether a process still runs; None where that cannot be judged from here.

    The answer is True or False only for processes of this machine and process namespace. A process from before the
    last boot is dead; so is one that exited and was not yet waited for.
    """
    if not identity.boot_id or not _boot_id():
        return None
    if identity.boot_id != _boot_id():
        # Machines that never were given a name of their own could be any of them.
        named = not identity.host.startswith("localhost") and identity.host != ""
        return False if named and identity.host == socket.gethostname() else None
    if identity.pid_namespace != _pid_namespace():
        return None
    state, started = _process(identity.pid)
    return started == identity.started and state not in {"Z", "X"}


def new_writer_name() -> str:
    """Return a name for this process's journal that no other process ever had; safe as a file name."""
    return f"{_own_prefix()}{secrets.token_hex(4)}"


def is_own_writer(name: str) -> bool:
    """Return whether this process gave a journal its name."""
    return name.startswith(_own_prefix())


def _own_prefix() -> str:
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:48] or "host"
    pid = os.getpid()
    return f"{host}-{pid}-{_process(pid)[1]}-"


def _slurm() -> dict[str, str] | None:
    found = {key: os.environ[name] for key, name in _SLURM.items() if os.environ.get(name)}
    return found if "job_id" in found else None


def _process(pid: int) -> tuple[str, int]:
    """Return a process's state letter and start time; ("X", -1) where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "X", -1
    # The command's name stands in parentheses and may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[_START_TIME])


@lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
