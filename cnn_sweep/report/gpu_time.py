"""How long a study had GPUs in use."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cnn_sweep.journal.events import Worker
from cnn_sweep.journal.lines import BadLineError, decode
from cnn_sweep.journal.paths import JOURNAL_SUFFIX, StudyPaths
from cnn_sweep.search.budget import covered
from cnn_sweep.store import report_queries

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.store.reading import StoreReader


def gpu_seconds(store: StoreReader, study: str) -> float | None:
    """Add up the time in which GPUs were in use; None if no worker had any.

    Workers that share GPUs are told by their equal lists of GPUs on one host; what they do at the same time counts
    once. Which GPUs a worker sees stands in the first line of its journal.
    """
    users: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for journal in StudyPaths(store.results, study).journals.glob(f"*{JOURNAL_SUFFIX}"):
        worker = _first(journal)
        if worker is not None and worker.extra.get("gpus"):
            users[(worker.identity.host, *map(str, worker.extra["gpus"]))].append(
                journal.name.removesuffix(JOURNAL_SUFFIX)
            )
    if not users:
        return None
    intervals = report_queries.attempt_times(store, study)
    return sum(
        (len(key) - 1) * covered(interval for writer in writers for interval in intervals.get(writer, ()))
        for key, writers in users.items()
    )


def _first(journal: Path) -> Worker | None:
    try:
        with journal.open("rb") as file:
            event = decode(file.readline())
    except (OSError, BadLineError):
        return None
    return event if isinstance(event, Worker) else None
