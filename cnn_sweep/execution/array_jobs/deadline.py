"""When a pool's job ends: Slurm's own end time, which suspensions and changed limits move."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cnn_sweep.execution.worker.protocol import Cause
    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.job_rows import OwnJob

# Seconds that a trial needs until its first checkpoint: the import of TensorFlow, one trace and one chunk. No trial
# begins later than this before the warning.
_TO_FIRST_CHECKPOINT_S: Final = 20.0
# Slurm's warning may come this much before its time, in seconds.
_EARLY_S: Final = 60.0


class Deadline:
    """The end of this job; Slurm is asked again whenever the end known so far is near."""

    def __init__(self, slurm: SlurmCli, own: OwnJob | None, *, run_s: float, warning_s: float) -> None:
        """Take the end from Slurm's answer.

        Args:
            slurm: Slurm's commands.
            own: Slurm's answer about this job at its start; None if there was none.
            run_s: Seconds from the job's start to the warning, should Slurm not say when the job ends.
            warning_s: Seconds between the warning and the end.
        """
        self._slurm = slurm
        self._warning_s = warning_s
        self._draining_s = min(run_s, _TO_FIRST_CHECKPOINT_S)
        self._ends = time.time() + run_s + warning_s
        self._take(own)

    @property
    def warning(self) -> float:
        """The moment of the warning, in seconds since 1970, as far as known."""
        return self._ends - self._warning_s

    def is_near(self) -> bool:
        """Return whether it is too late to begin a trial."""
        return self._reached(self._warning_s + self._draining_s)

    def is_due(self) -> bool:
        """Return whether it is time for the warning, which is lost if it arrives while Python starts."""
        return self._reached(self._warning_s)

    def cause(self) -> Cause:
        """Return why Slurm's warning came just now."""
        own = self._slurm.own_job()
        if own is not None and (own.preempted or own.state != "RUNNING"):
            return "preempted"
        self._take(own)
        return "time_limit" if time.time() >= self.warning - _EARLY_S else "preempted"

    def _reached(self, before_s: float) -> bool:
        if time.time() < self._ends - before_s:
            return False
        self._take(self._slurm.own_job())
        return time.time() >= self._ends - before_s

    def _take(self, own: OwnJob | None) -> None:
        if own is not None and own.ends is not None:
            self._ends = float(own.ends)
