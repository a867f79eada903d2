"""Ctrl-C for commands that look again and again: the first ends them between two looks, the second at once."""

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
    """Whether the user has interrupted.

    An exception would be lost where it comes while Python finalizes an object: it prints such exceptions, and goes on.
    """

    def __init__(self) -> None:
        self.asked = False

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until an interrupt; tell whether there was one."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))  # it is not cut short by a handler that returns
        return self.asked


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Note the first interrupt within the block; the second one raises ``KeyboardInterrupt``."""
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
