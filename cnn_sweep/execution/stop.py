"""A request to stop, as a worker sees it: a signal, or the end of the process that started it."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

# SIGTERM: cancelled, or preempted without a warning. SIGUSR2: near the time limit, or preempted with one.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class StopRequest:
    """Tells whether this process shall stop at the next chunk."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._parent = os.getppid()

    def listen(self) -> None:
        """Take signals as requests; the keyboard's interrupt is for the pool, which passes it on in its own time."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()

    def __bool__(self) -> bool:
        """Tell whether someone asked, or whether the process that would collect this one is gone."""
        return self._event.is_set() or os.getppid() != self._parent
