"""Applies a pruner to the trials of a plan: decides which may begin or continue, and which are pruned.

Only first trainings of a configuration compete. Repeats measure its variance, so they train to the end after the first
training is complete; if that was pruned, its repeats are pruned without training.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from cnn_sweep.search.budget import Budget
from cnn_sweep.search.feasibility import size_violation
from cnn_sweep.search.first_rung import Pilots
from cnn_sweep.search.rungs import FineLadder, Ladder, Promotion, Rungs, granted, is_paused_at_rung, reached
from cnn_sweep.sweep.spec.search import StopSpec, WilcoxonSpec
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.plan import Plan
    from cnn_sweep.search.predicted_rungs import PredictedRungs
    from cnn_sweep.search.pruners import RepeatPruner, StopPruner
    from cnn_sweep.sweep.sweep import Sweep

NEVER_PROMOTED = "not_promoted"
OUT_OF_REACH = "out_of_reach"
OF_A_PRUNED_CONFIGURATION = "configuration_pruned"
WORSE_THAN_THE_BEST = "worse_than_the_best"
_SAMPLE = 20  # configurations whose number of epochs is looked up


class PruningRules:
    """The rules of a study's pruner; without one, every trial may begin and none pauses.

    Args:
        sweep: The sweep with its pruner.
        plan: All trials.
        history: History read from the journals; the caller refreshes it.

    Attributes:
        budget: Limits of the search; once one is reached, no trial begins or is promoted.
    """

    def __init__(self, sweep: Sweep, plan: Plan, history: History) -> None:
        self.budget = Budget(sweep, history)
        self.ladder = Ladder.of(sweep.pruner)
        self._plan = plan
        self._history = history
        self._pruned_early = sweep.pruner is not None
        self._sweep = sweep
        violation = partial(size_violation, sweep)
        self._predicted = _predicted_rungs(sweep, violation)
        self._lengths: dict[int, int] = {}
        ranked = self.ladder is not None and self._predicted is None
        self._first = first_trainings(plan) if self._pruned_early else {}
        competing = [p.number for p in plan.trials if p.number not in self._first]
        self._planned = Counter(map(self.ladder.bracket, competing)) if self.ladder else Counter()
        self._rungs: Rungs | None = None
        if self.ladder and ranked:
            pilots = Pilots.of(sweep, self.ladder, competing)
            self._rungs = Rungs(self.ladder, sweep.objective.direction, violation, pilots)
        self._objective = sweep.objective
        self._stop_pruner, self._repeat_pruner = _pruners(sweep)

    def may_begin(self, number: int) -> bool:
        """Return whether a trial that has not begun may begin."""
        if number not in self._first:
            return True
        first = self._history.trials.get(self._first[number])
        return first is not None and first.state in ("complete", "failed") and not self._loses_by_repeats(first.number)

    @property
    def stops_trials(self) -> bool:
        """Whether the pruner stops running trials."""
        return self._stop_pruner is not None

    def prunes(self, number: int, curve: dict[int, float]) -> bool:
        """Return whether a running trial is pruned now.

        Args:
            number: Number of the trial.
            curve: Objective by epoch, up to now.
        """
        if self._stop_pruner is None or number in self._first:
            return False
        return self._stop_pruner.prunes(number, curve, self._history.trials)

    def may_continue(self, trial: TrialHistory) -> bool:
        """Return whether a trial was interrupted before its rung, so that it continues without a promotion."""
        return trial.state == "interrupted" and not self.is_paused_at_rung(trial)

    def is_paused_at_rung(self, trial: TrialHistory) -> bool:
        """Return whether a trial is paused at a rung."""
        return self.ladder is not None and trial.number not in self._first and is_paused_at_rung(trial)

    def promotions(self) -> Iterator[tuple[int, Promotion | None]]:
        """Yield the trials that may continue from their rung, in the order of preference.

        Where promotion is by prediction, trials that have not begun are among them, without a promotion.
        """
        if self._predicted is not None:
            trials = self._competing_trials()
            fresh = fresh_trials(self._plan, trials, self._first)
            params = {number: trial.params for number, trial in trials.items()} | fresh
            yield from self._predicted.promotions(trials, fresh, self._longest(params), self._history.refreshed)
        if self._rungs is not None:
            competing = self._competing_trials()
            self._rungs.update(competing)
            yield from self._rungs.promotions(competing, self._history.refreshed)

    def _longest(self, params: Mapping[int, Mapping[str, Any] | None]) -> int:
        """Return the most epochs of the trainings of the first configurations that are known."""
        sample = sorted(number for number, one in params.items() if one is not None)[:_SAMPLE]
        for number in sample:
            if number not in self._lengths:
                spec = self._sweep.resolve(params[number] or {}).training
                self._lengths[number] = spec.all_epochs if spec is not None else 1
        return max((self._lengths[number] for number in sample), default=1)

    def is_settled(self) -> bool:
        """Return whether the journals show that no trial is running and none can begin or continue."""
        trials = self._history.trials
        for planned in self._plan.trials:
            trial = trials.get(planned.number)
            if trial is None:
                if self.may_begin(planned.number):
                    return False
            elif trial.state not in FINISHED and not self.is_paused_at_rung(trial):
                return False
        return True

    def last_promotion(self) -> tuple[int, Promotion] | None:
        """Return a promotion for a settled study, so that one trial is completed; None if a trial is complete."""
        if self._rungs is None or not self.is_settled() or next(self.promotions(), None) is not None:
            return None
        return self._rungs.last_promotion(self._competing_trials(), self._history.refreshed)

    def trials_to_prune(self) -> Iterator[tuple[int, str]]:
        """Yield the trials that will never continue, with the cause; at the study's end, also those at rungs."""
        trials = self._history.trials
        if self._has_ended():
            yield from ((n, NEVER_PROMOTED) for n, trial in sorted(trials.items()) if self.is_paused_at_rung(trial))
        for number, first in self._first.items():
            if number not in trials and first in trials and trials[first].state == "pruned":
                yield number, OF_A_PRUNED_CONFIGURATION
        if self._repeat_pruner is not None and self.is_settled():
            yield from ((number, WORSE_THAN_THE_BEST) for number in self._first if number not in trials)

    def out_of_reach(self) -> Iterator[tuple[int, str]]:
        """Yield paused trials that can never be promoted, with the cause. Pruned early, they free their checkpoints."""
        if self._rungs is not None:
            competing = self._competing_trials()
            self._rungs.update(competing)
            yield from ((number, OUT_OF_REACH) for number in self._rungs.out_of_reach(competing, self._planned))

    def is_worth_waiting(self) -> bool:
        """Return whether results of running trials may let another trial continue or begin."""
        held = any(n not in self._history.trials for n in self._first)
        return held or any(self.is_paused_at_rung(trial) for trial in self._history.trials.values())

    def _loses_by_repeats(self, first: int) -> bool:
        """Return whether the complete repeats show that a configuration is worse than the best one."""
        if self._repeat_pruner is None:
            return False
        curves: dict[int, dict[int, float]] = {}
        for number, trial in self._history.trials.items():
            best = trial.result(self._objective) if trial.state == "complete" else None
            if best is not None:
                curves.setdefault(self._first.get(number, number), {})[trial.repeat or 0] = best[1]
        return self._repeat_pruner.prunes(curves.pop(first, {}), curves.values())

    def _has_ended(self) -> bool:
        if self.ladder is None or not self.is_settled() or next(self.promotions(), None) is not None:
            return False
        return self._rungs is None or self._rungs.last_promotion(self._competing_trials(), 0.0) is None

    def until(self, number: int, epochs: int, *, promoted: Promotion | None) -> int | None:
        """Return the epoch after which an attempt pauses; None if it trains to the end.

        Args:
            number: Number of the trial.
            epochs: All epochs of the trial.
            promoted: Its promotion, if it was paused at a rung.
        """
        if self.ladder is None or number in self._first:
            return None
        trial = self._history.trials.get(number)
        before = granted(trial) if trial is not None else 0
        if promoted is not None:
            before = self.ladder.next_level(number, promoted.rung)
        elif not before:
            before = self.ladder.next_level(number, reached(trial) if trial is not None else 0)
        return int(before) if before < epochs else None

    def _competing_trials(self) -> Mapping[int, TrialHistory]:
        if not self._first:
            return self._history.trials
        return {n: trial for n, trial in self._history.trials.items() if n not in self._first}


