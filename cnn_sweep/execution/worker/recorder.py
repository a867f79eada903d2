"""The monitor of one attempt: journals its epochs and checkpoints, and decides when to stop or prune it."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from cnn_sweep.journal.events import Checkpoint, Epoch
from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.journal.log import metric_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.execution.attempts.candidates import NextAttempt
    from cnn_sweep.execution.worker.attempt import WorkerContext
    from cnn_sweep.training.outcome import Decision


# During a trial a worker reads the journals this often, in seconds.
_LOOK_EVERY_S = 3.0
# A pruner decides on a history that is at most this old, in seconds.
_REFRESH_EVERY_S = 1.0


class _Saving(NamedTuple):
    """A checkpoint that is being written: its future size in bytes, and its number of complete epochs."""

    size: Future[int]
    epoch: int


class Recorder:
    """Journals one attempt, as the trainer's monitor.

    Args:
        claimed: The attempt.
        context: Objects that the parts of the worker share.
        until: The epoch after which the trial pauses; None if it is trained to the end.

    Attributes:
        superseded: Whether another worker has claimed this trial's next attempt.
        cancelled: Whether the user cancelled this trial.
    """

    def __init__(self, claimed: NextAttempt, context: WorkerContext, *, until: int | None = None) -> None:
        self._claimed = claimed.key
        self._until = until
        self._epoch = 0
        self._pruning = context.pruning
        self._metric = context.study.sweep.objective.metric
        trial = context.history.trials.get(claimed.number)
        self._curve = trial.curve if trial is not None else {}
        self._refreshed = 0.0
        self._paths = context.study.paths
        self._journal = context.journal
        self._stop = context.stop
        self._merger = context.merger
        self._history = context.history
        self._looked = time.monotonic()
        self._saver = ThreadPoolExecutor(1, "checkpoint")
        self._saving: _Saving | None = None
        self.superseded = False
        self.cancelled = False

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        """Journal a finished epoch."""
        self._settle_if_written()
        number, attempt = self._claimed
        self._epoch = epoch
        value = metric_value(metrics.get(self._metric))
        self._curve[epoch] = math.nan if value is None else value
        self._journal.append(
            Epoch(time=time.time(), trial=number, attempt=attempt, epoch=epoch, seconds=seconds, metrics=metrics)
        )

    def decision(self) -> Decision:
        """Return whether the trial continues, pauses or is pruned after the epoch that was journaled last."""
        if self._until is not None:
            return "pause" if self._epoch >= self._until else "continue"
        if not self._pruning.stops_trials:
            return "continue"
        if time.monotonic() - self._refreshed >= _REFRESH_EVERY_S:
            self._history.refresh()
            self._refreshed = time.monotonic()
        return "prune" if self._pruning.prunes(self._claimed[0], self._curve) else "continue"

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Write a checkpoint, then journal it, so that every journaled checkpoint is complete."""
        self.checkpoint_later(lambda: state, epoch)
        self._settle()

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Write a checkpoint while training continues; one at a time, and only this thread writes to the journal."""
        self._settle()
        self._journal.flush()  # an attempt that continues from the checkpoint does not journal earlier epochs again
        self._saving = _Saving(self._saver.submit(self._write, state), epoch)

    def close(self) -> None:
        """Wait for the checkpoint that is being written, if there is one.

        Raises:
            OSError: The checkpoint could not be written.
        """
        try:
            self._settle()
        finally:
            self._saver.shutdown()

    def _settle(self) -> None:
        saving, self._saving = self._saving, None
        if saving is not None:
            self._journal_checkpoint(saving.size.result(), saving.epoch)

    def _settle_if_written(self) -> None:
        if self._saving is not None and self._saving.size.done():
            self._settle()

    def _write(self, state: Callable[[], bytes]) -> int:
        content = state()
        write_aside(self._paths.checkpoint(*self._claimed), content)
        return len(content)

    def _journal_checkpoint(self, size: int, epoch: int) -> None:
        number, attempt = self._claimed
        path = self._paths.checkpoint(number, attempt)
        self._journal.append(
            Checkpoint(
                time=time.time(),
                trial=number,
                attempt=attempt,
                epoch=epoch,
                file=path.relative_to(self._paths.folder).as_posix(),
                bytes=size,
            )
        )
        self._journal.flush()

    def should_stop(self) -> bool:
        """Return whether to write a checkpoint and stop; also merge into the store now and then."""
        self._settle_if_written()
        self._merger.while_training()
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._look_around()
            self._looked = time.monotonic()
        return bool(self._stop) or self.superseded or self.cancelled

    def _look_around(self) -> None:
        """Check whether the trial was superseded or cancelled, with few operations on the shared file system."""
        number, attempt = self._claimed
        self._history.refresh()
        self.superseded = self._paths.claim(number, attempt + 1).exists()
        self.cancelled = any(cancel.trial == number for cancel in self._history.cancels)
