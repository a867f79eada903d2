"""A request to stop, as a worker sees it: a signal, or the end of the process that started it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

# SIGTERM: cancelled, or preempted without a warning. SIGUSR2: near the time limit, or preempted with one.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
# Slurm's warning may come this much before its time, in seconds.
_EARLY_S = 60.0


class StopRequest:
    """Tells whether this process shall stop at the next chunk."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._when = 0.0
        self._parent = os.getppid()

    def listen(self) -> None:
        """Take signals as requests; the keyboard's interrupt is for the pool, which passes it on in its own time.

        The pool starts its workers with these signals held, so that one that comes before now waits and is heard.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *STOP_SIGNALS})

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # A preemption without a grace time sends both at once, in either order: SIGUSR2 is the one that says why.
        if self._signal is None or (self._signal, number) == (signal.SIGTERM, signal.SIGUSR2):
            self._signal, self._when = number, time.time()

    def cause(self, drain_at: float | None) -> str:
        """Say in one word why this worker stops.

        Args:
            drain_at: Moment after which it would have begun no trial, in seconds since 1970.
        """
        if self._signal is None:
            return "pool_gone"
        early = _EARLY_S if self._signal == signal.SIGUSR2 else 0.0
        if drain_at is not None and self._when >= drain_at - early:
            return "time_limit"
        # SIGTERM comes from the user, scancel, a requeue or a preemption: a process is not told from whom.
        return "preempted" if self._signal == signal.SIGUSR2 else "stopped"

    def __bool__(self) -> bool:
        """Tell whether someone asked, or whether the process that would collect this one is gone."""
        return self._signal is not None or os.getppid() != self._parent