def fresh_trials(plan: Plan, begun: Container[int], repeats: Container[int]) -> dict[int, dict[str, Any] | None]:
    """Return the hyperparameters of competing trials that have not begun.

    Of those whose hyperparameters a sampler will propose, only the next is returned, with None.

    Args:
        plan: All trials.
        begun: Numbers of trials that have begun.
        repeats: Numbers of trials that do not compete.
    """
    fresh: dict[int, dict[str, Any] | None] = {}
    proposed = False
    for planned in plan.trials:
        if planned.number in begun or planned.number in repeats or (planned.params is None and proposed):
            continue
        proposed |= planned.params is None
        fresh[planned.number] = planned.params
    return fresh


def first_trainings(plan: Plan) -> dict[int, int]:
    """Map each repeat to the first training of its configuration; trials that are not keys compete."""
    by_configuration = {p.configuration: p.number for p in reversed(plan.trials) if p.configuration and not p.repeat}
    firsts = {}
    for planned in plan.trials:
        if planned.repeat:
            same = by_configuration.get(planned.configuration or "")
            first = same if planned.same_as is None else planned.same_as
            if first is not None:
                firsts[planned.number] = first
    return firsts


def _predicted_rungs(sweep: Sweep, violation: Callable[[int | None], float]) -> PredictedRungs | None:
    ladder = Ladder.of(sweep.pruner)
    if not isinstance(ladder, FineLadder):
        return None
    from cnn_sweep.search.predicted_rungs import PredictedRungs  # noqa: PLC0415 - imports scipy, which other pruners do not need

    return PredictedRungs(ladder, sweep.objective.direction, sweep.search.seed, violation)


def _pruners(sweep: Sweep) -> tuple[StopPruner | None, RepeatPruner | None]:
    """Return the pruner of running trials and the pruner of repeats; at most one of them exists."""
    spec = sweep.pruner
    if not isinstance(spec, StopSpec | WilcoxonSpec):
        return None, None
    from cnn_sweep.search.pruners import RepeatPruner, StopPruner  # noqa: PLC0415 - imports Optuna, which other pruners do not need

    direction = sweep.objective.direction
    return (
        StopPruner(spec, direction) if isinstance(spec, StopSpec) else None,
        RepeatPruner(spec, direction) if isinstance(spec, WilcoxonSpec) else None,
    )
