"""Pruners that stop running trials or further repeats: Optuna's, with a history in memory."""

from __future__ import annotations

import warnings
from statistics import fmean
from typing import TYPE_CHECKING

import optuna
from optuna import pruners
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from cnn_sweep.sweep.spec.search import MedianSpec, PatientSpec, PercentileSpec, StopSpec, ThresholdSpec, WilcoxonSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.sweep.direction import Direction

Curve = dict[int, float]  # objective by epoch, or by number of the repeat


class StopPruner:
    """Decides which running trials to stop, from the curves of complete ones.

    Args:
        spec: Settings of the pruner.
        direction: Direction of the objective.
    """

    def __init__(self, spec: StopSpec, direction: Direction) -> None:
        self._pruner = _pruner(spec)
        self._direction = direction
        self._study = _study(direction)
        self._added: set[int] = set()

    def prunes(self, number: int, curve: Curve, trials: Mapping[int, TrialHistory]) -> bool:
        """Return whether to stop a trial now.

        Args:
            number: Number of the trial.
            curve: Objective by epoch, up to now.
            trials: All known trials; each complete one is added to Optuna's study once.
        """
        for other in trials.values():
            if other.state == "complete" and other.number != number and other.number not in self._added:
                best = other.best(self._direction)
                if best is not None:
                    self._study.add_trial(_complete(other.values, best[1]))
                self._added.add(other.number)
        return self._pruner.prune(self._study, _running(curve))


class RepeatPruner:
    """Decides which configurations get no more repeats, by Wilcoxon's signed-rank test against the best one."""

    def __init__(self, spec: WilcoxonSpec, direction: Direction) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._pruner = pruners.WilcoxonPruner(p_threshold=spec.p_threshold, n_startup_steps=spec.n_startup_steps)
        self._direction = direction

    def prunes(self, own: Curve, others: Iterable[Curve]) -> bool:
        """Return whether a configuration is worse than the best of those that have all its repeats.

        Args:
            own: Objective by repeat.
            others: Objectives by repeat of the other configurations.
        """
        study = _study(self._direction)
        for values in others:
            if own.keys() <= values.keys():
                study.add_trial(_complete(values, fmean(values.values())))
        return bool(own) and bool(study.trials) and self._pruner.prune(study, _running(own))


def _study(direction: Direction) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction=StudyDirection[direction.name])


def _complete(curve: Curve, value: float) -> FrozenTrial:
    return create_trial(state=TrialState.COMPLETE, value=value, intermediate_values=curve)


def _running(curve: Curve) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=curve)


def _pruner(spec: StopSpec) -> BasePruner:
    settings = spec.model_dump(exclude={"kind"})
    match spec:
        case MedianSpec():
            return pruners.MedianPruner(**settings)
        case PercentileSpec():
            return pruners.PercentilePruner(**settings)
        case ThresholdSpec():
            return pruners.ThresholdPruner(**settings)
        case PatientSpec():
            median = pruners.MedianPruner(spec.n_startup_trials, spec.n_warmup_steps)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return pruners.PatientPruner(median, spec.patience, spec.min_delta)
