"""Models that are made of a study's trials: ensembles, calibrated models, and networks trained with all images."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_high
from typing import TYPE_CHECKING

import numpy as np

from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.execution.models.mixture import Mixture
from cnn_sweep.execution.models.model_files import complete_trial, members_of
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.report.models.calibration import is_at_bound, logs_of, temperature_of
from cnn_sweep.report.models.ensembles import chosen_ensemble
from cnn_sweep.report.models.validated import validated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.journal.history import History
    from cnn_sweep.report.models.ensembles import Ensemble
    from cnn_sweep.report.models.validated import Validated


@dataclass(frozen=True)
class MixtureOptions:
    """What a user asks for instead of a trial's own model.

    Attributes:
        size: Number of members of an ensemble, counting those that are chosen twice; None for no ensemble.
        calibrated: Whether probabilities are scaled by the temperature that calibrates validation predictions.
        refit: Whether the configuration is trained again with all images but those of the test set.
        trial: Number of the trial; None for the best.
    """

    size: int | None = None
    calibrated: bool = False
    refit: bool = False
    trial: int | None = None

    def __post_init__(self) -> None:
        if self.refit and self.size is not None:
            raise InputError(
                "--refit trains one configuration again, and --ensemble averages several; give one of them"
            )


def mixture_of(results: Path, study: str, options: MixtureOptions) -> Mixture | None:
    """Return the model that a user asks for; None if it is a trial's own.

    Raises:
        StudyError: There is no such trial, it is not complete, or no trial kept its predictions.
        InputError: No temperature calibrates it, or the configuration cannot be trained without validation images.
    """
    if options.size is None and not options.calibrated and not options.refit:
        return None
    folder = StudyFolder.open(results, study)
    history = folder.history()
    if options.size is not None:
        made = chosen_ensemble(results, study, folder.sweep.objective, options.size)
        return mixture_of_ensemble(made, calibrated=options.calibrated)
    number = complete_trial(folder, history, options.trial)
    is_alone = options.trial is not None or options.refit
    networks = [number] if is_alone else members_of(folder, history, number)
    members = validated(results, study, [number]) if options.calibrated else []
    return Mixture(
        tuple((network,) for network in networks),
        temperature=_temperature(members) if members else None,
        epochs=_epochs(folder, history, number) if options.refit else None,
    )


def mixture_of_ensemble(made: Ensemble, *, calibrated: bool) -> Mixture:
    """Return the model that averages the members of an ensemble.

    Raises:
        InputError: No temperature calibrates it.
    """
    folds = tuple(zip(*(one.trials for one in made.members), strict=True))
    return Mixture(folds, is_ensemble=True, temperature=_temperature(made.members) if calibrated else None)


def _temperature(members: Sequence[Validated]) -> float:
    """Return the temperature of the mean of predictions of the same images."""
    rows = np.sort(members[0].rows)
    same = [one.at(rows) for one in members]
    mean: npt.NDArray[np.float64] = np.mean([one.probabilities for one in same], axis=0, dtype=np.float64)
    found = temperature_of(same[0].labels, logs_of(mean))
    if is_at_bound(found):
        raise InputError(
            "--calibrated: no temperature calibrates the validation predictions: all images are right, or the "
            "probabilities say nothing; leave it out"
        )
    return found


def _epochs(study: StudyFolder, history: History, number: int) -> int:
    """Return the median of the epochs at which the trials of a configuration were best.

    Raises:
        StudyError: Its training follows validation images, or is that of the user's own function.
    """
    trial = history.trials[number]
    sweep = study.sweep
    training = sweep.resolve(trial.params or {}).training
    why = None
    if training is None:
        why = "the user's own function trains it"
    elif training.schedule.kind == "plateau":
        why = "its learning rate follows the validation images (schedule: plateau)"
    elif training.fine_tune is not None and training.early_stopping is not None:
        why = "the validation images decide when its second stage begins (early_stopping with fine_tune)"
    if why is not None:
        raise StudyError(f"trial {number} cannot be trained without validation images: {why}; leave out --refit")
    same = [
        one
        for one in history.trials.values()
        if one.state == "complete" and one.configuration is not None and one.configuration == trial.configuration
    ]
    results = [one.result(sweep.objective) for one in same or [trial]]
    return median_high(found[0] for found in results if found is not None)
