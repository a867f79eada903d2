"""The parameters of a claimed trial: planned, known from an earlier attempt, or proposed from all results so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.search.feasibility import constraint_values
from cnn_sweep.search.plan import Validator
from cnn_sweep.search.rungs import Ladder, rung_results
from cnn_sweep.search.samplers import Observation, compares_at_rungs
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.claims import Claims
    from cnn_sweep.journal.events import Known
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.adaptive import AdaptiveSampler
    from cnn_sweep.sweep.sweep import Sweep


class Observer:
    """Converts trials of a history into observations for a sampler; those of finished trials are cached."""

    def __init__(self, sweep: Sweep, history: History) -> None:
        self._sweep = sweep
        self._ladder = Ladder.of(sweep.pruner) if compares_at_rungs(sweep) else None
        self._history = history
        self._imported: list[Observation] = []
        self._finished: dict[int, tuple[int, Observation]] = {}

    def observations(self) -> list[Observation]:
        """Return the observations of all imported trials and all trials that have begun."""
        if len(self._imported) != len(self._history.known):
            known = [self._history.known[key] for key in sorted(self._history.known)]
            self._imported = [_imported(place, one) for place, one in enumerate(known, start=1)]
        return [*self._imported, *(self._observation(trial) for trial in self._history.trials.values())]

    def _observation(self, trial: TrialHistory) -> Observation:
        known = self._finished.get(trial.number)
        if known is not None and known[0] == len(trial.attempts):
            return known[1]
        last, best = trial.last, trial.result(self._sweep.objective)
        found = Observation(
            trial.number,
            trial.params,
            trial.state,
            best[1] if best else None,
            self._others(trial, best[0]) if best else (None,) * (len(self._sweep.objectives) - 1),
            constraint_values(trial, self._history, self._sweep) if best else (),
            rung_results(trial, self._ladder, self._sweep.objective.direction) if self._ladder is not None else {},
            epochs=max(trial.values, default=1),
            ended=last.end.time if last.end is not None else 0.0,
        )
        if trial.state in FINISHED:
            self._finished[trial.number] = len(trial.attempts), found
        return found

    def _others(self, trial: TrialHistory, best_epoch: int) -> tuple[float | None, ...]:
        """Return the values of the other objectives at the best epoch."""
        if len(self._sweep.objectives) == 1:
            return ()
        measured = self._history.measured(trial, best_epoch)
        return tuple(measured.get(one.metric) for one in self._sweep.objectives[1:])


def _imported(place: int, one: Known) -> Observation:
    value = one.values[0] if one.values else None
    return Observation(-place, one.params, one.state, value, tuple(one.values[1:]))


class Proposer:
    """Chooses the parameters of claimed trials.

    Args:
        study: The study.
        history: Its history; the caller refreshes it.
        claims: This worker's claims. Proposed configurations are claimed, too, so that two workers that propose at the
            same time do not train the same one.
    """

    def __init__(self, study: StudyFolder, history: History, claims: Claims) -> None:
        self._study = study
        self._history = history
        self._claims = claims
        self._planned = {trial.number: trial for trial in study.plan.trials}
        self._observer = Observer(study.sweep, history)
        self._sampler: AdaptiveSampler | None = None

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
        return self._propose(number, planned.part)

    def _propose(self, number: int, part: dict[str, Any] | None) -> dict[str, Any]:
        if self._sampler is None:
            from cnn_sweep.search.adaptive import AdaptiveSampler  # noqa: PLC0415 - loads Optuna, which planned searches do not need

            self._sampler = AdaptiveSampler(self._study.sweep, Validator(self._study.sweep, self._study.info).is_valid)
        return self._sampler.propose(number, self._observer.observations(), part=part, claim=self._claim)

    def _claim(self, params: dict[str, Any]) -> bool:
        return self._claims.claim_configuration(configuration_id(params))
