"""Retention of files: keeps the models of the best trials, and removes checkpoints of trials that have ended."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from cnn_sweep.journal.events import Artifact

if TYPE_CHECKING:
    from cnn_sweep.execution.attempts.candidates import NextAttempt
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec


def best_numbers(
    history: History, objective: ObjectiveSpec, keep: int, *, candidate: tuple[int, float] | None = None
) -> list[int]:
    """Return the best complete trials by value, the lowest number first among equals.

    Args:
        history: History of the study.
        objective: The objective, whose direction ranks the trials.
        keep: Maximum number of trials.
        candidate: (trial, value) of a trial to include although its end is not journaled yet.
    """
    values = {}
    for number, trial in history.trials.items():
        best = trial.best(objective.direction) if trial.state == "complete" else None
        if best is not None:
            values[number] = best[1]
    if candidate is not None:
        values[candidate[0]] = candidate[1]
    return sorted(values, key=lambda number: (objective.direction.key(values[number]), number))[:keep]


def journal_model(claimed: NextAttempt, paths: StudyPaths, journal: JournalWriter) -> None:
    """Journal a saved model with its size and checksum."""
    path = paths.model(claimed.number)
    content = path.read_bytes()
    journal.append(
        Artifact(
            time=time.time(),
            trial=claimed.number,
            attempt=claimed.attempt,
            kind="model",
            path=str(path.relative_to(paths.folder)),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
    )


def drop_models(paths: StudyPaths, history: History, objective: ObjectiveSpec, keep: int) -> None:
    """Remove the models of complete trials that are not among the best.

    Other files stay: another worker saves its trial's model before it journals the end.
    """
    kept = {paths.model(number) for number in best_numbers(history, objective, keep)}
    complete = {paths.model(number) for number, trial in history.trials.items() if trial.state == "complete"}
    for path in (complete - kept).intersection(paths.models.iterdir()):
        path.unlink(missing_ok=True)


def drop_checkpoints(paths: StudyPaths, number: int) -> None:
    """Remove the checkpoints of a trial that has ended."""
    for path in paths.checkpoints.glob(f"{number}.*"):
        path.unlink(missing_ok=True)
