"""What a worker process is told by the pool that starts it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cnn_sweep.execution.attempts.retries import Retries


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of one worker.

    Attributes:
        results: Root of all studies.
        study: The study's name.
        threads: Threads that TensorFlow may use.
        trials: Trials after which it ends; None goes on until nothing is left to claim.
        since: When the run or the job that it belongs to was begun, in seconds since 1970.
        drain_at: Moment after which it begins no trial, in seconds since 1970; None has no such moment.
        retries: What is tried again.
        alone: Whether it has its device to itself, for trials that ran out of memory.
        gpu_memory_mb: Memory of the GPU that it may use; None lets it grow.
    """

    results: Path
    study: str
    threads: int
    since: float
    trials: int | None = None
    drain_at: float | None = None
    retries: Retries = field(default_factory=Retries)
    alone: bool = False
    gpu_memory_mb: int | None = None

    def to_argument(self) -> str:
        """Give the settings as one command-line argument."""
        return json.dumps(asdict(self) | {"results": str(self.results)})

    @classmethod
    def from_argument(cls, text: str) -> WorkerSettings:
        """Read what :meth:`to_argument` wrote."""
        values = json.loads(text)
        return cls(**values | {"results": Path(values["results"]), "retries": Retries(**values["retries"])})
