"""The best model's predictions of the validation images: its confusion matrix and its most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnn_sweep.report.models.calibration import calibration_of
from cnn_sweep.report.models.predictions import (
    VALIDATION,
    class_table,
    matrix_of,
    misclassified_rows,
    origins,
    prediction_table,
    predictions_of,
)
from cnn_sweep.report.models.validated import groups_of, joined

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.execution.models.client import Predictions
    from cnn_sweep.report.leaderboards.leaderboard import Table
    from cnn_sweep.report.models.calibration import Calibration
    from cnn_sweep.training.evaluation.metrics import Counts

_WORST = 24


@dataclass(frozen=True)
class Mistake:
    """A misclassified image.

    Attributes:
        true: Its class.
        predicted: The class that the model predicts.
        probability: Probability of the predicted class.
        name: The image's name in the data.
    """

    true: str
    predicted: str
    probability: float
    name: str


@dataclass(frozen=True)
class BestModel:
    """One trial's model on the validation images.

    Attributes:
        trial: The trial's number.
        images: Number of validation images.
        wrong: Number of misclassified images.
        class_names: Names of the classes.
        counts: The confusion matrix: true classes down, predicted ones across.
        classes: Precision, recall and F1 of each class.
        calibration: How far its probabilities can be believed.
        mistakes: The most confident mistakes, the most confident first.
        mistaken: Images of ``mistakes``, shape (n, height, width, channels), as stored.
    """

    trial: int
    images: int
    wrong: int
    class_names: tuple[str, ...]
    counts: Counts
    classes: Table
    calibration: Calibration
    mistakes: tuple[Mistake, ...]
    mistaken: npt.NDArray[np.generic]


def best_model(results: Path, study: str, kept: Predictions | None = None) -> BestModel:
    """Return the best trial's predictions of the validation images: those that it kept, or its model's.

    Raises:
        CnnSweepError: There is no model, the images have no classes, or predicting failed.
    """
    found = kept or predictions_of(results, study, VALIDATION)
    rows = misclassified_rows(found)
    judged = joined([found])
    names, images = origins(found, results, study)
    table = prediction_table(found, names, rows=rows[:_WORST])
    return BestModel(
        trial=found.trial,
        images=len(found.probabilities),
        wrong=len(rows),
        class_names=tuple(found.class_names),
        counts=matrix_of(found),
        classes=class_table(found),
        calibration=calibration_of(judged, groups_of(results, study, judged)),
        mistakes=tuple(Mistake(r["true"], r["predicted"], r["probability"], str(r["image"])) for r in table.rows),
        mistaken=np.asarray(images[rows[:_WORST]]),
    )
