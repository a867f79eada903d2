"""A study of Optuna's in memory that follows the journals: each trial is told once, and again if it changes.

Optuna's evolutionary samplers keep their state beside the trials that they proposed. Here any trial counts for the
generation that is being filled when its result arrives, whoever proposed it and when; so the state is a function of
the results in their order, every worker comes to the same one, and no result is wasted because it came late.
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

    from cnn_sweep.search.samplers import Observation
    from cnn_sweep.sweep.sweep import Sweep

_FIRST: Final = 3  # parameters of the smallest population of CMA-ES, beside 4: Hansen, arXiv 1604.00772, table 1


@dataclass(frozen=True)
class _Told:
    """What the study was told of a trial, and under which number."""

    number: int
    seen: Observation


class SearchHistory:
    """The history of a sweep as a study of Optuna's.

    Args:
        sweep: The newest revision of the sweep.

    Attributes:
        study: The study; its trials' numbers are its own.
        distributions: Name of a hyperparameter to the values that it can take.
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
        self._told: dict[int, _Told] = {}
        self._worst: list[float] | None = None
        self._generations = _Generations(self)

    @property
    def sweep(self) -> Sweep:
        """The sweep."""
        return self._sweep

    def learn(self, trials: Iterable[Observation]) -> None:
        """Take what is new: ended trials in the order of their ends, then those that run by their numbers."""
        news = []
        for one in trials:
            told = self._told.get(one.number)
            if told is None:
                news.append(one)
            elif told.seen is not one and told.seen != one:
                # Not so rare as it sounds: what was running has ended, what was paused runs again.
                self.study.get_trials(deepcopy=False)[told.number].state = TrialState.FAIL
                news.append(one)
        news.sort(key=lambda one: (one.state not in FINISHED, one.ended, one.number))
        for one in news:
            self._tell(one)

    def to_ask(self) -> optuna.Study:
        """Return the study in which to ask.

        CMA-ES draws by the number of the trial that asks, which depends on what was asked before; it is given a small
        study of its own, with as much of the history as it looks at.
        """
        if self._method != "cmaes":
            return self.study
        study = optuna.create_study(directions=self.study.directions)
        complete = [one for one in self.study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
        needed = max(self._generations.filled + 1, self._sweep.search.settings.n_startup_trials)
        study.add_trials(complete[-needed:])
        return study

    def _tell(self, one: Observation) -> None:
        state, values, steps = self._result(one)
        encoded = self._encoded(one)
        self.study.add_trial(
            create_trial(
                state=state,
                values=values,
                params=encoded,
                distributions={name: self.distributions[name] for name in encoded},
                intermediate_values=steps,
                system_attrs=self._generations.tag() if state == TrialState.COMPLETE else {},
            )
        )
        self._told[one.number] = _Told(len(self.study.get_trials(deepcopy=False)) - 1, one)
        if state == TrialState.COMPLETE and values is not None:
            worst = self._worst or values
            pairs = zip(self._sweep.objectives, worst, values, strict=True)
            self._worst = [max(one, other, key=objective.direction.key) for objective, one, other in pairs]
            self._generations.count()

    def _result(self, one: Observation) -> tuple[TrialState, list[float] | None, dict[int, float]]:
        """Translate a trial's end.

        The estimator (TPE, one objective) ranks pruned trials below complete ones, by how far they came; a failure
        becomes a trial that was pruned at once, which is the worst there is. The others know no such trials: a pruned
        one counts with what it reached, a failed one as the worst of those before it.
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

    def _encoded(self, one: Observation) -> dict[str, Any]:
        """Give the parameters that are still in the space, which may have been narrowed."""
        given = one.params or {}
        return {
            parameter.name: encode(parameter.domain, given[parameter.name])
            for parameter in self._sweep.space.parameters
            if parameter.name in given and parameter.domain.contains(given[parameter.name])
        }


class _Generations:
    """Tags results with the generation that they count for.

    Attributes:
        filled: Results that count for the present one.
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
        """Return the attributes of the next result."""
        return {} if self._key is None else {self._key: self._number}

    def count(self) -> None:
        """Note a result; a full generation is closed."""
        if self._key is None:
            return
        self.filled += 1
        if self.filled >= self._size and self._close():
            self._number += 1
            self.filled = 0

    def _close(self) -> bool:
        """Let CMA-ES take the population, and keep the state that it writes beside the trial that asked."""
        if self._history.sweep.search.method != "cmaes":
            return True
        study = self._history.study
        study.sampler = make_sampler(self._history.sweep, seed=self._number, fixed={})
        asked = study.ask()
        asked.relative_params  # noqa: B018 - computed when it is looked at
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


def _finite(values: tuple[float | None, ...]) -> list[float] | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return known if len(known) == len(values) else None
