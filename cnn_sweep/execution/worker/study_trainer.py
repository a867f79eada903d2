"""Trains, exports and evaluates the trials of one study on its data.

Importing this module starts TensorFlow, so the number of threads must be configured first.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.same_data import check_same_data
from cnn_sweep.journal.filesystem import write_once
from cnn_sweep.training.data.dataset import SPLITS, Split, load
from cnn_sweep.training.data.prepare import prepared
from cnn_sweep.training.data.staging import stage
from cnn_sweep.training.evaluation.evaluate import measure
from cnn_sweep.training.network.export import export_ensemble, export_model
from cnn_sweep.training.network.user_functions import load_function
from cnn_sweep.training.trial.checkpoint import CheckpointError
from cnn_sweep.training.trial.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.evaluation.evaluate import Measured
    from cnn_sweep.training.outcome import Monitor, Outcome

log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """Images of a split.

    Attributes:
        images: The images.
        split: The split that has them.
        rows: Their indices in it, shape (n,); None if they are all of it.
    """

    images: Split
    split: str
    rows: npt.NDArray[np.int32] | None = None


class StudyTrainer:
    """Trains, exports and evaluates trials of one study on its prepared data."""

    def __init__(self, study: StudyFolder, *, staged_in: str | None = None) -> None:
        """Load the study's data, and prepare them if they are not prepared yet.

        Args:
            study: The study.
            staged_in: Where on this node a copy of the images is read, as in :func:`.staging.stage`; None to read them
                where they were prepared.

        Raises:
            StudyError: The data are not those of the study's first trials.
        """
        self._code = study.code_folder
        with study.sweep.locate_errors("data"):
            self._prepared = prepared(study.sweep.data, study.sweep.folder, study.data_root)
        self._dataset = load(self._prepared if staged_in is None else stage(self._prepared, staged_in))
        check_same_data(study, self._dataset.fingerprint)
        self._mirror = study.sweep.data.mirror
        self._trainer = Trainer(self._dataset, folder=self._code, prepared=self._prepared.parent)
        self._trainer.keeps_predictions = study.sweep.models_predictions
        self._trainer.note = partial(_note_once, study.paths)

    def train(self, spec: TrialSpec, *, seed: int, fold: int, monitor: Monitor, resume: bytes | None = None) -> Outcome:
        """Train a trial from a checkpoint; if the checkpoint belongs to another trial, train from the beginning."""
        return _train(partial(self._trainer.train, spec, seed, monitor, fold=fold), resume)

    def refit(self, spec: TrialSpec, *, seed: int, epochs: int, monitor: Monitor, resume: bytes | None) -> Outcome:
        """Train a configuration with all images but those of the test set, for a number of epochs.

        The learning rate follows the trial's schedule; nothing stops earlier, since no image is left to judge by.
        """
        training = None if spec.training is None else spec.training.model_copy(update={"early_stopping": None})
        objective = spec.objective.model_copy(update={"value": "last"})
        spec = spec.model_copy(update={"training": training, "objective": objective})
        joined = self._dataset.joined(mirror=self._mirror)
        trainer = Trainer(joined, folder=self._code, prepared=self._prepared.parent)
        trainer.keeps_predictions, trainer.stops_after = False, epochs
        return _train(partial(trainer.train, spec, seed, monitor), resume)

    def export(self, spec: TrialSpec, outcome: Outcome, *, seed: int, path: Path) -> bool:
        """Save the trained network as a plain Keras model; return whether there was one to save."""
        if outcome.weights is None and outcome.model is None:
            return False
        export_model(spec, outcome, dataset=self._dataset, path=path, folder=self._code, seed=seed)
        return True

    def average(self, folds: Sequence[Sequence[Path]], path: Path, temperature: float | None = None) -> None:
        """Save the mean of saved models as a plain Keras model; see :func:`.export.export_ensemble`."""
        export_ensemble(folds, path, temperature)

    @property
    def prepared(self) -> Path:
        """Folder of the prepared data set."""
        return self._prepared

    def open(self, split: str, *, fold: int = 0) -> Opened:
        """Return the images of a split.

        Args:
            split: Its name.
            fold: With cross-validation, the number of the fold whose images are the split ``validation``.

        Raises:
            InputError: The sweep's data has no such split.
        """
        name = "train" if split == "validation" and self._dataset.folds is not None else split
        found = load(self._prepared, splits=(name,))  # only this split, so that the test set stays closed
        if name not in found.splits:
            there = ", ".join(load(self._prepared, splits=SPLITS).splits)
            raise InputError(f"the data set has no {split} images; it has {there}")
        images = found.splits[name]
        if name == split:
            return Opened(images, split)
        rows = found.fold(fold).validation
        return Opened(Split(images.x[rows], images.y[rows]), name, rows)

    def import_code(self, spec: TrialSpec) -> None:
        """Import the user's modules, so that a saved model with their layers can be loaded."""
        for reference in (spec.build, spec.objective.function):
            if reference is not None:
                load_function(reference, self._code)

    def measure_on_test(self, spec: TrialSpec, model_file: Path, *, networks: int) -> Measured:
        """Open the test set and measure a saved model on it, which averages a number of networks.

        Raises:
            InputError: The sweep's data has no test set.
        """
        opened = load(self._prepared, splits=("train", "test"))
        return measure(model_file, opened, split="test", training=spec.training, networks=networks)


def _train(train: Callable[[bytes | None], Outcome], resume: bytes | None) -> Outcome:
    """Train from a checkpoint; if it belongs to another training, train from the beginning."""
    try:
        return train(resume)
    except CheckpointError as error:
        if resume is None:
            raise
        log.warning("starting from the beginning: %s", error)
        return train(None)


def _note_once(paths: StudyPaths, note: str) -> None:
    """Keep a note in the study's folder, which `run` and `status` show; only the first note is kept."""
    if not paths.note.exists():
        write_once(paths.note, f"{note}\n".encode())
        log.warning("%s", note)
