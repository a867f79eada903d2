"""Provenance of a study (code, versions, command, host, seeds), and the process that writes a journal."""

from __future__ import annotations

import contextlib
import platform
import shlex
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal

from cnn_sweep.execution.machine import visible_gpus
from cnn_sweep.execution.study.git_state import git_state
from cnn_sweep.journal.events import Fault, Worker
from cnn_sweep.journal.identity import current, new_writer_name, user_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.masking import masked

if TYPE_CHECKING:
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.sweep import Sweep

Role = Literal["worker", "pool", "login"]
# Number of threads in the first line of the journal of a process that does not train.
DOES_NOT_TRAIN: Final = 0
_PACKAGES: Final = ("cnn-sweep", "tensorflow", "keras", "optuna", "numpy", "sqlalchemy", "submitit")
_VARIANTS: Final = ("tensorflow-cpu",)  # distributions of TensorFlow under another name


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages on which results depend."""
    versions = {"python": platform.python_version()}
    for package in (*_PACKAGES, *_VARIANTS):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def provenance(sweep: Sweep) -> dict[str, Any]:
    """Return the content of ``provenance.json``: code, versions, command, host and seeds of a study."""
    return {
        "study": sweep.study,
        "digest": sweep.digest,
        "source": sweep.source,
        "folder": str(sweep.folder.resolve()),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": masked(shlex.join(sys.argv)),
        "host": platform.node(),
        "versions": package_versions(),
        "seeds": [sweep.search.seed + repeat for repeat in range(sweep.search.repeats)],
        "git": git_state(sweep.folder),
    }


def start_journal(
    paths: StudyPaths, role: Role, *, writer: str | None = None, threads: int | None = None
) -> JournalWriter:
    """Begin this process's journal of a study; its first line describes the process.

    Args:
        paths: The study's files.
        role: What the process does: ``worker`` trains, ``pool`` keeps workers running, ``login`` is a command.
        writer: Name of the journal; by default a new one.
        threads: Threads with which a worker trains; only a worker has some.

    Raises:
        EnvironmentFault: The journal cannot be written.
    """
    if (role == "worker") != (threads is not None):
        raise ValueError(f"a {role} with {threads} threads")
    with shared_modes(paths.results):
        journal = JournalWriter(paths.journal(writer or new_writer_name()))
    journal.append(worker_event(threads=DOES_NOT_TRAIN if threads is None else threads))
    return journal


def worker_event(*, threads: int) -> Worker:
    """Describe this process for the first line of its journal.

    Args:
        threads: Threads with which it trains; ``DOES_NOT_TRAIN`` for a pool or a command.
    """
    gpus = visible_gpus() if threads != DOES_NOT_TRAIN else []
    extra = {"gpus": gpus} if gpus else {}
    return Worker(
        time=time.time(),
        identity=current(),
        versions=package_versions(),
        threads=threads,
        user=user_name(),
        extra=extra,
    )


def fault_event(message: str) -> Fault:
    """Return the event by which `status` can show why this pool cannot work."""
    slurm = current().slurm or {}
    job = slurm.get("array_job_id", slurm.get("job_id"))
    task = slurm.get("array_task_id")
    return Fault(time=time.time(), message=message, job=f"{job}_{task}" if task is not None else job)
