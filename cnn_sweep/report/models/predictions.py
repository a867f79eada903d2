"""Predictions of a study's trained models as tables: confusion matrices, class scores, misclassified images."""

from __future__ import annotations

import difflib
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.execution.models import client as models
from cnn_sweep.execution.models.kept_predictions import kept_predictions
from cnn_sweep.execution.models.model_files import complete_trial
from cnn_sweep.execution.study.same_data import check_same_data
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.models.requested_images import choose_images, prepared_data
from cnn_sweep.training.data.dataset import UNLABELLED, Item, items, load
from cnn_sweep.training.data.prepare import prepared
from cnn_sweep.training.evaluation.metrics import class_scores, confusion_matrix, proportions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cnn_sweep.execution.models.client import Predictions
    from cnn_sweep.training.evaluation.metrics import Counts


VALIDATION: Final = "validation"


def predictions_of(results: Path, study: str, split: str, *, trial: int | None = None) -> Predictions:
    """Return a trial's predictions of a split: those that it kept of its validation images, else its model's.

    Args:
        results: Root of all studies.
        study: The study's name.
        split: ``train``, ``validation`` or ``test``.
        trial: Number of a complete trial; None for the best.

    Raises:
        StudyError: No such trial, or the split is the test set and still sealed.
        InputError: The data has no such split.
    """
    kept = kept_of(results, study, trial) if split == VALIDATION else None
    return kept or models.predict_split(results, study, split, trial=trial)


def kept_of(results: Path, study: str, trial: int | None = None) -> Predictions | None:
    """Return the predictions that a complete trial kept, by default the best one; None if it kept none.

    Raises:
        StudyError: There is no such trial, or it is not complete.
    """
    folder = StudyFolder.open(results, study)
    history = folder.history()
    number = complete_trial(folder, history, trial)
    return kept_predictions(folder, history, [number]).get(number)


def images_in_words(found: Predictions, split: str) -> str:
    """Name the images of predictions: a split, or the part of it with which a trial was validated."""
    if found.rows is None or np.array_equal(found.rows, np.arange(len(found.rows))):
        return f"{split} set"
    return f"the {len(found.rows)} images with which it was validated"


def origins(found: Predictions, results: Path, study: str) -> tuple[Sequence[Item], npt.NDArray[np.generic]]:
    """Return the origin of each predicted image of a split, and the images as stored, which are read when indexed.

    Raises:
        StudyError: The data are not those with which the study was trained.
        InputError: The images are gone.
    """
    folder = found.prepared
    if folder is None:
        opened = StudyFolder.open(results, study)
        with opened.sweep.locate_errors("data"):
            folder = prepared(opened.sweep.data, opened.sweep.folder, opened.data_root)
        check_same_data(opened, load(folder, splits=()).fingerprint)
    names, images = items(folder, found.split), load(folder, splits=(found.split,)).splits[found.split].x
    if found.rows is None or len(found.rows) == len(names):
        return names, images
    return [names[row] for row in found.rows], images[found.rows]


def matrix_of(found: Predictions) -> Counts:
    """Return the confusion matrix, shape (classes, classes): true classes down, predicted ones across.

    Raises:
        InputError: The images have no labels.
    """
    if found.labels is None:
        raise InputError("these images have no labels, so their predictions cannot be judged")
    return confusion_matrix(found.labels, found.predicted, len(found.class_names))


def confusion_table(found: Predictions, *, share: str | None = None) -> Table:
    """Return a confusion matrix with a row per true class and a column per predicted one.

    Args:
        found: Predictions with labels.
        share: Name of the total that counts are divided by, see :func:`proportions`; None for counts.
    """
    counts = matrix_of(found)
    values = counts if share is None else proportions(counts, share)
    columns = [f"as {name}" for name in found.class_names]
    rows = [
        {"true": name} | {column: _known(value) for column, value in zip(columns, line.tolist(), strict=True)}
        for name, line in zip(found.class_names, values, strict=True)
    ]
    return Table(("true", *columns), tuple(rows))


def class_table(found: Predictions) -> Table:
    """Return precision, recall and F1 of each class; empty if a class never occurs or is never predicted."""
    rows = [
        {
            "class": name,
            "precision": _known(score.precision),
            "recall": _known(score.recall),
            "f1": _known(score.f1),
            "images": score.support,
        }
        for name, score in zip(found.class_names, class_scores(matrix_of(found)), strict=True)
    ]
    return Table(("class", "precision", "recall", "f1", "images"), tuple(rows))


