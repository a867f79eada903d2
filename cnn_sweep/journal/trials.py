"""Trials and attempts, derived from their events; the result does not depend on the order of reading.

The store derives the same with SQL, in :mod:`cnn_sweep.store.derived_columns`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cnn_sweep.journal.events import End, Lost, Start
    from cnn_sweep.sweep.direction import Direction


class SavedState(NamedTuple):
    """A checkpoint that was journaled.

    Attributes:
        attempt: The attempt that wrote it.
        epoch: The last epoch that is complete in it.
        time: When it was journaled, seconds since 1970.
        file: Path relative to the study's folder.
    """

    attempt: int
    epoch: int
    time: float
    file: str


class EpochHistory(NamedTuple):
    """One epoch that an attempt reported.

    Attributes:
        time: When it was done, seconds since 1970.
        seconds: How long it took.
        value: The objective; None if it was not reported, or is not finite.
        more: The other metrics that were asked for, with the same rule.
    """

    time: float
    seconds: float
    value: float | None
    more: tuple[float | None, ...] = ()


@dataclass
class AttemptHistory:
    """One attempt, from its events.

    Attributes:
        number: Number of the attempt.
        start: Its start event; None if that is missing.
        writer: The journal that has its start.
        end: Its end event.
        lost: The event that declared it lost.
        epochs: Number to epoch.
        checkpoint: Its newest checkpoint.
        last_event: Time of its last event, seconds since 1970.
    """

    number: int
    start: Start | None = None
    writer: str | None = None
    end: End | None = None
    lost: Lost | None = None
    epochs: dict[int, EpochHistory] = field(default_factory=dict)
    checkpoint: SavedState | None = None
    last_event: float = 0.0

    @property
    def state(self) -> str:
        """The end's state, else ``lost``, else ``running``."""
        if self.end is not None:
            return self.end.state
        return "lost" if self.lost is not None else "running"

    @property
    def cause(self) -> str | None:
        """Why it ended as it did, in one word."""
        last = self.end or self.lost
        return last.cause if last is not None else None

    @property
    def last_epoch(self) -> int:
        """The last epoch that it reported; 0 if none."""
        return max(self.epochs, default=0)

    @property
    def start_epoch(self) -> int:
        """The last epoch that it took over; if its start was damaged, the one before its first."""
        return self.start.epoch if self.start is not None else min(self.epochs, default=1) - 1

    @property
    def ran(self) -> bool:
        """Whether it trained at all, as far as is known."""
        return self.start is not None or bool(self.epochs)

    @property
    def seconds(self) -> float:
        """How long it took; while it runs, the sum over its epochs."""
        return self.end.seconds if self.end is not None else sum(e.seconds for e in self.epochs.values())


@dataclass
class TrialHistory:
    """One trial, from its attempts.

    Attributes:
        number: Number of the trial.
        attempts: Number to attempt.
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
        """Number of the attempt that may be claimed next."""
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
        """The hyperparameters; None while no attempt started."""
        return self.start.params if self.start is not None else None

    @property
    def configuration(self) -> str | None:
        """Id of the hyperparameters."""
        return self.start.configuration if self.start is not None else None

    @property
    def repeat(self) -> int | None:
        """Which repeat of the configuration."""
        return self.start.repeat if self.start is not None else None

    @property
    def seed(self) -> int | None:
        """Seed of everything random in the trial."""
        return self.start.seed if self.start is not None else None

    @property
    def parameters(self) -> int | None:
        """Number of weights of the network, as the newest attempt that knows tells."""
        for number in sorted(self.attempts, reverse=True):
            attempt = self.attempts[number]
            for event in (attempt.end, attempt.start):
                if event is not None and event.parameters is not None:
                    return event.parameters
        return None

    @property
    def checkpoints(self) -> tuple[SavedState, ...]:
        """The newest checkpoint of each attempt, the newest attempt's first."""
        found = (attempt.checkpoint for attempt in self.attempts.values())
        return tuple(sorted((c for c in found if c is not None), reverse=True))

    @property
    def checkpoint(self) -> SavedState | None:
        """The newest checkpoint."""
        return next(iter(self.checkpoints), None)

    @property
    def values(self) -> dict[int, float]:
        """Epoch to objective, of the epochs that count and have one."""
        return {epoch: row.value for epoch, row in sorted(self.counted.items()) if row.value is not None}

    @property
    def curve(self) -> dict[int, float]:
        """Epoch to objective, of all epochs that count; NaN where there is none."""
        return {e: math.nan if row.value is None else row.value for e, row in sorted(self.counted.items())}

    @property
    def counted(self) -> dict[int, EpochHistory]:
        """The epochs that count: a later attempt redoes what follows its start."""
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
    def seconds(self) -> float:
        """Time that all attempts took."""
        return sum(attempt.seconds for attempt in self.attempts.values())

    def best(self, direction: Direction) -> tuple[int, float] | None:
        """Return epoch and value of the best epoch, the first one of equals; None without a value.

        Args:
            direction: What is better.
        """
        return min(self.values.items(), key=lambda known: (direction.key(known[1]), known[0]), default=None)
