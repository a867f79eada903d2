"""Finds the predictions that a study's complete trials kept; they need neither models nor TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.execution.models.client import Predictions
from cnn_sweep.journal.predictions import find

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.history import History


def kept_predictions(study: StudyFolder, history: History, numbers: Iterable[int]) -> dict[int, Predictions]:
    """Return the predictions that complete trials kept, by number; those without any are left out."""
    trials = history.trials
    wanted = {
        number: trials[number].last.number
        for number in numbers
        if number in trials and trials[number].state == "complete"
    }
    return {
        number: Predictions(
            trial=number,
            class_names=kept.class_names,
            probabilities=kept.probabilities,
            labels=kept.labels,
            prepared=None,
            split=kept.split,
            rows=kept.rows,
        )
        for number, kept in find(study.paths, wanted).items()
    }
