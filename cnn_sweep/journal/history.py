"""The history of a study, read from its journals and kept up to date by reading only new lines."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import DamagedFileError
from cnn_sweep.journal.decoding import BadLineError, event_of, fields_of, misfit
from cnn_sweep.journal.events import (
    Cancel,
    Checkpoint,
    End,
    Epoch,
    Event,
    Extend,
    Finalize,
    Known,
    Lost,
    Start,
    Submit,
    Unsaved,
    Worker,
)
from cnn_sweep.journal.log import BadLine, metric_value, read_from, reread
from cnn_sweep.journal.paths import JOURNAL_SUFFIX
from cnn_sweep.journal.trials import AttemptHistory, EpochHistory, SavedState, TrialHistory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.journal.identity import ProcessIdentity
    from cnn_sweep.journal.paths import StudyPaths

__all__ = ["AttemptHistory", "EpochHistory", "History", "SavedState", "TrialHistory", "WorkerHistory"]

_METRIC = "val_accuracy"  # for callers that need no objective


@dataclass
class WorkerHistory:
    """The writer of one journal.

    Attributes:
        writer: Name of the journal.
        worker: Its first event; None if that line is damaged.
        last_event: Time of its last event, in seconds since 1970.
    """

    writer: str
    worker: Worker | None = None
    last_event: float = 0.0

    @property
    def identity(self) -> ProcessIdentity | None:
        """The writer's process; None if its first line is damaged."""
        return self.worker.identity if self.worker is not None else None


