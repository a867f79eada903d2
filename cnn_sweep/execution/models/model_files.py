"""Finds the best trials of a study and a trial's model, and trains models again that were not kept."""

from __future__ import annotations

import sys
from statistics import fmean
from typing import TYPE_CHECKING

from cnn_sweep.errors import StudyError
from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.messages import no_trial
from cnn_sweep.search.feasibility import best_first
from cnn_sweep.sweep.repeats import newest_test, selection_repeats, unbiased_values
from cnn_sweep.training.trial.checkpoint import read as read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cnn_sweep.execution.models.mixture import Mixture
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.execution.worker.study_trainer import StudyTrainer
    from cnn_sweep.journal.history import History, TrialHistory
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.outcome import Decision, Outcome


class _Silent:
    """A monitor that ignores all events, because those of the trial are already in the journals."""

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        """Ignore an epoch."""

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Ignore a checkpoint."""

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Ignore a checkpoint."""

    def decision(self) -> Decision:
        """Never prune."""
        return "continue"

    def should_stop(self) -> bool:
        """Never stop."""
        return False


class _Saving(_Silent):
    """Keeps the newest checkpoint in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def checkpoint(self, state: bytes, epoch: int) -> None:  # noqa: ARG002 - as `Monitor` has it
        """Replace the file."""
        write_aside(self._file, state)

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Replace the file now."""
        self.checkpoint(state(), epoch)


def best_trials(study: StudyFolder, history: History, top: int) -> list[int]:
    """Return the numbers of the best complete trials, best first; of each configuration only the first repeat.

    Configurations are ranked as on the leaderboard: by the mean of their unbiased values, and those with several values
    come before those with one. In a test by ``repeat --until-decided``, its contenders come first.

    Raises:
        StudyError: No trial is complete.
    """
    objective = study.sweep.objective
    numbers: dict[str, list[int]] = {}
    worth: dict[str, dict[int, float]] = {}
    violations: dict[str, list[float]] = {}
    for number, (violation, value) in sorted(best_first(history, study.sweep).items()):
        trial = history.trials[number]
        name = trial.configuration or f"trial {number}"
        numbers.setdefault(name, []).append(number)
        worth.setdefault(name, {})[trial.repeat or 0] = value
        violations.setdefault(name, []).append(violation)
    configurations = {number: name for name, own in numbers.items() for number in own}
    chose, test = selection_repeats(study.revisions, configurations), newest_test(study.revisions, configurations)
    counting = {name: unbiased_values(own, chose.get(name, ())) for name, own in worth.items()}

    def rank(name: str) -> tuple[float, float, bool, float, int]:
        own = counting[name]
        place = 0.0 if test is None else test.place(name, is_fair=min(own) >= chose.get(name, (0,))[-1])
        return (
            fmean(violations[name]),
            place,
            len(own) == 1,
            objective.direction.key(fmean(own.values())),
            numbers[name][0],
        )

    ranked = sorted(numbers, key=rank)
    if ranked:
        return [numbers[name][0] for name in ranked[:top]]
    raise StudyError(f"study {study.name!r} has no complete trial with a value, so there is no model")


def complete_trial(study: StudyFolder, history: History, trial: int | None) -> int:
    """Check that a trial is complete, and return its number; without a trial, return the best one.

    Raises:
        StudyError: There is no such trial, or it is not complete.
    """
    if trial is None:
        return best_trials(study, history, 1)[0]
    found = history.trials.get(trial)
    if found is None:
        planned = len(study.plan.trials)
        raise StudyError(no_trial(study.name, trial, planned))
    if found.state != "complete":
        raise StudyError(f"{study.name}: trial {trial} is {found.state}; only a complete trial has a model")
    return trial


def members_of(study: StudyFolder, history: History, number: int) -> list[int]:
    """Return the complete trials whose networks predict together: with folds, all those of a trial's configuration."""
    own = history.trials[number].configuration
    if study.sweep.fold_count == 1 or own is None:
        return [number]
    same = (trial for trial in history.trials.values() if trial.configuration == own)
    return sorted(trial.number for trial in same if trial.state == "complete")


