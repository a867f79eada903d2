"""What stays of a trial that has ended: the models of the best, and no checkpoint."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from cnn_sweep.journal.events import Artifact

if TYPE_CHECKING:
    from cnn_sweep.execution.attempts.candidates import Claimed
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec


def best_numbers(
    history: History, objective: ObjectiveSpec, keep: int, *, candidate: tuple[int, float] | None = None
) -> list[int]:
    """Rank complete trials (and one that is about to be) by value, the lowest number first among equals.

    Args:
        history: What the journals say.
        objective: Says what is better.
        keep: How many numbers to return at most.
        candidate: (trial, value) of a trial whose end is not journaled yet.
    """
    values = {}
    for number, trial in history.trials.items():
        best = trial.best(objective.direction) if trial.state == "complete" else None
        if best is not None:
            values[number] = best[1]
    if candidate is not None:
        values[candidate[0]] = candidate[1]
    return sorted(values, key=lambda number: (objective.direction.key(values[number]), number))[:keep]


def journal_model(claimed: Claimed, paths: StudyPaths, journal: JournalWriter) -> None:
    """Name a saved model in the journal, with its size and checksum."""
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

    Anything else is left alone: a trial that another worker is about to end has its model before it has its end.
    """
    kept = {paths.model(number) for number in best_numbers(history, objective, keep)}
    complete = {paths.model(number) for number, trial in history.trials.items() if trial.state == "complete"}
    for path in (complete - kept).intersection(paths.models.iterdir()):
        path.unlink(missing_ok=True)


def drop_checkpoints(paths: StudyPaths, number: int) -> None:
    """Remove the checkpoints of a trial that has ended."""
    for path in paths.checkpoints.glob(f"{number}.*"):
        path.unlink(missing_ok=True)
