"""The first Ctrl-C ends a command that looks again and again, whenever it comes."""

from __future__ import annotations

import signal
import time

import pytest

from cnn_sweep.cli.ui.interrupt import interruptible


def test_an_interrupt_while_an_object_is_finalized_counts():
    """Python would print such an exception, and go on as if nobody had typed anything."""

    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with interruptible() as interrupt:
        assert not interrupt.wait(0.01)
        del (held := [Finalized()])[:]
        assert held == []
        began = time.monotonic()
        assert interrupt.wait(60)
    assert time.monotonic() - began < 30


def test_a_second_interrupt_ends_at_once():
    """A second Ctrl-C interrupts a poll; afterwards, the original signal handler is restored."""
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
