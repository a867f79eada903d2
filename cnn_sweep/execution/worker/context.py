"""What a worker's parts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnn_sweep.execution.study.frozen import FrozenStudy
    from cnn_sweep.execution.worker.settings import WorkerSettings
    from cnn_sweep.execution.worker.stop_request import StopRequest
    from cnn_sweep.execution.worker.store_merges import Merger
    from cnn_sweep.journal.claims import Claims
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.search.pruning_rules import PruningRules


@dataclass(frozen=True)
class WorkerContext:
    """The surroundings of one worker.

    Attributes:
        study: What is run.
        history: What the journals say.
        claims: The worker's claims.
        journal: The worker's own journal.
        stop: Whether someone asked it to stop.
        merger: Keeps the store fresh.
        settings: What the pool told this worker.
        pruning: What the study's pruner lets its trials do.
    """

    study: FrozenStudy
    history: History
    claims: Claims
    journal: JournalWriter
    stop: StopRequest
    merger: Merger
    settings: WorkerSettings
    pruning: PruningRules
