"""The monitor of one attempt: journals its epochs and checkpoints, and decides when to stop or prune it."""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cnn_sweep.execution.worker.checkpoints import CheckpointWriter
from cnn_sweep.journal.events import Epoch
from cnn_sweep.journal.log import metric_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cnn_sweep.execution.attempts.candidates import NextAttempt
    from cnn_sweep.execution.worker.attempt import WorkerContext
    from cnn_sweep.training.outcome import Decision


log = logging.getLogger(__name__)

# During a trial a worker reads the journals this often, in seconds.
_LOOK_EVERY_S = 3.0
# A pruner decides on a history that is at most this old, in seconds.
_REFRESH_EVERY_S = 1.0


class Recorder:
    """Journals one attempt, as the trainer's monitor.

    Args:
        claimed: The attempt.
        context: Objects that the parts of the worker share.
        epoch: The last epoch in the checkpoint from which the attempt continues; 0 without one.
        until: The epoch after which the trial pauses; None if it is trained to the end.

    Attributes:
        superseded: Whether another worker has claimed this trial's next attempt.
        cancelled: Whether the user cancelled this trial.
    """

    def __init__(
        self, claimed: NextAttempt, context: WorkerContext, *, epoch: int = 0, until: int | None = None
    ) -> None:
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
        self._checkpoints = CheckpointWriter(context.study.paths, claimed.key, context.journal, epoch=epoch)
        self.superseded = False
        self.cancelled = False

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        """Journal a finished epoch."""
        self._checkpoints.settle_if_written()
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
            with self._without_news():
                self._history.refresh()
            self._refreshed = time.monotonic()
        return "prune" if self._pruning.prunes(self._claimed[0], self._curve) else "continue"

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Write a checkpoint, and wait for it."""
        self._checkpoints.write(state, epoch)

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Write a checkpoint while training continues."""
        self._checkpoints.write_later(state, epoch)

    def what_is_lost(self) -> str | None:
        """Return from where a trial that stops now continues, if its newest checkpoint could not be written."""
        if (problem := self._checkpoints.problem) is None:
            return None
        saved = self._checkpoints.epoch
        return f"{problem}: no checkpoint, so the trial {f'continues after epoch {saved}' if saved else 'starts again'}"

    def close(self) -> None:
        """Wait for the checkpoint that is being written, if there is one."""
        self._checkpoints.close()

    def should_stop(self) -> bool:
        """Return whether to write a checkpoint and stop; also merge into the store now and then."""
        self._checkpoints.settle_if_written()
        self._merger.while_training()
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            with self._without_news():
                self._look_around()
            self._looked = time.monotonic()
        return bool(self._stop) or self.superseded or self.cancelled

    @contextmanager
    def _without_news(self) -> Iterator[None]:
        """Go on if the study's files cannot be read at the moment: the trial trains as well without news of others."""
        try:
            yield
        except OSError as error:
            log.warning("trial %d: training without news of the others: %s", self._claimed[0], error)

    def _look_around(self) -> None:
        """Check whether the trial was superseded or cancelled, with few operations on the shared file system."""
        number, attempt = self._claimed
        self._history.refresh()
        self.superseded = self._paths.claim(number, attempt + 1).exists()
        self.cancelled = any(cancel.trial == number for cancel in self._history.cancels)
