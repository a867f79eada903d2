"""Imports trials from an Optuna storage into a study, so that its sampler can learn from them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import Known
from cnn_sweep.sweep.spec.search import ADAPTIVE_METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cnn_sweep.sweep.sweep import Sweep


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        new: Number of imported trials.
        known: Number of trials that had been imported before.
        skipped: Number of trials that cannot be used, by reason.
    """

    new: int
    known: int
    skipped: Mapping[str, int]


def import_from_optuna(sweep: Sweep, results: Path, storage: str, name: str) -> Imported:
    """Create or open the study of a sweep, and journal the trials of an Optuna study in it.

    Args:
        sweep: The sweep.
        results: Root of all studies.
        storage: Optuna's storage, such as ``sqlite:///study.db``.
        name: The study's name in that storage.

    Raises:
        InputError: The sweep's search method does not learn from results, or there is no such study.
        EnvironmentFault: The storage cannot be read.
    """
    if not sweep.search.is_adaptive:
        adaptive = ", ".join(sorted(ADAPTIVE_METHODS))
        raise InputError(f"the method {sweep.search.method!r} does not learn from results; those that do: {adaptive}")
    from cnn_sweep.search.optuna_study import read_study  # noqa: PLC0415 - Optuna takes a fifth of a second to import

    found = read_study(storage, name, sweep)
    study = StudyFolder.open_or_create(sweep, results)
    history = study.history()
    source = f"{storage}#{name}"
    fresh = [one for one in found.trials if (source, one[0]) not in history.known]
    with study.journal("login") as journal:
        for number, params, state, values in fresh:
            event = Known(time.time(), source=source, number=number, params=params, state=state, values=values)
            journal.append(event)
    return Imported(len(fresh), len(found.trials) - len(fresh), dict(found.skipped))
