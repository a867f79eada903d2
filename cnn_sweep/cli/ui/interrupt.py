"""Ctrl-C for commands that poll: the first one ends them after the current poll, the second at once."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SLICE_S = 0.1


class Interrupt:
    """The user's request to stop.

    A flag, not an exception, because Python drops exceptions raised while it finalizes an object.

    Attributes:
        asked: Whether Ctrl-C has been pressed.
    """

    def __init__(self) -> None:
        self.asked = False

    def wait(self, seconds: float) -> bool:
        """Wait some seconds, or until an interrupt; return whether there was one."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))  # in slices, since a signal handler that returns does not end a sleep
        return self.asked


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Record the first interrupt within the block; the second one raises ``KeyboardInterrupt``."""
    interrupt = Interrupt()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        interrupt.asked = True

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
