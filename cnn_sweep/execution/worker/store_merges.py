"""Merges journals into the store from a worker, without ever waiting."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cnn_sweep.store.merge import merge

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

# Seconds between a worker's attempts to merge during a trial.
_WHILE_TRAINING_S = 30.0
# Least seconds between attempts after short trials, because a small merge takes as long as a large one.
_BETWEEN_TRIALS_S = 2.0


class Merger:
    """Merges all journals from time to time; if another process is merging, or the store is broken, it moves on."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._last = time.monotonic()

    def after_trial(self) -> None:
        """Merge, unless this worker did so within the last 2 s."""
        self._merge_if_older_than(_BETWEEN_TRIALS_S)

    def while_training(self) -> None:
        """Merge, unless this worker did so within the last 30 s."""
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
