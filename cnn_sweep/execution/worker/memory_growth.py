"""Whether a worker grows from trial to trial without end, as processes that train many networks tend to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STATUS = Path("/proc/self/status")
# Graphs of shapes that come later are growth, too, but no leak: a worker is warm after so many trials.
_WARM_TRIALS = 20
_GROWTH = 1.2
# A new process costs seconds; growth by less than this is not worth them, in bytes.
_SLACK = 200e6


def own_bytes() -> int:
    """Return the memory that this process has to itself: pages of mapped files, such as data sets, do not count."""
    for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    return 0


class GrowthWatch:
    """Compares a worker's memory with what it was when it was warm."""

    def __init__(self, read: Callable[[], int] = own_bytes) -> None:
        self._read = read
        self._trials = 0
        self._warm: int | None = None

    def after_trial(self) -> str | None:
        """Return in words by how much this process has grown, if that is too much."""
        self._trials += 1
        if self._trials < _WARM_TRIALS:
            return None
        now = self._read()
        if self._warm is None:
            self._warm = now
        if now <= self._warm * _GROWTH + _SLACK:
            return None
        return f"{now / 1e6:.0f} MB after {self._trials} trials, {self._warm / 1e6:.0f} MB after {_WARM_TRIALS}"
