"""The one place that opens the test set: measures the best trials' models on it and journals what it finds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cnn_sweep.execution.models.model_files import best_trials, model_file
from cnn_sweep.execution.study.provenance import start_journal
from cnn_sweep.journal.events import Finalize

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cnn_sweep.execution.study.frozen import FrozenStudy
    from cnn_sweep.execution.worker.engine import Engine
    from cnn_sweep.journal.history import History

    Losses = npt.NDArray[np.float64]


def finalize(study: FrozenStudy, history: History, engine: Engine, top: int) -> tuple[list[int], Losses]:
    """Measure the best trials of a study on its test set.

    Returns:
        Their numbers, the best first; and the best one's loss on each image.

    Raises:
        StudyError: No trial is complete, or a result cannot be had again.
        InputError: The sweep's data has no test set.
    """
    numbers = best_trials(study, history, top)
    with start_journal(study.paths) as journal:
        losses = []
        for number in numbers:
            spec = study.sweep.resolve(history.trials[number].params or {})
            found = engine.measure_on_test(spec, model_file(study, history, number, engine))
            journal.append(Finalize(time=time.time(), trial=number, metrics=found.metrics))
            losses.append(found.losses)
    return numbers, losses[0]