def predicting_file(study: StudyFolder, history: History, number: int, trainer: StudyTrainer) -> Path:
    """Return the file of the model that stands for a trial's configuration: with folds, the mean of all its networks.

    Raises:
        StudyError: See `model_file`.
    """
    members = members_of(study, history, number)
    if len(members) == 1:
        return model_file(study, history, number, trainer)
    files = [model_file(study, history, member, trainer) for member in members]
    path = study.paths.ensemble(members[0], len(members))
    trainer.average([[file] for file in files], path)
    return path


def mixture_file(study: StudyFolder, history: History, mixture: Mixture, trainer: StudyTrainer) -> Path:
    """Return the file of a model made of trials' networks; those that were not kept are trained again.

    Raises:
        StudyError: See `model_file`.
    """
    if mixture.epochs is not None:
        file = _refit_file(study, history, mixture.trial, mixture.epochs, trainer)
        if mixture.temperature is None:
            return file
        folds = [[file]]
    else:
        files = {number: model_file(study, history, number, trainer) for number in mixture.trained}
        folds = [[files[number] for number in fold] for fold in mixture.folds]
    path = study.paths.mixture(mixture.trial, mixture.name)
    trainer.average(folds, path, mixture.temperature)
    return path


def _refit_file(study: StudyFolder, history: History, number: int, epochs: int, trainer: StudyTrainer) -> Path:
    """Return the file of the network that a trial's settings give with all images but those of the test set.

    After an interruption, training continues from its checkpoint.
    """
    checkpoint = study.paths.refit_checkpoint(number)

    def train(spec: TrialSpec, seed: int) -> Outcome:
        _tell(f"trial {number}: training it for {epochs} epochs with all images but those of the test set")
        state = read_checkpoint(checkpoint).state
        return trainer.refit(spec, seed=seed, epochs=epochs, monitor=_Saving(checkpoint), resume=state)

    path = study.paths.refit(number, epochs)
    if _trained(study, history.trials[number], path, trainer, train):
        checkpoint.unlink(missing_ok=True)
    return path


def model_file(study: StudyFolder, history: History, number: int, trainer: StudyTrainer) -> Path:
    """Return the file of a trial's model; a model that was not kept is trained again.

    Training depends only on (sweep, params, seed), so the result is the same model.

    Raises:
        StudyError: The trial cannot be trained again, or has no model.
    """
    trial = history.trials[number]

    def train(spec: TrialSpec, seed: int) -> Outcome:
        _tell(f"trial {number}: its model was not kept, training it again")
        return trainer.train(spec, seed=seed, fold=trial.repeat or 0, monitor=_Silent())

    path = study.paths.model(number)
    _trained(study, trial, path, trainer, train)
    return path


def _trained(
    study: StudyFolder,
    trial: TrialHistory,
    path: Path,
    trainer: StudyTrainer,
    train: Callable[[TrialSpec, int], Outcome],
) -> bool:
    """Train a network into a file, unless the file is there; return whether it was trained.

    Args:
        study: The study.
        trial: The trial whose settings and seed the network has.
        path: The file.
        trainer: Exports the network, and imports the code that reading the file needs.
        train: Trains with settings and a seed.

    Raises:
        StudyError: It cannot be trained, or has no model.
    """
    spec, seed = study.sweep.resolve(trial.params or {}), trial.seed or 0
    if path.is_file():
        trainer.import_code(spec)
        return False
    outcome = train(spec, seed)
    if outcome.state != "complete":
        raise StudyError(f"trial {trial.number} could not be trained again: {outcome.message or outcome.state}")
    if not trainer.export(spec, outcome, seed=seed, path=path):
        raise StudyError(f"trial {trial.number} has no model: its objective function returned none")
    return True


def _tell(words: str) -> None:
    print(words, file=sys.stderr)  # noqa: T201 - for the user of the command
