"""How long a worker without work waits for what others do: their results may let a paused trial go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnn_sweep.journal.history import History

# Between two looks, in seconds: the first, and the longest, since many may wait on one file system.
_LOOK_FIRST_S = 0.3
_LOOK_MOST_S = 5.0
# Others that are silent for so many of their epochs, or for this long, are not waited for; seconds. Whoever of them
# still lives goes on with what is left by itself.
_SILENT_EPOCHS = 4
_SILENT_S = 60.0


class IdleWait:
    """Lasts while the journals grow."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._news_at = time.monotonic()
        self._events = 0.0
        self._pause_s = _LOOK_FIRST_S

    def sleep(self) -> None:
        """Wait a little, longer each time."""
        time.sleep(self._pause_s)
        self._pause_s = min(_LOOK_MOST_S, 1.3 * self._pause_s)

    def lasts(self) -> bool:
        """Tell whether to look again, after the history was refreshed."""
        newest = max((worker.last_event for worker in self._history.workers.values()), default=0.0)
        if newest != self._events:
            self._events, self._news_at = newest, time.monotonic()
        epochs = (
            row.seconds
            for trial in self._history.trials.values()
            if trial.state == "running"
            for row in trial.last.epochs.values()
        )
        return time.monotonic() - self._news_at < max(_SILENT_S, _SILENT_EPOCHS * max(epochs, default=0.0))
