"""The protocol between a pool and its workers: settings as an argument, stop signals, exit codes.

A pool starts each worker with :class:`WorkerSettings`, itself or by a fork server, stops it with one of
``STOP_SIGNALS``, and learns from its exit code, an :class:`Ending`, why it ended.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from cnn_sweep.execution.attempts.retries import Retries

if TYPE_CHECKING:
    from types import FrameType

# A worker that ends with an error message begins its last line with this.
OWN_WORDS: Final = "cnn-sweep: "
# SIGTERM: cancelled, or preempted without a warning. SIGUSR2: near the time limit, or preempted with one.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGUSR2)
# Why a pool asks its workers to stop, and the word on which they begin no trial.
Cause = Literal["time_limit", "preempted"]
_CAUSES: Final = get_args(Cause)
_DRAIN: Final = "drain"
# A pool that got Slurm's warning asks for its cause. Its workers, who got it too, wait this long for the answer.
_CAUSE_WITHIN_S: Final = 3.0
_WORD_BYTES: Final = 16
# Argument of a fork server after the workers' settings: Keras may import its optional packages.
WHOLE_KERAS: Final = "--whole-keras"
# Most bytes of a message between a pool and its fork server.
FORK_REQUEST_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of one worker.

    Attributes:
        results: Root of all studies.
        study: The study's name.
        threads: Threads that TensorFlow may use.
        trials: Number of trials after which it ends; None if it trains until nothing is left to claim.
        since: When its run or job was started, in seconds since 1970.
        retries: How often failed trials are retried.
        alone: Whether it has a device to itself, for trials that ran out of memory.
        gpu_memory_mb: GPU memory that it may use, in MB; None for as much as it needs.
        stage: Where on its node a copy of the data is read; None to read them where they were prepared.
        word: File descriptor of the pool's word, which the worker inherits; None if there is none.
    """

    results: Path
    study: str
    threads: int
    since: float
    trials: int | None = None
    retries: Retries = field(default_factory=Retries)
    alone: bool = False
    gpu_memory_mb: int | None = None
    stage: str | None = None
    word: int | None = None

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


class PoolWord:
    """A pool's word to its workers, in memory that they inherit: what signals alone do not tell.

    Attributes:
        descriptor: The memory's file descriptor, for a worker's settings.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Open a worker's descriptor, or new memory, which is gone with its last process."""
        self.descriptor = os.memfd_create("cnn-sweep-pool") if descriptor is None else descriptor

    def drain(self) -> None:
        """Let the workers begin no trial."""
        self._say(_DRAIN)

    def stop(self, cause: Cause) -> None:
        """Say why Slurm's warning came."""
        self._say(cause)

    def _say(self, word: str) -> None:
        os.pwrite(self.descriptor, word.ljust(_WORD_BYTES).encode("ascii"), 0)

    def heard(self) -> str:
        """Return the latest word; empty if there is none."""
        return os.pread(self.descriptor, _WORD_BYTES, 0).decode("ascii").strip()


class StopRequest:
    """True once this process must stop, because of a stop signal or the end of its parent process."""

    def __init__(self, word: int | None = None) -> None:
        """Prepare to be asked; ``word`` is the descriptor in the worker's settings."""
        self._signal: int | None = None
        self._when = 0.0
        self._parent = os.getppid()
        self._word = None if word is None else PoolWord(word)

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
            self._signal, self._when = number, time.monotonic()

    def cause(self) -> str:
        """Return the cause of the stop in one word; after Slurm's warning, wait some seconds for the pool's answer."""
        if self._signal is None:
            return "pool_gone"
        if self._signal == signal.SIGTERM:  # from the user, scancel, a requeue or a preemption; nobody can tell which
            return "stopped"
        until = 0.0 if self._word is None else self._when + _CAUSE_WITHIN_S
        while (word := self._heard()) not in _CAUSES and time.monotonic() < until:
            time.sleep(0.05)
        if word in _CAUSES:
            return word
        return "time_limit" if word == _DRAIN else "preempted"

    @property
    def drains(self) -> bool:
        """Whether no further trial may begin."""
        return self._heard() != ""

    def _heard(self) -> str:
        return "" if self._word is None else self._word.heard()

    def __bool__(self) -> bool:
        """Return whether a stop signal came or the parent process is gone."""
        return self._signal is not None or os.getppid() != self._parent