class History:
    """Everything that the journals of a study record.

    Args:
        paths: Files of the study.
        metric: The objective.
        more: Other metrics to keep; all others are dropped.

    Attributes:
        trials: Trials that an event names, by number.
        workers: Writers by journal name.
        extends: Events by revision.
        cancels: All cancellations, by time.
        submits: All submissions to a cluster, by time.
        finalized: Newest evaluation of each model on the test set, by trial and by the model's name.
        known: Results of other programs, by source and number in the source.
        bad: Skipped lines, by journal name.
        unknown: Number of events that this version does not know.
        refreshed: When reading last began, in seconds since 1970; everything journaled before then is known.
    """

    def __init__(self, paths: StudyPaths, *, metric: str = _METRIC, more: tuple[str, ...] = ()) -> None:
        self._paths = paths
        self._metric = metric
        self._more = more
        self._offsets: dict[str, int] = {}
        self.trials: dict[int, TrialHistory] = {}
        self.workers: dict[str, WorkerHistory] = {}
        self.extends: dict[int, Extend] = {}
        self.cancels: list[Cancel] = []
        self.submits: list[Submit] = []
        self.finalized: dict[tuple[int, str], Finalize] = {}
        self.known: dict[tuple[str, int], Known] = {}
        self.bad: dict[str, list[BadLine]] = {}
        self.unknown = 0
        self.refreshed = 0.0

    @property
    def bad_lines(self) -> int:
        """Number of bad lines in all journals."""
        return sum(map(len, self.bad.values()))

    @classmethod
    def read(cls, paths: StudyPaths, metric: str = _METRIC, more: tuple[str, ...] = ()) -> History:
        """Read the current history; for the arguments, see the class."""
        history = cls(paths, metric=metric, more=more)
        history.refresh()
        return history

    def measured(self, trial: TrialHistory, epoch: int) -> dict[str, float | None]:
        """Return the kept metrics of a trial's epoch, and ``parameters`` and ``seconds`` of the trial."""
        row = trial.counted.get(epoch)  # None if the line of that epoch is damaged
        kept = dict(zip((self._metric, *self._more), (row.value, *row.more), strict=True)) if row is not None else {}
        return kept | {"parameters": trial.parameters, "seconds": trial.seconds}

    def refresh(self) -> bool:
        """Read new lines of all journals; return whether there were any."""
        news = False
        self.refreshed = time.time()
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
                data = fields_of(body)
            except BadLineError:
                self.unknown += 1
                continue
            if misfit(data) is not None:
                self.unknown += 1
                continue
            worker.last_event = max(worker.last_event, data["time"])
            if data["type"] == Epoch.type:
                self._apply_epoch(data)
            else:
                self._apply_event(worker, event_of(data))

    def _apply_epoch(self, data: dict[str, Any]) -> None:
        """Apply an epoch from its plain data; creating an event object for each epoch would take too long."""
        epoch, at = data["epoch"], float(data["time"])
        attempt = self._attempt(data["trial"], data["attempt"], at)
        metrics = data["metrics"]
        more = tuple(metric_value(metrics.get(name)) for name in self._more)
        row = EpochHistory(at, float(data["seconds"]), metric_value(metrics.get(self._metric)), more)
        known = attempt.epochs.get(epoch)
        if known is None or row[:2] < known[:2]:
            attempt.epochs[epoch] = row

    def _apply_event(self, worker: WorkerHistory, event: Event) -> None:
        match event:
            case Worker():
                worker.worker = event
            case Start():
                attempt = self._attempt(event.trial, event.attempt, event.time)
                before = attempt.start
                if before is None or (worker.writer, event.time) < (attempt.writer or "", before.time):
                    attempt.start, attempt.writer = event, worker.writer
            case Checkpoint() | Unsaved():
                self._apply_checkpoint(event)
            case End():
                attempt = self._attempt(event.trial, event.attempt, event.time)
                attempt.end = min(attempt.end or event, event, key=Event.sort_key)
            case Lost():
                attempt = self._attempt(event.trial, event.attempt, 0.0)
                attempt.lost = min(attempt.lost or event, event, key=Event.sort_key)
            case Cancel():
                self.cancels = sorted([*self.cancels, event], key=lambda cancel: cancel.time)
            case Submit():
                self.submits = sorted([*self.submits, event], key=lambda submit: submit.time)
            case Extend():
                known = self.extends.get(event.revision, event)
                self.extends[event.revision] = min(known, event, key=lambda extend: extend.time)
            case Known():
                key = event.source, event.number
                self.known[key] = min(self.known.get(key, event), event, key=lambda known: known.time)
            case Finalize():
                model = event.trial, event.model
                last = self.finalized.get(model, event)
                self.finalized[model] = max(last, event, key=lambda finalize: finalize.time)
            case _:
                pass

    def _apply_checkpoint(self, event: Checkpoint | Unsaved) -> None:
        attempt = self._attempt(event.trial, event.attempt, event.time)
        if isinstance(event, Unsaved):
            attempt.unsaved = max(attempt.unsaved or event, event, key=Event.sort_key)
        else:
            saved = SavedState(event.attempt, event.epoch, event.time, event.file)
            attempt.checkpoint = max(attempt.checkpoint or saved, saved)

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
    """Return the names of all journals of a study, sorted, and their sizes in bytes.

    What cannot be a journal, such as a folder of that name, is left out; see :func:`check_journals`.
    """
    found: list[tuple[str, int]] = []
    try:
        with os.scandir(paths.journals) as entries:
            found.extend(
                (entry.name.removesuffix(JOURNAL_SUFFIX), entry.stat().st_size)
                for entry in entries
                if entry.name.endswith(JOURNAL_SUFFIX) and _is_plain_file(entry)
            )
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # another user's study
        pass
    return sorted(found)


def check_journals(paths: StudyPaths) -> None:
    """Check that everything named like a journal is a file, since events would otherwise be missing unnoticed.

    Raises:
        DamagedFileError: Something is no plain file.
    """
    cure = "put the file back, or move what is there now away if it never was a journal"
    try:
        with os.scandir(paths.journals) as entries:
            for entry in entries:
                if entry.name.endswith(JOURNAL_SUFFIX) and not _is_plain_file(entry):
                    raise DamagedFileError(paths.journals / entry.name, "it is no plain file", cure)
    except OSError as error:
        if not paths.folder.exists():  # a study that a command is about to create
            return
        raise DamagedFileError(paths.journals, f"it cannot be read: {error.strerror or error}", cure) from error


def _is_plain_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # such as a link to itself
        return False
