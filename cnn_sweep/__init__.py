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

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from cnn_sweep.api import Sweep
    from cnn_sweep.errors import (
        CnnSweepError,
        EnvironmentFault,
        InputError,
        Interrupted,
        StudyError,
        SweepFileError,
    )
    from cnn_sweep.study import Study, known_studies
    from cnn_sweep.sweep.space.expand_grid import expand_grid

__all__ = [
    "CnnSweepError",
    "EnvironmentFault",
    "InputError",
    "Interrupted",
    "Study",
    "StudyError",
    "Sweep",
    "SweepFileError",
    "expand_grid",
    "known_studies",
]

# Imported on first use, because a command's help needs none of them.
_HOMES = {
    "Study": "cnn_sweep.study",
    "Sweep": "cnn_sweep.api",
    "expand_grid": "cnn_sweep.sweep.space.expand_grid",
    "known_studies": "cnn_sweep.study",
}


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - only needed by those who ask

        return version("cnn-sweep")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(_HOMES.get(name, "cnn_sweep.errors")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
