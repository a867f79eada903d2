"""The protocol between a pool and its workers: settings as an argument, stop signals, exit codes.

A pool starts each worker with :class:`WorkerSettings`, stops it with one of ``STOP_SIGNALS``, and learns from its exit
code, an :class:`Ending`, why it ended.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnn_sweep.execution.attempts.retries import Retries

if TYPE_CHECKING:
    from types import FrameType

# A worker that ends with an error message begins its last line with this.
OWN_WORDS: Final = "cnn-sweep: "
# SIGTERM: cancelled, or preempted without a warning. SIGUSR2: near the time limit, or preempted with one.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR2)
# Slurm's warning may come this much before its time, in seconds.
_EARLY_S: Final = 60.0


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of one worker.

    Attributes:
        results: Root of all studies.
        study: The study's name.
        threads: Threads that TensorFlow may use.
        trials: Number of trials after which it ends; None if it trains until nothing is left to claim.
        since: When its run or job was started, in seconds since 1970.
        drain_at: Moment after which it begins no trial, in seconds since 1970; None if there is none.
        retries: How often failed trials are retried.
        alone: Whether it has a device to itself, for trials that ran out of memory.
        gpu_memory_mb: GPU memory that it may use, in MB; None for as much as it needs.
    """

    results: Path
    study: str
    threads: int
    since: float
    trials: int | None = None
    drain_at: float | None = None
    retries: Retries = field(default_factory=Retries)
    alone: bool = False
    gpu_memory_mb: int | None = None

    def to_argument(self) -> str:
        """Return the settings as one command-line argument, in JSON."""
        return json.dumps(asdict(self) | {"results": str(self.results)})

    @classmethod
    def from_argument(cls, text: str) -> WorkerSettings:
        """Read the settings from the result of :meth:`to_argument`."""
        values = json.loads(text)
        return cls(**values | {"results": Path(values["results"]), "retries": Retries(**values["retries"])})


class Ending(IntEnum):
    """Why a worker ended, as its exit code.

    Attributes:
        DONE: It was asked to stop, or found nothing to claim.
        OUT_OF_MEMORY: A trial ran out of memory and is to be retried with the device to itself.
        GROWN: Its memory has grown too much; another worker replaces it.
    """

    DONE = 0
    OUT_OF_MEMORY = 75
    GROWN = 76


class StopRequest:
    """True once this process must stop, because of a stop signal or the end of its parent process."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._when = 0.0
        self._parent = os.getppid()

    def listen(self) -> None:
        """Take stop signals as requests, and ignore the keyboard's interrupt, on which the pool stops its workers.

        The pool starts its workers with these signals blocked, so none that arrives before this call is lost.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *STOP_SIGNALS})

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # A preemption without a grace time sends both at once, in either order; only SIGUSR2 indicates the cause.
        if self._signal is None or (self._signal, number) == (signal.SIGTERM, signal.SIGUSR2):
            self._signal, self._when = number, time.time()

    def cause(self, drain_at: float | None) -> str:
        """Return the cause of the stop in one word.

        Args:
            drain_at: Moment after which the worker would have begun no trial, in seconds since 1970.
        """
        if self._signal is None:
            return "pool_gone"
        early = _EARLY_S if self._signal == signal.SIGUSR2 else 0.0
        if drain_at is not None and self._when >= drain_at - early:
            return "time_limit"
        # SIGTERM comes from the user, scancel, a requeue or a preemption; the process cannot tell which.
        return "preempted" if self._signal == signal.SIGUSR2 else "stopped"

    def __bool__(self) -> bool:
        """Return whether a stop signal came or the parent process is gone."""
        return self._signal is not None or os.getppid() != self._parent
