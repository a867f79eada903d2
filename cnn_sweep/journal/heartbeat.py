"""Heartbeats: a process touches its journal now and then, so that one that cannot be asked is seen to live.

An epoch may take hours, so events alone do not show that their writer lives. The time of a journal's last change is set
by the file server. It is compared with the server's present time, and never with a machine's own clock.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERY_S: Final = 30.0
# A process that has missed six heartbeats is silent.
SILENT_S: Final = 180.0


@contextmanager
def beating(journal: Path, *, every_s: float = EVERY_S) -> Iterator[None]:
    """Touch this process's journal regularly, in a thread, until the end of the block.

    Args:
        journal: The journal.
        every_s: Seconds between two heartbeats.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every_s):
            with suppress(OSError):  # the next one counts as well; a removed study needs none
                os.utime(journal)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    # The thread takes no signals, because a pool blocks them in its main thread while it starts a worker.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with suppress(RuntimeError):  # the user may have no more processes: better to train without a heartbeat
            thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield
    finally:
        ended.set()


def last_change(file: Path) -> float | None:
    """Return when a file last changed, by the clock of its file server; None if it cannot be read.

    The file is opened, because a network file system answers from memory otherwise.
    """
    try:
        with file.open("rb") as opened:
            return os.fstat(opened.fileno()).st_mtime
    except OSError:
        return None


def server_time(folder: Path) -> float:
    """Return the present time by the clock of a folder's file server, or by ours if nothing may be changed there."""
    try:
        os.utime(folder)
        return folder.stat().st_mtime
    except OSError:
        return time.time()
