"""The identity of a process, which remains unique when its process ID is reused."""

from __future__ import annotations

import os
import pwd
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
    "uid": "SLURM_JOB_UID",
}
_NUMBERS_OF_SLURM = ("job_id", "array_job_id", "array_task_id", "restart_count")
_START_TIME = 19  # index of field 22 of /proc/<pid>/stat, counted from field 3, the state


@dataclass(frozen=True)
class ProcessIdentity:
    """One process on one machine, distinct from every other process at any time.

    Attributes:
        host: The machine's name.
        boot_id: The kernel's random ID of the current boot.
        pid_namespace: The namespace of ``pid``; containers have their own.
        pid: Process ID.
        started: Start time, in clock ticks since boot.
        slurm: job_id, array_job_id, array_task_id, restart_count, cluster and uid from Slurm; None outside a job.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: int
    slurm: dict[str, str] | None = None

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> ProcessIdentity:
        """Rebuild an identity from the result of :meth:`to_data`; fields of newer versions are ignored.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: The data are not those of an identity.
        """
        names = {name: data[name] for name in ("host", "boot_id", "pid_namespace")}
        numbers = {name: data[name] for name in ("pid", "started")}
        slurm = dict(data.get("slurm") or {})
        numeric = [slurm[name] for name in _NUMBERS_OF_SLURM if slurm.get(name)]
        if not all(isinstance(text, str) for text in (*names.values(), *slurm, *slurm.values())):
            raise TypeError(f"not an identity: {data!r}")
        if not all(type(number) is int for number in numbers.values()) or not all(map(str.isdecimal, numeric)):
            raise ValueError(f"not an identity: {data!r}")
        if slurm and "job_id" not in slurm:
            raise KeyError("job_id")
        return cls(**names, **numbers, slurm=slurm or None)

    def to_data(self) -> dict[str, Any]:
        """Return the identity as plain data for JSON."""
        return asdict(self)


def current() -> ProcessIdentity:
    """Return the identity of this process."""
    return ProcessIdentity(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        started=_process(os.getpid())[1],
        slurm=_slurm(),
    )


def is_alive(identity: ProcessIdentity) -> bool | None:
    """Return whether a process is still running; None if that cannot be determined from here.

    The result is True or False only for processes of this machine and PID namespace. Processes from before the last
    boot are dead, and so are zombies, which have exited but have not been waited for.
    """
    if not identity.boot_id or not _boot_id():
        return None
    if identity.boot_id != _boot_id():
        # Many machines share a default host name, so it identifies none of them.
        named = not identity.host.startswith("localhost") and identity.host != ""
        return False if named and identity.host == socket.gethostname() else None
    if identity.pid_namespace != _pid_namespace():
        return None
    state, started = _process(identity.pid)
    return started == identity.started and state not in {"Z", "X"}


def user_name(uid: int | None = None) -> str:
    """Return the name of a user, by default of this process's; the number of one without a name."""
    number = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def new_writer_name() -> str:
    """Return a name for this process's journal that no other process ever uses; safe as a file name."""
    return f"{_own_prefix()}{secrets.token_hex(4)}"


def is_own_writer(name: str) -> bool:
    """Return whether this process gave a journal its name."""
    return name.startswith(_own_prefix())


def process_tag() -> str:
    """Return a name for one temporary file of this process, from which others see whether the process still runs."""
    pid = os.getpid()
    return "-".join((_own_host(), str(pid), str(_process(pid)[1]), *_machine(), secrets.token_hex(4)))


def tag_is_alive(tag: str) -> bool | None:
    """Return whether the process of a :func:`process_tag` still runs; None as for :func:`is_alive`."""
    host, *rest = tag.rsplit("-", 5)
    if len(rest) != 5 or host != _own_host() or not rest[0].isdecimal():
        return None
    pid, started, boot, namespace, _ = rest
    if boot != _machine()[0]:
        return None if host.startswith("localhost") else False
    if namespace != _machine()[1] or not _boot_id():
        return None
    state, now_started = _process(int(pid))
    return str(now_started) == started and state not in {"Z", "X"}


def _machine() -> tuple[str, str]:
    """Return this machine's boot and this process's namespace of process IDs as parts of a file name."""
    return _boot_id()[:8] or "unknown", re.sub(r"\D", "", _pid_namespace()) or "0"


def _own_prefix() -> str:
    pid = os.getpid()
    return f"{_own_host()}-{pid}-{_process(pid)[1]}-"


def _own_host() -> str:
    """Return this machine's name as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:48] or "host"


def _slurm() -> dict[str, str] | None:
    found = {key: os.environ[name] for key, name in _SLURM.items() if os.environ.get(name)}
    return found if "job_id" in found else None


def _process(pid: int) -> tuple[str, int]:
    """Return a process's state letter and start time; ("X", -1) if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "X", -1
    # The command's name is in parentheses and may itself contain spaces and parentheses.
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
