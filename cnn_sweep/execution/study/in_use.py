"""Whether somebody works on a study: processes that hold its journals open, jobs in the queue, and unfinished attempts.

Studies are renamed, archived and deleted only when nobody does; who runs one that is running is told.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.execution.study.jobs import is_running, queue_of
from cnn_sweep.execution.study.provenance import DOES_NOT_TRAIN
from cnn_sweep.journal.decoding import BadLineError, from_json
from cnn_sweep.journal.events import Worker
from cnn_sweep.journal.history import History, journal_sizes
from cnn_sweep.journal.identity import is_alive, is_own_writer
from cnn_sweep.journal.log import read_from
from cnn_sweep.messages import few, plural
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.sweep.states import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cnn_sweep.execution.study.jobs import Queue
    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.journal.paths import StudyPaths

_FIRST_LINE_BYTES = 4096


def check_unused(paths: StudyPaths, *, force: bool) -> None:
    """Check that nobody works on a study.

    Args:
        paths: Files of the study.
        force: Whether to accept unfinished attempts of workers that cannot be asked from here, and a Slurm that does
            not answer.

    Raises:
        StudyError: The study runs, is queued, or may be running elsewhere; the message says where and what to do.
        EnvironmentFault: Slurm does not answer.
    """
    name = paths.study
    stop = f"`cnn-sweep cancel {name}` stops it; try again when it has ended"
    workers = {writer: found for writer, found in _processes(paths) if not is_own_writer(writer)}
    if alive := [one for one in workers.values() if is_alive(one) and _holds_files(one, paths)]:
        where = few([f"process {one.pid} on {one.host}" for one in alive], 3)
        raise StudyError(f"study {name!r} is running: {where}; {stop}")
    queue = _queue(paths, workers.values(), force=force)
    if queue is not None and queue.jobs:
        jobs = few([f"{job.job} ({counted(job.states)})" for job in queue.jobs], 3)
        raise StudyError(f"study {name!r} has jobs in Slurm's queue: {jobs}; {stop}")
    if not force and (unfinished := list(_unfinished_elsewhere(paths, workers, queue))):
        trials = few([f"trial {number} on {host}" for number, host in unfinished], 3)
        raise StudyError(
            f"study {name!r} may be running: {plural(len(unfinished), 'trial has', 'trials have')} not ended "
            f"({trials}), and whether they train cannot be seen from this machine; {stop}, or add --force if nothing "
            "runs there any more"
        )


def who_trains(paths: StudyPaths) -> str | None:
    """Return who trains a study now besides this process, as words; None if nobody is known to."""
    workers = [
        found.identity
        for writer, found in _first_events(paths)
        if found.threads != DOES_NOT_TRAIN and not is_own_writer(writer)
    ]
    alive = [one for one in workers if is_alive(one) and _holds_files(one, paths)]
    queue = _queue(paths, (), force=True)
    where = [f"process {one.pid} on {one.host}" for one in alive]
    parts = [f"{plural(len(alive), 'worker')} ({few(where, 3)})"] if alive else []
    parts += [f"job {job.job} ({counted(job.states)})" for job in queue.jobs] if queue else []
    return few(parts, 3) or None


def _queue(paths: StudyPaths, workers: Iterable[ProcessIdentity], *, force: bool) -> Queue | None:
    if shutil.which("squeue") is None:
        return None
    try:
        return queue_of(paths, SlurmCli(), workers)
    except EnvironmentFault as fault:
        if force:
            return None
        raise EnvironmentFault(
            f"study {paths.study!r} may have jobs in Slurm's queue: {fault}; try again later, or add --force if it has "
            "none"
        ) from fault


def _processes(paths: StudyPaths) -> Iterator[tuple[str, ProcessIdentity]]:
    """Yield the name and the process of each journal."""
    yield from ((writer, found.identity) for writer, found in _first_events(paths))


def _first_events(paths: StudyPaths) -> Iterator[tuple[str, Worker]]:
    """Yield the name of each journal and what it says about its process, from its first line alone."""
    for writer, _ in journal_sizes(paths):
        bodies = read_from(paths.journal(writer), limit=_FIRST_LINE_BYTES).bodies
        try:
            first = from_json(bodies[0]) if bodies else None
        except BadLineError:
            continue
        if isinstance(first, Worker):
            yield writer, first


def _holds_files(identity: ProcessIdentity, paths: StudyPaths) -> bool:
    """Return whether a live process of this machine has files of a study open; a notebook may be done with it."""
    inside = paths.folder.resolve()
    try:
        with os.scandir(f"/proc/{identity.pid}/fd") as entries:
            return any(Path(entry.path).readlink().is_relative_to(inside) for entry in entries)
    except FileNotFoundError:  # it ended, or closed a file, at this moment
        return Path(f"/proc/{identity.pid}").exists()
    except OSError:
        return True


def _unfinished_elsewhere(
    paths: StudyPaths, workers: Mapping[str, ProcessIdentity], queue: Queue | None
) -> Iterator[tuple[int, str]]:
    """Yield the running trials whose workers may be alive, each with the name of its machine."""
    if all(is_running(identity, queue) is False for identity in workers.values()):
        return  # without reading all journals
    for number, trial in sorted(History.read(paths).trials.items()):
        if trial.state != "running":
            continue
        identity = workers.get(trial.last.writer or "")
        if identity is None:
            yield number, "an unknown machine"
        elif is_running(identity, queue) is not False:
            yield number, identity.host
