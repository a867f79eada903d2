"""Trials and attempts, derived from their events; the result does not depend on the order of reading.

The store derives the same values with SQL, in :mod:`cnn_sweep.store.derived_columns`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cnn_sweep.journal.events import End, Lost, Start, Unsaved
    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec


class SavedState(NamedTuple):
    """A journaled checkpoint.

    Attributes:
        attempt: The attempt that wrote it.
        epoch: The last complete epoch in the checkpoint.
        time: When it was journaled, in seconds since 1970.
        file: Path relative to the study's folder.
    """

    attempt: int
    epoch: int
    time: float
    file: str


class EpochHistory(NamedTuple):
    """One epoch that an attempt reported.

    Attributes:
        time: When it was complete, in seconds since 1970.
        seconds: Its duration.
        value: The objective; None if it was not reported, or is not finite.
        more: The other requested metrics, likewise None if missing or not finite.
    """

    time: float
    seconds: float
    value: float | None
    more: tuple[float | None, ...] = ()


@dataclass
class AttemptHistory:
    """One attempt, derived from its events.

    Attributes:
        number: Number of the attempt.
        start: Its start event; None if that is missing.
        writer: Name of the journal with its start.
        end: Its end event.
        lost: The event that declared it lost.
        epochs: Epochs by number.
        checkpoint: Its newest checkpoint.
        unsaved: The newest event of a checkpoint that could not be written.
        last_event: Time of its last event, in seconds since 1970.
    """

    number: int
    start: Start | None = None
    writer: str | None = None
    end: End | None = None
    lost: Lost | None = None
    epochs: dict[int, EpochHistory] = field(default_factory=dict)
    checkpoint: SavedState | None = None
    unsaved: Unsaved | None = None
    last_event: float = 0.0

    @property
    def state(self) -> str:
        """The state at its end; without an end, ``lost`` or ``running``."""
        if self.end is not None:
            return self.end.state
        return "lost" if self.lost is not None else "running"

    @property
    def cause(self) -> str | None:
        """The cause of its end, in one word."""
        last = self.end or self.lost
        return last.cause if last is not None else None

    @property
    def last_epoch(self) -> int:
        """The last reported epoch; 0 if none."""
        return max(self.epochs, default=0)

    @property
    def start_epoch(self) -> int:
        """The epoch from which it continued; if its start is missing, the epoch before its first."""
        return self.start.epoch if self.start is not None else min(self.epochs, default=1) - 1

    @property
    def unsaved_since(self) -> Unsaved | None:
        """The event of its newest checkpoint, if that could not be written."""
        saved = self.checkpoint.time if self.checkpoint is not None else 0.0
        return self.unsaved if self.unsaved is not None and self.unsaved.time > saved else None

    @property
    def ran(self) -> bool:
        """Whether it is known to have trained."""
        return self.start is not None or bool(self.epochs)

    @property
    def seconds(self) -> float:
        """Its duration; while it is running, the sum over its epochs."""
        return self.end.seconds if self.end is not None else sum(e.seconds for e in self.epochs.values())


@dataclass
class TrialHistory:
    """One trial, derived from its attempts.

    Attributes:
        number: Number of the trial.
        attempts: Attempts by number.
    """

    number: int
    attempts: dict[int, AttemptHistory] = field(default_factory=dict)

    @property
    def last(self) -> AttemptHistory:
        """The attempt that counts: the one with the highest number."""
        return self.attempts[max(self.attempts)]

    @property
    def state(self) -> str:
        """running, complete, pruned, failed, paused or interrupted."""
        state = self.last.state
        return "interrupted" if state == "lost" else state

    @property
    def next_attempt(self) -> int:
        """Number of the next attempt to claim."""
        return max(self.attempts) + 1

    @property
    def start(self) -> Start | None:
        """The start event of the highest attempt that started."""
        return max(
            (attempt.start for attempt in self.attempts.values() if attempt.start is not None),
            key=lambda start: start.attempt,
            default=None,
        )

    @property
    def params(self) -> dict[str, Any] | None:
        """The hyperparameters; None if no attempt has started."""
        return self.start.params if self.start is not None else None

    @property
    def configuration(self) -> str | None:
        """ID of the configuration."""
        return self.start.configuration if self.start is not None else None

    @property
    def repeat(self) -> int | None:
        """Number of the repeat of the configuration, from 0."""
        return self.start.repeat if self.start is not None else None

    @property
    def seed(self) -> int | None:
        """Seed of all random numbers in the trial."""
        return self.start.seed if self.start is not None else None

    @property
    def parameters(self) -> int | None:
        """Number of weights of the network, from the newest attempt that reported it."""
        for number in sorted(self.attempts, reverse=True):
            attempt = self.attempts[number]
            for event in (attempt.end, attempt.start):
                if event is not None and event.parameters is not None:
                    return event.parameters
        return None

    @property
    def checkpoints(self) -> tuple[SavedState, ...]:
        """The newest checkpoint of each attempt, starting with the newest attempt."""
        found = (attempt.checkpoint for attempt in self.attempts.values())
        return tuple(sorted((c for c in found if c is not None), reverse=True))

    @property
    def checkpoint(self) -> SavedState | None:
        """The newest checkpoint."""
        return next(iter(self.checkpoints), None)

    @property
    def values(self) -> dict[int, float]:
        """The objective by epoch, for valid epochs that have one."""
        return {epoch: row.value for epoch, row in sorted(self.counted.items()) if row.value is not None}

    @property
    def curve(self) -> dict[int, float]:
        """The objective by epoch, for all valid epochs; NaN if missing."""
        return {e: math.nan if row.value is None else row.value for e, row in sorted(self.counted.items())}

    @property
    def counted(self) -> dict[int, EpochHistory]:
        """The valid epochs: a later attempt replaces all epochs after its start."""
        counted: dict[int, EpochHistory] = {}
        redone_after: float = math.inf
        for number in sorted(self.attempts, reverse=True):
            attempt = self.attempts[number]
            for epoch, row in attempt.epochs.items():
                if epoch <= redone_after:
                    counted.setdefault(epoch, row)
            if attempt.ran:
                redone_after = min(redone_after, attempt.start_epoch)
        return counted

    @property
    def missing_epochs(self) -> int:
        """Number of epochs that the trial's end counted and the journals lack, because their lines are damaged."""
        end = self.last.end
        return max(end.counted - len(self.counted), 0) if end is not None and end.counted is not None else 0

    @property
    def seconds(self) -> float:
        """Total duration of all attempts."""
        return sum(attempt.seconds for attempt in self.attempts.values())

    def result(self, objective: ObjectiveSpec) -> tuple[int, float] | None:
        """Return the epoch whose weights are the trial's model, and the trial's value; None without a value.

        If epochs are missing, these are the ones that the end of the trial names.
        """
        if (end := self.last.end) is not None and self.missing_epochs:
            return None if end.best_epoch is None or end.value is None else (end.best_epoch, end.value)
        return objective.result({epoch: row.value for epoch, row in self.counted.items()})

    def best(self, direction: Direction) -> tuple[int, float] | None:
        """Return number and value of the best epoch so far, the earliest of several; None without a value.

        This is what pruners compare, whatever ``objective.value`` says. If epochs are missing, the end of the trial
        names them.

        Args:
            direction: Direction of the objective.
        """
        if self.missing_epochs and (end := self.last.end) is not None:
            return None if end.best_epoch is None or end.value is None else (end.best_epoch, end.value)
        return min(self.values.items(), key=lambda known: (direction.key(known[1]), known[0]), default=None)
