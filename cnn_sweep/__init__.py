"""Hyperparameter sweeps of convolutional networks on Slurm clusters.

Words, one meaning each:

study: one sweep and all that happened in it.
configuration: one assignment of hyperparameters.
trial: one configuration trained with one seed.
repeat: the same configuration with another seed.
attempt: one uninterrupted run of a trial by one worker.
worker: one process that trains trials. pool: the workers of one machine or array task.
claim: the exclusive right to one attempt.
journal: one writer's append-only event file. store: the SQL database that is made from the journals.
profile: a cluster's settings.
search space, sampler, pruner, objective: as in Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_sweep.study import Study
    from cnn_sweep.sweep.space.expand_grid import expand_grid
    from cnn_sweep.sweep.sweep import Sweep

__all__ = ["Study", "Sweep", "expand_grid"]

# Imported on first use, because a command's help needs none of them.
_HOMES = {
    "Study": "cnn_sweep.study",
    "Sweep": "cnn_sweep.sweep.sweep",
    "expand_grid": "cnn_sweep.sweep.space.expand_grid",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - only needed by those who ask

        return version("cnn-sweep")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
