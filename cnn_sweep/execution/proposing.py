"""The parameters of a claimed trial: planned, begun before, or proposed now from what all trials have shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.search.adaptive import AdaptiveSampler, Observation
from cnn_sweep.search.plan import Validator

if TYPE_CHECKING:
    from cnn_sweep.execution.freeze import FrozenStudy
    from cnn_sweep.journal.history import History


class Proposer:
    """Gives a trial its parameters."""

    def __init__(self, study: FrozenStudy, history: History) -> None:
        self._study = study
        self._history = history
        self._planned = {trial.number: trial for trial in study.plan.trials}
        # Costs nothing for a planned search, which never asks it.
        self._sampler = AdaptiveSampler(study.sweep, Validator(study.sweep, study.info).is_valid)

    def params(self, number: int) -> dict[str, Any]:
        """Return the parameters of a trial that this worker has claimed."""
        begun = self._history.trials.get(number)
        if begun is not None and begun.params is not None:
            return dict(begun.params)
        planned = self._planned[number]
        if planned.params is not None:
            return dict(planned.params)
        if planned.same_as is not None:
            return self.params(planned.same_as)
        return self._propose(number)

    def _propose(self, number: int) -> dict[str, Any]:
        direction = self._study.sweep.objective.direction
        observations = []
        for trial in self._history.trials.values():
            best = trial.best(direction)
            observations.append(Observation(trial.number, trial.params, trial.state, best[1] if best else None))
        return self._sampler.propose(number, observations)
