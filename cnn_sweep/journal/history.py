"""What the journals of a study say, kept up to date by reading only what is new.

What is derived here does not depend on the order in which journals are read; the store derives the same.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from cnn_sweep.journal.events import (
    BadLineError,
    Cancel,
    Checkpoint,
    End,
    Event,
    Extend,
    Finalize,
    Lost,
    Start,
    Submit,
    Worker,
    from_json,
    metric_value,
)
from cnn_sweep.journal.log import BadLine, read_from, reread
from cnn_sweep.journal.paths import JOURNAL_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.journal.paths import StudyPaths

_EPOCH = b'{"type":"epoch"'


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
        value: The objective; None if it was not reported.
    """

    time: float
    seconds: float
    value: float | None


@dataclass
class AttemptHistory:
    """One attempt as its journals tell it.

    Attributes:
        number: Number of the attempt.
        start: Its start event; None if only others spoke of it.
        writer: The journal that has its start.
        end: Its end event.
        lost: The event in which somebody declared it lost.
        epochs: Number to epoch.
        checkpoint: Its newest checkpoint.
        last_event: When it last gave a sign of life, seconds since 1970.
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
    """One trial as the journals tell it.

    Attributes:
        number: Number of the trial.
        attempts: Number to attempt.
    """

    number: int
    attempts: dict[int, AttemptHistory] = field(default_factory=dict)

    @property
    def last(self) -> AttemptHistory:
        """The attempt that counts: the highest that any event names."""
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
        """Epoch to objective, of the epochs that count: a later attempt redoes what follows its start."""
        counted: dict[int, float] = {}
        redone_after: float = math.inf
        for number in sorted(self.attempts, reverse=True):
            attempt = self.attempts[number]
            for epoch, row in attempt.epochs.items():
                if epoch <= redone_after and row.value is not None:
                    counted[epoch] = row.value
            if attempt.ran:
                redone_after = min(redone_after, attempt.start_epoch)
        return dict(sorted(counted.items()))

    @property
    def seconds(self) -> float:
        """Time that all attempts took."""
        return sum(attempt.seconds for attempt in self.attempts.values())

    def best(self, direction: str) -> tuple[int, float] | None:
        """Return epoch and value of the best epoch, the first one of equals; None without a value.

        Args:
            direction: maximize or minimize.
        """
        sign = -1.0 if direction == "maximize" else 1.0
        known = [(sign * value, epoch) for epoch, value in self.values.items() if not math.isnan(value)]
        if not known:
            return None
        value, epoch = min(known)
        return epoch, sign * value


@dataclass
class WorkerHistory:
    """One writer as its journal tells it.

    Attributes:
        writer: Name of the journal.
        worker: Its first event; None if that line is damaged.
        last_event: When it last wrote, seconds since 1970.
    """

    writer: str
    worker: Worker | None = None
    last_event: float = 0.0

    @property
    def identity(self) -> ProcessIdentity | None:
        """The writer's process; None if its first line is damaged."""
        return self.worker.identity if self.worker is not None else None


