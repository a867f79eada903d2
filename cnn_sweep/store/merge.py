"""Journals into the store: what a worker tries now and then, and every reading command does first."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from cnn_sweep.journal.filesystem import judge
from cnn_sweep.store.batch import Applied
from cnn_sweep.store.check import CheckReport, check
from cnn_sweep.store.dialect import DamageError, reason
from cnn_sweep.store.inplace import merge_in_place, rebuild_in_place
from cnn_sweep.store.publish import merge_and_publish

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CheckReport", "MergeReport", "check", "merge", "rebuild"]

log = logging.getLogger(__name__)

# A worker spends no more than about this on one merge; what is left is for the next one. In seconds.
_WORK_S = 5.0


@dataclass(frozen=True)
class MergeReport:
    """What a merge did.

    Attributes:
        events: Events that were taken over.
        seconds: How long it took.
        skipped: Why the store does not have all lines now; None if it does.
        bad_lines: Damaged lines that were found in this merge.
        notes: What else the user should know.
    """

    events: int
    seconds: float
    skipped: str | None
    bad_lines: int
    notes: tuple[str, ...] = ()


def merge(results: Path, *, wait_s: float = 0.0) -> MergeReport:
    """Take the journals' new lines into the store.

    A fault of the store is no error: it is what ``skipped`` says. A store that is damaged or of another layout
    is set aside and made anew.

    Args:
        results: Root of the studies.
        wait_s: How long to wait for another merger, in seconds. With 0, as in a worker, a long merge is also
            cut short after a few seconds, and the next one goes on.
    """
    return _run(results, wait_s=wait_s, anew=False)


def rebuild(results: Path, *, wait_s: float = 30.0) -> MergeReport:
    """Forget the store and make it anew from the journals alone; arguments as of :func:`merge`."""
    return _run(results, wait_s=wait_s, anew=True)


def _run(results: Path, *, wait_s: float, anew: bool) -> MergeReport:
    began = time.monotonic()
    if not results.is_dir():
        return MergeReport(0, 0.0, None, 0)
    applied, skipped = Applied(), None
    try:
        applied, skipped = _merge(results, wait_s=wait_s, anew=anew)
    except (OSError, DBAPIError, DamageError, UnicodeError) as error:
        skipped = reason(error)
    for note in applied.notes:
        log.info("%s", note)
    return MergeReport(applied.events, time.monotonic() - began, skipped, applied.bad_lines, tuple(applied.notes))


def _merge(results: Path, *, wait_s: float, anew: bool) -> tuple[Applied, str | None]:
    work_s = math.inf if wait_s > 0 or anew else _WORK_S
    if judge(results).honest:
        if anew:
            return rebuild_in_place(results, wait_s=wait_s)
        return merge_in_place(results, wait_s=wait_s, work_s=work_s)
    return merge_and_publish(results, urgent=wait_s > 0 or anew, work_s=work_s, anew=anew)
