"""The number of threads of a study's workers, the same for all trials.

The number of threads changes the order of summation and so the results; trials with different numbers cannot be ranked
together. The sweep file sets it (``training: {threads: 4}``), else the first run, else it is one. The first run records
it in the study's folder, and later runs must use it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cnn_sweep.errors import DamagedFileError, StudyError
from cnn_sweep.execution.study.provenance import DOES_NOT_TRAIN
from cnn_sweep.journal.filesystem import write_once
from cnn_sweep.journal.history import History
from cnn_sweep.journal.study_files import read_text
from cnn_sweep.messages import plural, show

if TYPE_CHECKING:
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.sweep.sweep import Sweep

_DEFAULT = 1
_NUMBER = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


def threads_of(paths: StudyPaths, sweep: Sweep, wanted: int | None = None) -> int:
    """Return the number of threads of a study's workers.

    Args:
        paths: The study; it need not exist yet.
        sweep: Its sweep.
        wanted: The number that the user requests; None for the study's own.

    Raises:
        StudyError: The user requests another number than the study's.
    """
    number, origin = sweep.threads, "its sweep file says so (`training: threads`)"
    if number is None:
        number, origin = _settled(paths), "its first run used that number"
    if number is not None and wanted is not None and wanted != number:
        raise StudyError(
            f"each worker of the study {paths.study!r} uses {plural(number, 'thread')}, because {origin}; "
            f"{wanted} cannot be used in the same study, since the number of threads changes results slightly. "
            f"To go on with {number}, leave out --threads (or `threads` in the profile); to use {wanted}, "
            f"{'change it there' if sweep.threads else 'start another study'}, under another `study:` name"
        )
    return number or wanted or _DEFAULT


def settle_threads(paths: StudyPaths, sweep: Sweep, wanted: int | None = None) -> int:
    """Record a study's number of threads, unless it is recorded already; return it.

    If several processes do this at the same time, one wins; the others get its number or the error.

    Raises:
        StudyError: See :func:`threads_of`.
    """
    write_once(paths.threads, f"{threads_of(paths, sweep, wanted)}\n".encode())
    return threads_of(paths, sweep, wanted)


def threads_of_trial(trial: TrialHistory, history: History) -> int | None:
    """Return the number of threads of the newest attempt at a trial; None if unknown."""
    for number in sorted(trial.attempts, reverse=True):
        writer = history.workers.get(trial.attempts[number].writer or "")
        if writer is not None and writer.worker is not None and writer.worker.threads != DOES_NOT_TRAIN:
            return writer.worker.threads
    return None


def _settled(paths: StudyPaths) -> int | None:
    """Return the recorded number; if the file is missing or damaged, the one that all trials used."""
    try:
        return _recorded(paths)
    except DamagedFileError:
        history = History.read(paths)
        used = {threads_of_trial(trial, history) for trial in history.trials.values()} - {None}
        if len(used) != 1 and (paths.threads.is_symlink() or paths.threads.exists()):
            raise
    return used.pop() if len(used) == 1 else None


def _recorded(paths: StudyPaths) -> int:
    cure = "write the number that the trials used"
    text = read_text(paths.threads, cure).strip()
    if not _NUMBER.fullmatch(text):
        raise DamagedFileError(paths.threads, f"{show(text)} is not a number of threads", cure)
    return int(text)