class History:
    """All that the journals of a study say.

    Args:
        paths: Files of the study.
        metric: The objective; other metrics are not kept.

    Attributes:
        trials: Number to trial; only trials that any event names.
        workers: Journal name to writer.
        extends: Revision to event.
        cancels: All cancellations, by time.
        submits: All submissions to a cluster, by time.
        finalized: Trial to the newest measurement on the test set.
        bad: Journal name to what had to be skipped in it.
        unknown: How many events this version does not know.
    """

    def __init__(self, paths: StudyPaths, *, metric: str = "val_accuracy") -> None:
        self._paths = paths
        self._metric = metric
        self._offsets: dict[str, int] = {}
        self.trials: dict[int, TrialHistory] = {}
        self.workers: dict[str, WorkerHistory] = {}
        self.extends: dict[int, Extend] = {}
        self.cancels: list[Cancel] = []
        self.submits: list[Submit] = []
        self.finalized: dict[int, Finalize] = {}
        self.bad: dict[str, list[BadLine]] = {}
        self.unknown = 0

    @property
    def bad_lines(self) -> int:
        """How many bad lines all journals have."""
        return sum(map(len, self.bad.values()))

    def refresh(self) -> bool:
        """Read what is new in all journals; tell whether anything was."""
        news = False
        for name, size in journal_sizes(self._paths):
            if size > self._offsets.get(name, 0):
                news |= self._read(name)
            if any(bad.may_heal for bad in self.bad.get(name, ())):
                news |= self._heal(name)
        return news

    def _read(self, writer: str) -> bool:
        offset = start = self._offsets.get(writer, 0)
        more = True
        while more:
            chunk = read_from(self._paths.journal(writer), offset)
            self._apply(writer, chunk.bodies)
            if chunk.bad:
                self.bad.setdefault(writer, []).extend(chunk.bad)
            offset, more = chunk.end_offset, chunk.more
        self._offsets[writer] = offset
        return offset > start

    def _heal(self, writer: str) -> bool:
        left: list[BadLine] = []
        healed = False
        for bad in self.bad[writer]:
            bodies, still = reread(self._paths.journal(writer), bad) if bad.may_heal else ([], [bad])
            self._apply(writer, bodies)
            left.extend(still)
            healed |= bool(bodies)
        self.bad[writer] = left
        return healed

    def _apply(self, writer: str, bodies: Iterable[bytes]) -> None:
        worker = self.workers.setdefault(writer, WorkerHistory(writer))
        for body in bodies:
            try:
                if body.startswith(_EPOCH):
                    self._apply_epoch(worker, json.loads(body))
                    continue
                event = from_json(body)
            except (BadLineError, KeyError, TypeError, ValueError, AttributeError):
                self.unknown += 1
                continue
            if not isinstance(event, Event):
                self.unknown += 1
                continue
            worker.last_event = max(worker.last_event, event.time)
            self._apply_event(worker, event)

    def _apply_epoch(self, worker: WorkerHistory, data: dict[str, Any]) -> None:
        """Take what is needed of an epoch; there are too many of them to make an object of each."""
        epoch, at = int(data["epoch"]), float(data["time"])
        attempt = self._attempt(int(data["trial"]), int(data["attempt"]), at)
        worker.last_event = max(worker.last_event, at)
        row = EpochHistory(at, float(data["seconds"]), metric_value(data["metrics"].get(self._metric)))
        known = attempt.epochs.get(epoch)
        if known is None or row[:2] < known[:2]:
            attempt.epochs[epoch] = row

    def _apply_event(self, worker: WorkerHistory, event: Event) -> None:
        match event:
            case Worker():
                worker.worker = event
            case Start():
                attempt = self._attempt(event.trial, event.attempt, event.time)
                if attempt.writer is None or worker.writer <= attempt.writer:
                    attempt.start, attempt.writer = event, worker.writer
            case Checkpoint():
                attempt = self._attempt(event.trial, event.attempt, event.time)
                saved = SavedState(event.attempt, event.epoch, event.time, event.file)
                attempt.checkpoint = max(attempt.checkpoint or saved, saved)
            case End():
                attempt = self._attempt(event.trial, event.attempt, event.time)
                attempt.end = min(attempt.end or event, event, key=lambda end: (end.time, end.state))
            case Lost():
                attempt = self._attempt(event.trial, event.attempt, 0.0)
                attempt.lost = min(attempt.lost or event, event, key=lambda lost: (lost.time, lost.cause))
            case Cancel():
                self.cancels = sorted([*self.cancels, event], key=lambda cancel: cancel.time)
            case Submit():
                self.submits = sorted([*self.submits, event], key=lambda submit: submit.time)
            case Extend():
                known = self.extends.get(event.revision, event)
                self.extends[event.revision] = min(known, event, key=lambda extend: extend.time)
            case Finalize():
                last = self.finalized.get(event.trial, event)
                self.finalized[event.trial] = max(last, event, key=lambda finalize: finalize.time)
            case _:
                pass

    def _attempt(self, trial: int, attempt: int, at: float) -> AttemptHistory:
        history = self.trials.get(trial)
        if history is None:
            history = self.trials[trial] = TrialHistory(trial)
        found = history.attempts.get(attempt)
        if found is None:
            found = history.attempts[attempt] = AttemptHistory(attempt)
        found.last_event = max(found.last_event, at)
        return found


def journal_sizes(paths: StudyPaths) -> list[tuple[str, int]]:
    """Return the names of all journals of a study, sorted, and their sizes in bytes."""
    found: list[tuple[str, int]] = []
    try:
        with os.scandir(paths.journals) as entries:
            found.extend(
                (entry.name.removesuffix(JOURNAL_SUFFIX), entry.stat().st_size)
                for entry in entries
                if entry.name.endswith(JOURNAL_SUFFIX)
            )
    except FileNotFoundError:
        pass
    return sorted(found)
