"""The history of a search as an Optuna study in memory: each trial is added once, and again when it changes.

Optuna's evolutionary samplers store their state with the trials that they proposed. Here a result counts for the
current generation when it arrives, whichever worker proposed the trial. Therefore the state depends only on the results
and their order: all workers derive the same state, and late results are not wasted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from cnn_sweep.search.distributions import distribution, encode
from cnn_sweep.search.optuna_samplers import SAMPLERS, make_sampler
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna.trial import FrozenTrial

    from cnn_sweep.search.samplers import Observation
    from cnn_sweep.sweep.sweep import Sweep

_FIRST: Final = 3  # parameters of the smallest population of CMA-ES, beside 4: Hansen, arXiv 1604.00772, table 1


@dataclass(frozen=True)
class _AddedTrial:
    """A trial in the state in which it was added to the study, and its number in the study."""

    number: int
    seen: Observation


class SearchHistory:
    """The trials of a sweep as an Optuna study in memory.

    Args:
        sweep: The newest revision of the sweep.

    Attributes:
        study: The study; its trials have their own numbers.
        distributions: Optuna's distribution of each hyperparameter.
    """

    def __init__(self, sweep: Sweep) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._sweep = sweep
        self._method = sweep.search.method
        self.distributions = {one.name: distribution(one.domain) for one in sweep.space.parameters}
        self.study = optuna.create_study(
            directions=[StudyDirection[one.direction.name] for one in sweep.objectives],
            sampler=optuna.samplers.RandomSampler(),
        )
        self._added: dict[int, _AddedTrial] = {}
        self._worst: list[float] | None = None
        self._constraints = [one.text for one in sweep.outcome_constraints]
        self._worst_violations = [0.0] * len(self._constraints)
        self._generations = _Generations(self)

    @property
    def sweep(self) -> Sweep:
        """The newest revision of the sweep."""
        return self._sweep

    def learn(self, trials: Iterable[Observation]) -> None:
        """Add new and changed trials: finished ones in the order of their ends, then running ones by number."""
        news = []
        for one in trials:
            added = self._added.get(one.number)
            if added is None:
                news.append(one)
            elif added.seen is not one and added.seen != one:
                # The usual changes: a running trial has ended, or a paused one runs again.
                self.study.get_trials(deepcopy=False)[added.number].state = TrialState.FAIL
                news.append(one)
        news.sort(key=lambda one: (one.state not in FINISHED, one.ended, one.number))
        for one in news:
            self._tell(one)

    def to_ask(self) -> optuna.Study:
        """Return the study to ask for proposals.

        CMA-ES seeds its draws with the number of the asking trial, which depends on earlier proposals. Therefore it
        gets a new study with just the part of the history that it reads.
        """
        if self._method == "gp" and any(added.seen.rungs for added in self._added.values()):
            return self._at_one_rung()
        if self._method != "cmaes":
            return self.study
        study = optuna.create_study(directions=self.study.directions)
        complete = [one for one in self.study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
        needed = max(self._generations.filled + 1, self._sweep.search.settings.n_startup_trials)
        study.add_trials(complete[-needed:])
        return study

    def _at_one_rung(self) -> optuna.Study:
        """Return a study in which each trial's value is that at the highest rung with enough results.

        A Gaussian process needs values that compare; the value that a pruned trial has reached is none beside those of
        complete trials. As in BOHB (Falkner et al., ICML 2018), a model of the highest budget with enough results
        guides the search. Trials that have not reached this rung count as running or, if they have ended, not at all.
        """
        seen = [added.seen for added in self._added.values()]
        levels = sorted({level for one in seen for level in one.rungs}, reverse=True)
        needed = max(self._sweep.search.settings.n_startup_trials, len(self.distributions) + 1)
        counts = {level: sum(_value_at(one, level) is not None for one in seen) for level in levels}
        common = next((level for level in levels if counts[level] >= needed), levels[-1])
        study = optuna.create_study(directions=self.study.directions)
        values = [_value_at(one, common) for one in seen]
        worst = max((v for v in values if v is not None), key=self._sweep.objective.direction.key)
        for one, value in zip(seen, values, strict=True):
            if value is not None or one.state == "failed":
                given = worst if value is None else value
                study.add_trial(self._trial(one, TrialState.COMPLETE, [given], {}))
            elif one.state not in FINISHED:
                study.add_trial(self._trial(one, TrialState.RUNNING, None, {}))
        return study

    def _tell(self, one: Observation) -> None:
        state, values, steps = self._result(one)
        self.study.add_trial(self._trial(one, state, values, steps))
        self._added[one.number] = _AddedTrial(len(self.study.get_trials(deepcopy=False)) - 1, one)
        if state == TrialState.COMPLETE and values is not None:
            worst = self._worst or values
            pairs = zip(self._sweep.objectives, worst, values, strict=True)
            self._worst = [max(one, other, key=objective.direction.key) for objective, one, other in pairs]
            self._generations.count()

    def _trial(
        self, one: Observation, state: TrialState, values: list[float] | None, steps: dict[int, float]
    ) -> FrozenTrial:
        encoded = self._encoded(one)
        return create_trial(
            state=state,
            values=values,
            params=encoded,
            distributions={name: self.distributions[name] for name in encoded},
            intermediate_values=steps,
            constraints=self._violations(one) if state != TrialState.RUNNING else None,
            system_attrs=self._generations.tag() if state == TrialState.COMPLETE else {},
        )

    def _result(self, one: Observation) -> tuple[TrialState, list[float] | None, dict[int, float]]:
        """Return a trial's state, values and intermediate values for Optuna.

        TPE with one objective ranks pruned trials below complete ones, by the epochs that they reached; a failed trial
        counts as pruned at once, the worst rank. Other samplers ignore pruned trials, so a pruned one counts as
        complete with its best value, and a failed one with the worst value so far.
        """
        values = _finite((one.value, *one.others))
        if one.state == "complete" and values is not None:
            return TrialState.COMPLETE, values, {}
        ranks_pruned = self._method == "tpe" and len(self._sweep.objectives) == 1
        if one.state not in FINISHED:
            if one.state == "paused" and values is not None and ranks_pruned:
                return TrialState.PRUNED, None, {one.epochs: values[0]}
            return TrialState.RUNNING, None, {}
        if ranks_pruned:
            reached = values is not None and one.state == "pruned"
            return TrialState.PRUNED, None, {one.epochs: values[0]} if values is not None and reached else {}
        if one.state != "pruned" or values is None:
            values = self._worst
        return (TrialState.FAIL, None, {}) if values is None else (TrialState.COMPLETE, list(values), {})

    def _violations(self, one: Observation) -> dict[str, float]:
        """Return the constraints' values for Optuna, which accepts only finite ones.

        A failed trial gets the worst values so far, and so does a constraint whose quantity is missing. Results of
        other programs count as just feasible.
        """
        if one.number < 0:
            return dict.fromkeys(self._constraints, 0.0)
        values = one.constraints if one.state != "failed" and one.constraints else (math.inf,) * len(self._constraints)
        known = [value if math.isfinite(value) else None for value in values]
        pairs = zip(known, self._worst_violations, strict=True)
        self._worst_violations = [worst if value is None else max(value, worst) for value, worst in pairs]
        pairs = zip(known, self._worst_violations, strict=True)
        found = [worst if value is None else value for value, worst in pairs]
        return dict(zip(self._constraints, found, strict=True))

    def _encoded(self, one: Observation) -> dict[str, Any]:
        """Return the parameters that are still in the space, which a revision may have narrowed."""
        params = one.params or {}
        return {
            parameter.name: encode(parameter.domain, params[parameter.name])
            for parameter in self._sweep.space.parameters
            if parameter.name in params and parameter.domain.contains(params[parameter.name])
        }


class _Generations:
    """Assigns results to generations of an evolutionary sampler.

    Attributes:
        filled: Number of results in the current generation.
    """

    def __init__(self, history: SearchHistory) -> None:
        self._history = history
        search = history.sweep.search
        self._number = 0
        self.filled = 0
        self._key: str | None = None
        if search.method in ("nsga2", "nsga3"):
            self._key = f"{SAMPLERS[search.method].__name__}:generation"
            self._size = search.settings.population_size
        elif search.method == "cmaes":
            self._key = f"{'sepcma' if search.settings.use_separable_cma else 'cma'}:generation"
            self._size = search.settings.popsize or _population(history)

    def tag(self) -> dict[str, Any]:
        """Return the Optuna attributes of the next result."""
        return {} if self._key is None else {self._key: self._number}

    def count(self) -> None:
        """Count a result, and complete the generation if it is full."""
        if self._key is None:
            return
        self.filled += 1
        if self.filled >= self._size and self._close():
            self._number += 1
            self.filled = 0

    def _close(self) -> bool:
        """Let CMA-ES learn from the population, and store its state, which CMA-ES writes to the asking trial."""
        if self._history.sweep.search.method != "cmaes":
            return True
        study = self._history.study
        study.sampler = make_sampler(self._history.sweep, seed=self._number, fixed={})
        asked = study.ask()
        asked.relative_params  # noqa: B018 - computed on access
        trials = study.get_trials(deepcopy=False)
        state = {name: value for name, value in trials[asked.number].system_attrs.items() if "optimizer" in name}
        study.tell(asked, state=TrialState.FAIL)
        if not state:
            return False
        last = next(one for one in reversed(trials) if one.state == TrialState.COMPLETE)
        last.system_attrs.update(state)
        return True


def _population(history: SearchHistory) -> int:
    some = (values for values in history.distributions.values() if not values.single())
    numbers = [values for values in some if not isinstance(values, CategoricalDistribution)]
    return 4 + math.floor(_FIRST * math.log(max(len(numbers), 1)))


def _value_at(one: Observation, level: int) -> float | None:
    """Return the value of a trial at a rung; of a complete trial that ends before it, the final one."""
    final = one.value if one.state == "complete" and max(one.rungs, default=0) < level else None
    return one.rungs.get(level, final)


def _finite(values: tuple[float | None, ...]) -> list[float] | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return known if len(known) == len(values) else None
