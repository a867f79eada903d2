"""What a pruner means for the trials of a plan: which may begin or go on, and which never will.

First trainings of a configuration compete with each other. Repeats do not: they are there to measure, so they train
to the end, once their configuration's first training is complete; where that was pruned, they are, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cnn_sweep.search.budget import Budget
from cnn_sweep.search.rungs import Ladder, Promotion, Rungs, granted, is_resting, reached
from cnn_sweep.sweep.spec.search import StopSpec, WilcoxonSpec
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.plan import Plan
    from cnn_sweep.search.pruners import RepeatPruner, StopPruner
    from cnn_sweep.sweep.sweep import Sweep

NEVER_PROMOTED = "not_promoted"
OUT_OF_REACH = "out_of_reach"
OF_A_PRUNED_CONFIGURATION = "configuration_pruned"
WORSE_THAN_THE_BEST = "worse_than_the_best"


class PruningRules:
    """The trials of a study under its pruner; without one, everything may begin and nothing pauses.

    Args:
        sweep: Says which pruner.
        plan: All trials.
        history: What the journals say; the caller refreshes it.

    Attributes:
        budget: Says when nothing new may begin, and nobody may be promoted.
    """

    def __init__(self, sweep: Sweep, plan: Plan, history: History) -> None:
        self.budget = Budget(sweep, history)
        self.ladder = Ladder.of(sweep.pruner)
        self._plan = plan
        self._history = history
        self._pruned_early = sweep.pruner is not None
        self._rungs = Rungs(self.ladder, sweep.objective.direction) if self.ladder else None
        self._first = first_trainings(plan) if self._pruned_early else {}
        competing = (p.number for p in plan.trials if p.number not in self._first)
        self._planned = Counter(map(self.ladder.bracket, competing)) if self.ladder else Counter()
        self._direction = sweep.objective.direction
        self._stopper, self._sieve = _pruners(sweep)

    def may_begin(self, number: int) -> bool:
        """Tell whether a trial that nobody began may be begun."""
        if number not in self._first:
            return True
        first = self._history.trials.get(self._first[number])
        return first is not None and first.state in ("complete", "failed") and not self._is_sieved(first.number)

    @property
    def stops_trials(self) -> bool:
        """Whether the pruner stops trials that run."""
        return self._stopper is not None

    def prunes(self, number: int, curve: dict[int, float]) -> bool:
        """Tell whether a trial that runs is stopped for good.

        Args:
            number: Of the trial.
            curve: Its objective after each epoch so far.
        """
        if self._stopper is None or number in self._first:
            return False
        return self._stopper.prunes(number, curve, self._history.trials)

    def may_continue(self, trial: TrialHistory) -> bool:
        """Tell whether a trial was interrupted on its way, and not at a rung."""
        return trial.state == "interrupted" and not self.is_resting(trial)

    def is_resting(self, trial: TrialHistory) -> bool:
        """Tell whether a trial waits at a rung."""
        return self._rungs is not None and trial.number not in self._first and is_resting(trial)

    def promotions(self) -> Iterator[tuple[int, Promotion]]:
        """Yield trials that may go on from their rung, the first one first."""
        if self._rungs is not None:
            rivals = self._rivals()
            self._rungs.update(rivals)
            yield from self._rungs.promotions(rivals, self._history.refreshed)

    def is_settled(self) -> bool:
        """Tell whether nobody runs, and nothing can begin or be continued, as far as the journals tell."""
        trials = self._history.trials
        for planned in self._plan.trials:
            trial = trials.get(planned.number)
            if trial is None:
                if self.may_begin(planned.number):
                    return False
            elif trial.state not in FINISHED and not self.is_resting(trial):
                return False
        return True

    def last_promotion(self) -> tuple[int, Promotion] | None:
        """Return the trial that goes on in a settled study whose rungs let none go on; None where one is complete."""
        if self._rungs is None or not self.is_settled() or next(self.promotions(), None) is not None:
            return None
        return self._rungs.last_promotion(self._rivals(), self._history.refreshed)

    def leftovers(self) -> Iterator[tuple[int, str]]:
        """Yield the trials that will never go on, with the cause; at the study's end those at rungs are among them."""
        trials = self._history.trials
        if self._has_ended():
            yield from ((n, NEVER_PROMOTED) for n, trial in sorted(trials.items()) if self.is_resting(trial))
        for number, first in self._first.items():
            if number not in trials and first in trials and trials[first].state == "pruned":
                yield number, OF_A_PRUNED_CONFIGURATION
        if self._sieve is not None and self.is_settled():
            yield from ((number, WORSE_THAN_THE_BEST) for number in self._first if number not in trials)

    def out_of_reach(self) -> Iterator[tuple[int, str]]:
        """Yield trials at rungs that can never go on, with the cause: their checkpoints need not wait for the end."""
        if self._rungs is not None:
            rivals = self._rivals()
            self._rungs.update(rivals)
            yield from ((number, OUT_OF_REACH) for number in self._rungs.out_of_reach(rivals, self._planned))

    def is_worth_waiting(self) -> bool:
        """Tell whether what others are doing may let a trial go on, or begin."""
        held = any(n not in self._history.trials for n in self._first)
        return held or any(self.is_resting(trial) for trial in self._history.trials.values())

    def _is_sieved(self, first: int) -> bool:
        """Tell whether a configuration's repeats so far show that it is worse than the best one."""
        if self._sieve is None:
            return False
        curves: dict[int, dict[int, float]] = {}
        for number, trial in self._history.trials.items():
            best = trial.best(self._direction) if trial.state == "complete" else None
            if best is not None:
                curves.setdefault(self._first.get(number, number), {})[trial.repeat or 0] = best[1]
        return self._sieve.prunes(curves.pop(first, {}), curves.values())

    def _has_ended(self) -> bool:
        return (
            self._rungs is not None
            and self.is_settled()
            and next(self.promotions(), None) is None
            and self._rungs.last_promotion(self._rivals(), 0.0) is None
        )

    def until(self, number: int, epochs: int, *, promoted: Promotion | None) -> int | None:
        """Return the epoch after which an attempt pauses; None if it goes to the end.

        Args:
            number: Of the trial.
            epochs: How many the trial has in all.
            promoted: Why it goes on, if it waited at a rung.
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

    def _rivals(self) -> Mapping[int, TrialHistory]:
        if not self._first:
            return self._history.trials
        return {n: trial for n, trial in self._history.trials.items() if n not in self._first}


def first_trainings(plan: Plan) -> dict[int, int]:
    """Map each repeat to the trial that trains its configuration first; the others compete."""
    by_configuration = {p.configuration: p.number for p in reversed(plan.trials) if p.configuration and not p.repeat}
    firsts = {}
    for planned in plan.trials:
        if planned.repeat:
            same = by_configuration.get(planned.configuration or "")
            first = same if planned.same_as is None else planned.same_as
            if first is not None:
                firsts[planned.number] = first
    return firsts


def _pruners(sweep: Sweep) -> tuple[StopPruner | None, RepeatPruner | None]:
    """Return what stops trials, and what stops repeats, for good."""
    spec = sweep.pruner
    if not isinstance(spec, StopSpec | WilcoxonSpec):
        return None, None
    from cnn_sweep.search.pruners import RepeatPruner, StopPruner  # noqa: PLC0415 - Optuna, which others start without

    direction = sweep.objective.direction
    return (
        StopPruner(spec, direction) if isinstance(spec, StopSpec) else None,
        RepeatPruner(spec, direction) if isinstance(spec, WilcoxonSpec) else None,
    )
