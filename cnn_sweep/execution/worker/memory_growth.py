"""Detects memory growth of a worker from trial to trial, which is common in processes that train many networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STATUS = Path("/proc/self/status")
# New graphs need memory, too, but do not leak. A worker is warm after this many trials.
_WARM_TRIALS = 20
_GROWTH = 1.2
# A new process costs seconds, so growth by fewer bytes than this is accepted.
_SLACK = 200e6


def own_bytes() -> int:
    """Return this process's own memory in bytes, without pages of mapped files such as data sets."""
    for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    return 0


class GrowthWatch:
    """Compares a worker's memory with that after its first trials, when it was warm."""

    def __init__(self, read: Callable[[], int] = own_bytes) -> None:
        self._read = read
        self._trials = 0
        self._warm: int | None = None

    def after_trial(self) -> str | None:
        """Return a description of the growth if it is too large, else None."""
        self._trials += 1
        if self._trials < _WARM_TRIALS:
            return None
        now = self._read()
        if self._warm is None:
            self._warm = now
        if now <= self._warm * _GROWTH + _SLACK:
            return None
        return f"{now / 1e6:.0f} MB after {self._trials} trials, {self._warm / 1e6:.0f} MB after {_WARM_TRIALS}"