def prediction_table(found: Predictions, images: Sequence[Item], *, rows: Sequence[int] | None = None) -> Table:
    """List images with their predicted class, all probabilities and, if it is known, the true class.

    Args:
        found: The predictions.
        images: The images' names; tiles also have a row and a column.
        rows: Indices of the images to list, in this order; None for all.
    """
    chances = [f"p_{name}" for name in found.class_names]
    predicted = found.predicted
    true = () if found.labels is None else ("true",)
    lines: list[dict[str, Any]] = []
    for row in range(len(images)) if rows is None else rows:
        guess = int(predicted[row])
        line: dict[str, Any] = {"image": images[row].name, "row": images[row].row, "column": images[row].column}
        if found.labels is not None:
            line["true"] = found.class_names[found.labels[row]]
        line |= {"predicted": found.class_names[guess], "probability": float(found.probabilities[row, guess])}
        lines.append(line | dict(zip(chances, found.probabilities[row].tolist(), strict=True)))
    place = ("row", "column") if any(image.row is not None for image in images) else ()
    return Table(("image", *place, *true, "predicted", "probability", *chances), tuple(lines))


def misclassified_rows(found: Predictions, *, true: str | None = None, predicted: str | None = None) -> list[int]:
    """Return the indices of the misclassified images, the most confident mistakes first.

    Args:
        found: Predictions with labels.
        true: Only images of this class.
        predicted: Only images predicted as this class.

    Raises:
        InputError: There is no such class, or there are no labels.
    """
    matrix_of(found)
    labels, guesses = np.asarray(found.labels), found.predicted
    wanted: npt.NDArray[np.bool_] = labels != guesses
    for name, of in ((true, labels), (predicted, guesses)):
        if name is not None:
            wanted = wanted & (of == class_index(found.class_names, name))
    rows = np.flatnonzero(wanted)
    sureness = found.probabilities[rows, guesses[rows]]
    return [int(row) for row in rows[np.argsort(-sureness, kind="stable")]]


def class_index(class_names: Sequence[str], name: str) -> int:
    """Return the index of a class.

    Raises:
        InputError: There is no such class; the message lists all of them and suggests the most similar one.
    """
    if name in class_names:
        return class_names.index(name)
    near = difflib.get_close_matches(name, class_names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"no class {name!r}; classes: {', '.join(class_names)}{hint}")


def _known(value: float) -> float | None:
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True)
class TrainedModels:
    """The trained models of one study. Trials are given by number; None means the best trial.

    Attributes:
        results: Root of all studies.
        study: The study's name.
    """

    results: Path
    study: str

    def confusion(self, trial: int | None, split: str, share: str | None) -> Table:
        """Return the confusion matrix of a split; for ``share`` see :func:`confusion_table`."""
        return confusion_table(predictions_of(self.results, self.study, split, trial=trial), share=share)

    def misclassified(self, trial: int | None, split: str, true: str | None, predicted: str | None) -> Table:
        """List the misclassified images of a split, the most confident mistakes first."""
        found = predictions_of(self.results, self.study, split, trial=trial)
        rows = misclassified_rows(found, true=true, predicted=predicted)
        return prediction_table(found, origins(found, self.results, self.study)[0], rows=rows)

    def predict(self, images: Sequence[str], trial: int | None) -> Table:
        """Predict image files and folders of image files; without any, the unlabelled images of the data."""
        if not images:
            found = models.predict_split(self.results, self.study, UNLABELLED, trial=trial)
            return prediction_table(found, origins(found, self.results, self.study)[0])
        chosen = choose_images(self.results, self.study, images)
        if chosen.bad:
            raise InputError("; ".join(f"{image.name}: {image.reason}" for image in chosen.bad))
        found = models.predict_images(self.results, self.study, chosen.x, trial=trial)
        return prediction_table(found, tuple(map(Item, chosen.names)))

    def predict_array(self, images: npt.NDArray[np.generic], trial: int | None) -> Table:
        """Predict images in an array, shape (n, height, width, channels); one image may lack the first axis."""
        data = load(prepared_data(self.results, self.study))
        shape = data.info.image_shape
        if images.shape == shape:
            images = images[np.newaxis]
        if images.shape[1:] != shape or not len(images):
            wanted = f"(n, {', '.join(map(str, shape))})"
            raise InputError(f"the array has the shape {images.shape}; images of this study have {wanted}")
        if data.train.x.dtype == np.uint8 and images.dtype.kind == "f" and images.max() <= 1:
            raise InputError("the array's values are 0 to 1, those of this study's images 0 to 255; multiply by 255")
        found = models.predict_images(self.results, self.study, images, trial=trial)
        return prediction_table(found, tuple(Item(str(place)) for place in range(len(images))))

    def load(self, trial: int | None) -> Any:
        """Load a model into this process, which starts TensorFlow."""
        from cnn_sweep.training.evaluation.evaluate import load_model  # noqa: PLC0415 - nothing else here needs TensorFlow

        with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as folder:
            file = Path(folder) / "model.keras"
            models.save_model(self.results, self.study, file, trial=trial)
            return load_model(file)
