"""Validation predictions by trial, or by the folds of a configuration together, for numbers that need every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import StudyError
from cnn_sweep.execution.models.kept_predictions import kept_predictions
from cnn_sweep.execution.models.model_files import complete_trial
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.retention import best_numbers
from cnn_sweep.messages import few
from cnn_sweep.report.models.predictions import VALIDATION, predictions_of
from cnn_sweep.training.data.dataset import image_groups
from cnn_sweep.training.data.prepare import last_prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.execution.models.client import Predictions
    from cnn_sweep.journal.history import History

    Indices = npt.NDArray[np.intp]


_PARTS: Final = 5
_MOST: Final = 100  # trials whose predictions are in memory together


@dataclass(frozen=True)
class Validated:
    """Predictions of images with which networks were validated and not trained.

    Attributes:
        trials: The trial; or, with cross-validation, those of the folds of its configuration.
        class_names: Names of the classes.
        split: The split that has the images.
        rows: Indices of the images in the split, shape (n,).
        labels: Indices of their true classes, shape (n,).
        probabilities: Probability of each class, shape (n, classes).
    """

    trials: tuple[int, ...]
    class_names: tuple[str, ...]
    split: str
    rows: Indices
    labels: Indices
    probabilities: npt.NDArray[np.float32]

    @property
    def name(self) -> str:
        """The trials in words."""
        return f"trial {self.trials[0]}" if len(self.trials) == 1 else f"trials {few([*map(str, self.trials)])}"

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether each image's predicted class is its own, shape (n,)."""
        right: npt.NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right

    def at(self, rows: Indices) -> Validated:
        """Return the predictions of some of its images, in the order of the given rows of the split."""
        order = np.argsort(self.rows)
        places = order[np.searchsorted(self.rows, rows, sorter=order)]
        chosen = rows, self.labels[places], self.probabilities[places]
        return Validated(self.trials, self.class_names, self.split, *chosen)


def validated(results: Path, study: str, trials: Sequence[int | None]) -> list[Validated]:
    """Return the validation predictions of complete trials; None stands for the best one.

    With cross-validation, each trial stands for the complete folds of its configuration. Trials that kept no
    predictions ask their models.

    Raises:
        StudyError: There is no such trial, or it is not complete.
    """
    folder = StudyFolder.open(results, study)
    history = folder.history()
    numbers = [complete_trial(folder, history, trial) for trial in trials]
    kept = kept_predictions(folder, history, {one for number in numbers for one in _family(history, number)})
    together = {number: pool for pool in pools_of(history, kept) for number in pool}
    return [
        joined([kept[one] for one in together[number]])
        if number in kept
        else joined([predictions_of(results, study, VALIDATION, trial=number)])
        for number in numbers
    ]


def best_validated(results: Path, study: str, history: History | None = None) -> list[Validated]:
    """Return the kept predictions of the best 100 trials and their repeats, the best first; folds together.

    Args:
        results: Root of all studies.
        study: The study's name.
        history: Its history, if it has been read.

    Raises:
        StudyError: No trial is complete, or none kept its predictions.
    """
    folder = StudyFolder.open(results, study)
    history = history or folder.history()
    ranked = best_numbers(history, folder.sweep, len(history.trials))
    configurations = {history.trials[number].configuration for number in ranked[:_MOST]}
    wanted = {
        number: place for place, number in enumerate(ranked) if history.trials[number].configuration in configurations
    }
    kept = kept_predictions(folder, history, wanted)
    if not kept:
        why = "none is complete, or they had too many images, or an earlier version or your own function trained them"
        if not folder.sweep.models_predictions:
            why = "the sweep file has models: {predictions: false}"
        raise StudyError(f"{study}: no trial kept its predictions: {why}")
    pools = sorted(pools_of(history, kept), key=lambda pool: min(wanted[number] for number in pool))
    return [joined([kept[number] for number in pool]) for pool in pools]


def of_same_images(found: Sequence[Validated]) -> list[Validated]:
    """Return those of the images of the first, sorted by row; those of other images are left out."""
    rows = np.sort(found[0].rows)
    return [one.at(rows) for one in found if one.split == found[0].split and np.array_equal(np.sort(one.rows), rows)]


def groups_of(results: Path, study: str, found: Validated) -> tuple[str, ...] | None:
    """Return the group of each image, such as its site; None if the data have none, or are not prepared here."""
    folder = StudyFolder.open(results, study)
    path = last_prepared(folder.sweep.data, folder.sweep.folder, folder.data_root)
    if path is None or (groups := image_groups(path, found.split)) is None:
        return None
    return tuple(groups[row] for row in found.rows)


def members(groups: Sequence[str] | None) -> list[Indices] | None:
    """Return the places of each group's images, for :func:`.statistics.bootstrap`."""
    if groups is None:
        return None
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    return [np.flatnonzero(places == one) for one in range(int(places.max()) + 1)]


def pools_of(history: History, kept: Mapping[int, Predictions]) -> list[list[int]]:
    """Divide trials into those that are judged together: the folds of one partition of one configuration.

    Repeats with other seeds validate the same images; each of them stands alone.

    Args:
        history: History of the study.
        kept: Predictions by trial.
    """
    families: dict[str | int, list[int]] = {}
    for number in sorted(kept, key=lambda one: (history.trials[one].repeat or 0, one)):
        families.setdefault(history.trials[number].configuration or number, []).append(number)
    pools: list[list[int]] = []
    for family in families.values():
        taken: set[int] | None = None
        for number in family:
            rows = set(_rows(kept[number]).tolist())
            if taken is None or taken & rows:
                pools.append([])
                taken = set()
            pools[-1].append(number)
            taken |= rows
    return pools


def _family(history: History, number: int) -> list[int]:
    """Return the numbers of all trials of a trial's configuration."""
    configuration = history.trials[number].configuration
    return (
        [number]
        if configuration is None
        else [one.number for one in history.trials.values() if one.configuration == configuration]
    )


def _rows(found: Predictions) -> Indices:
    return np.arange(len(found.probabilities)) if found.rows is None else found.rows.astype(np.intp)


def joined(found: Sequence[Predictions]) -> Validated:
    """Return predictions of images of one split, whose classes are known, together."""
    labels: list[Any] = [one.labels for one in found]
    return Validated(
        trials=tuple(one.trial for one in found),
        class_names=found[0].class_names,
        split=found[0].split,
        rows=np.concatenate([_rows(one) for one in found]),
        labels=np.concatenate(labels).astype(np.intp),
        probabilities=np.concatenate([one.probabilities for one in found]),
    )


def parts_of(images: int, groups: Sequence[str] | None, *, seed: int = 0) -> Indices:
    """Return the part of each image, from 0 to 4, for estimates that are fitted to the other parts; groups stay whole.

    Args:
        images: Number of images.
        groups: Group of each image; None if images are independent.
        seed: Another one gives other parts.
    """
    random = np.random.default_rng(seed)
    own = np.arange(images)
    if groups is not None and len(set(groups)) > 1:
        _, own = np.unique(np.asarray(groups), return_inverse=True)
    found: Indices = (random.permutation(int(own.max()) + 1) % _PARTS)[own]
    return found
