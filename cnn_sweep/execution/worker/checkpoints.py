"""Writes the checkpoints of one attempt. If that fails, training goes on, and later checkpoints are tried."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from cnn_sweep.journal.events import Checkpoint, Unsaved
from cnn_sweep.journal.filesystem import write_aside

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.journal.paths import StudyPaths

log = logging.getLogger(__name__)

# After a failure, checkpoints during training are left out for this many seconds; for twice as long after each further
# failure, up to the second number.
_FIRST_PAUSE_S = 10.0
_LONGEST_PAUSE_S = 600.0


class _Saving(NamedTuple):
    """A checkpoint that is being written: its future size in bytes, and its number of complete epochs."""

    size: Future[int]
    epoch: int


class CheckpointWriter:
    """Writes one attempt's checkpoints, one at a time, and journals what became of them.

    Args:
        paths: Files of the study.
        key: The numbers of trial and attempt.
        journal: The worker's journal; only the training thread, which calls all methods, writes to it.
        epoch: The last epoch in the checkpoint from which the attempt continues; 0 without one.

    Attributes:
        epoch: The last epoch in a checkpoint; 0 without one.
        problem: Why the newest checkpoint could not be written; None if it was.
    """

    def __init__(self, paths: StudyPaths, key: tuple[int, int], journal: JournalWriter, *, epoch: int = 0) -> None:
        self._paths = paths
        self._key = key
        self._file = paths.checkpoint(*key)
        self._journal = journal
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._saving: _Saving | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._try_again_at = 0.0
        self.epoch = epoch
        self.problem: str | None = None

    def write(self, state: bytes, epoch: int) -> None:
        """Write a checkpoint, then journal it, so that every journaled checkpoint is complete."""
        self._begin(lambda: state, epoch)
        self._settle()

    def write_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Write a checkpoint in another thread; do nothing for a while after a failure."""
        self._settle()
        if time.monotonic() >= self._try_again_at:
            self._begin(state, epoch)

    def settle_if_written(self) -> None:
        """Journal what became of the checkpoint that was being written, if that is known."""
        if self._saving is not None and self._saving.size.done():
            self._settle()

    def close(self) -> None:
        """Wait for the checkpoint that is being written, if there is one."""
        try:
            self._settle()
        finally:
            self._thread.shutdown()

    def _begin(self, state: Callable[[], bytes], epoch: int) -> None:
        self._settle()
        self._journal.flush()  # an attempt that continues from the checkpoint does not journal earlier epochs again
        self._saving = _Saving(self._thread.submit(self._write, state), epoch)

    def _write(self, state: Callable[[], bytes]) -> int:
        content = state()
        try:
            write_aside(self._file, content)
        except FileNotFoundError:  # somebody removed the folder to free space
            self._file.parent.mkdir(exist_ok=True)
            write_aside(self._file, content)
        return len(content)

    def _settle(self) -> None:
        saving, self._saving = self._saving, None
        if saving is None:
            return
        try:
            size = saving.size.result()
        except (OSError, MemoryError) as error:
            self._note_failure(error, saving.epoch)
        else:
            self._note_success(size, saving.epoch)
        self._journal.flush()

    def _note_failure(self, error: OSError | MemoryError, epoch: int) -> None:
        """Journal and log the first of several failures in a row, and each one for another reason."""
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "not enough memory"
        problem = f"{self._file}: {reason}"
        self._try_again_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        if problem == self.problem:
            return
        self.problem = problem
        trial, attempt = self._key
        log.warning("trial %d: no checkpoint of epoch %d, so training goes on without: %s", trial, epoch, problem)
        self._journal.append(Unsaved(time=time.time(), trial=trial, attempt=attempt, epoch=epoch, message=problem))

    def _note_success(self, size: int, epoch: int) -> None:
        trial, attempt = self._key
        self.epoch = epoch
        if self.problem is not None:
            log.info("trial %d: checkpoints can be written again", trial)
        self.problem, self._pause_s, self._try_again_at = None, _FIRST_PAUSE_S, 0.0
        file = self._file.relative_to(self._paths.folder).as_posix()
        self._journal.append(
            Checkpoint(time=time.time(), trial=trial, attempt=attempt, epoch=epoch, file=file, bytes=size)
        )
