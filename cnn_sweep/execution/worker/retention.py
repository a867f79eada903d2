"""Retention of files: keeps the models of the best trials, and removes checkpoints of trials that have ended."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cnn_sweep.journal.events import Artifact
from cnn_sweep.journal.filesystem import clear_asides, is_being_written
from cnn_sweep.journal.paths import data_root
from cnn_sweep.search.feasibility import best_first, rank_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.execution.attempts.candidates import NextAttempt
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.sweep import Sweep

# The beginning of the names under which checkpoints are written, also by earlier versions.
_UNFINISHED = re.compile(r"\.(?P<trial>\d+)\.(?P<attempt>\d+)\.ckpt\.")

log = logging.getLogger(__name__)


def best_numbers(
    history: History, sweep: Sweep, keep: int, *, candidate: tuple[int, float, float] | None = None
) -> list[int]:
    """Return the best complete trials: feasible ones by value, then the others by violation.

    Args:
        history: History of the study.
        sweep: Its objective and constraints rank the trials.
        keep: Maximum number of trials.
        candidate: (trial, violation, value) of a trial to include although its end is not journaled yet.
    """
    found = best_first(history, sweep)
    if candidate is not None:
        found[candidate[0]] = candidate[1:]
    return sorted(found, key=lambda number: rank_key(sweep, number, *found[number]))[:keep]


def saved_model(claimed: NextAttempt, paths: StudyPaths) -> Artifact:
    """Return the event of a saved model, with its size and checksum.

    Raises:
        OSError: The file cannot be read.
    """
    path = paths.model(claimed.number)
    content = path.read_bytes()
    return Artifact(
        time=time.time(),
        trial=claimed.number,
        attempt=claimed.attempt,
        kind="model",
        path=str(path.relative_to(paths.folder)),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def drop_models(paths: StudyPaths, history: History, sweep: Sweep, keep: int) -> None:
    """Remove the models of complete trials that are not among the best.

    Other files stay: another worker saves its trial's model before it journals the end.
    """
    kept = {paths.model(number) for number in best_numbers(history, sweep, keep)}
    complete = {paths.model(number) for number, trial in history.trials.items() if trial.state == "complete"}
    with _logged("models of other trials are left"):
        for path in (complete - kept).intersection(paths.models.iterdir()):
            path.unlink(missing_ok=True)


def drop_checkpoints(paths: StudyPaths, number: int) -> None:
    """Remove the checkpoints of a trial that has ended."""
    with _logged(f"checkpoints of trial {number} are left"):
        for path in paths.checkpoints.glob(f"{number}.*"):
            path.unlink(missing_ok=True)
    clear_asides(paths.checkpoints)


def drop_leftovers(paths: StudyPaths, history: History) -> None:
    """Remove what dead processes were writing in a study's folders, in the results folder or in its prepared data.

    Unfinished checkpoints of attempts that have ended, or were declared lost, are removed even if their process ran on
    another machine.
    """
    for folder in (paths.folder, paths.checkpoints, paths.models, paths.logs, paths.results, data_root(paths.results)):
        clear_asides(folder)
    with _logged("unfinished checkpoints are left"):
        for path in paths.checkpoints.glob(".*"):
            trial = history.trials.get(int(found["trial"])) if (found := _UNFINISHED.match(path.name)) else None
            attempt = trial.attempts.get(int(found["attempt"])) if found and trial else None
            if attempt is not None and attempt.state != "running" and not is_being_written(path):
                path.unlink(missing_ok=True)


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """Log an error of the file system: files that are left take space, but nothing depends on their absence."""
    try:
        yield
    except OSError as error:
        log.warning("%s: %s", what, error)
