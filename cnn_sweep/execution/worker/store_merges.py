"""How a worker keeps the store fresh without ever waiting for it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cnn_sweep.store.merge import merge

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# While it trains, a worker tries this often, in seconds.
_WHILE_TRAINING_S = 30.0
# Between short trials it tries no more often than this: a merge costs the same for one line as for a thousand.
_BETWEEN_TRIALS_S = 2.0


class Merger:
    """Merges everybody's journals now and then; another merger at work, or a broken store, is no reason to wait."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._last = time.monotonic()

    def after_trial(self) -> None:
        """Merge unless that was done a moment ago."""
        self._merge_if_older_than(_BETWEEN_TRIALS_S)

    def while_training(self) -> None:
        """Merge every half minute."""
        self._merge_if_older_than(_WHILE_TRAINING_S)

    def _merge_if_older_than(self, seconds: float) -> None:
        if time.monotonic() - self._last >= seconds:
            self.merge()

    def merge(self) -> None:
        """Try to merge once."""
        report = merge(self._results)
        if report.skipped:
            log.info("store not merged: %s", report.skipped)
        self._last = time.monotonic()
