"""The tree-structured Parzen estimator: each configuration is chosen from what the trials so far have shown.

Optuna is a library here, called with a history in memory; the journals hold the history.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from cnn_sweep.search.distributions import decode, distribution, encode, suggest
from cnn_sweep.search.samplers import draw
from cnn_sweep.sweep.configuration import configuration_id
from cnn_sweep.sweep.spec import InvalidTrialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from optuna.distributions import BaseDistribution

    from cnn_sweep.sweep.spec import Sweep

MAX_REFUSED: Final = 100  # proposals that cannot be trained, before a random configuration is taken
MAX_KNOWN: Final = 20  # proposals that were made before, before one is trained again
MAX_DRAWS: Final = 1_000  # random configurations of which one must be valid

_FINISHED: Final = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Observation:
    """What is known of one trial.

    Attributes:
        number: Of the trial.
        params: Its configuration, or None while it is not known.
        state: The trial's state; all but complete, pruned and failed count as running.
        value: The objective, or None.
    """

    number: int
    params: Mapping[str, Any] | None
    state: str
    value: float | None


@dataclass(frozen=True)
class _Fed:
    """What the estimator was told of a trial: under which number, and what."""

    told_as: int
    state: TrialState
    value: float | None


class AdaptiveSampler:
    """Proposes configurations.

    A trial that failed counts as worse than any that ended, so that a region which diverges is left. Trials
    that are running elsewhere count as poor while they run, so that workers do not crowd at one point.

    Args:
        sweep: The newest revision of the sweep.
        is_valid: Tells whether a configuration can be trained.
    """

    def __init__(self, sweep: Sweep, is_valid: Callable[[dict[str, Any]], bool]) -> None:
        self._sweep = sweep
        self._is_valid = is_valid
        self._distributions = {one.name: distribution(one.domain) for one in sweep.space.parameters}
        self._forget()

    def propose(self, number: int, history: Iterable[Observation]) -> dict[str, Any]:
        """Choose the configuration of a trial.

        Args:
            number: Of the trial; trials with different numbers get different ones from the same history.
            history: All trials that are known; only what is new since the last call costs time.

        Raises:
            InvalidTrialError: No configuration that can be trained was found.
        """
        trials = [one for one in history if one.params is not None and one.number != number]
        self._learn(trials)
        known = {configuration_id(one.params) for one in trials if one.params is not None}
        self._study.sampler = self._sampler(number)
        refused = repeated = 0
        while refused < MAX_REFUSED:
            params = self._ask()
            if not self._is_possible(params):
                refused += 1
            elif configuration_id(params) not in known or repeated >= MAX_KNOWN:
                return params
            else:
                repeated += 1
        return self._random(number, known)

    def _is_possible(self, params: dict[str, Any]) -> bool:
        return self._sweep.satisfies(params) and self._is_valid(params)

    def _sampler(self, number: int) -> TPESampler:
        """Return a sampler whose draws depend on the sweep's seed and the trial."""
        search = self._sweep.search
        seed = hashlib.sha256(f"{search.seed}:{number}".encode()).digest()[:4]
        multivariate = bool(search.options["multivariate"])
        with warnings.catch_warnings():
            # Considering conditional parameters together is called experimental since Optuna 2.8.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(
                seed=int.from_bytes(seed, "big"),
                n_startup_trials=search.options["n_startup_trials"],
                multivariate=multivariate,
                group=multivariate and any(one.when for one in self._sweep.space.parameters),
            )

    def _ask(self) -> dict[str, Any]:
        """Let the estimator choose, parameter by parameter along the conditions, and forget the asking."""
        trial = self._study.ask()
        active: dict[str, Any] = {}
        for parameter in self._sweep.space.ordered:
            if parameter.is_active(active):
                chosen = suggest(trial, parameter.name, self._distributions[parameter.name])
                active[parameter.name] = decode(parameter.domain, chosen)
        self._study.tell(trial, state=TrialState.FAIL)
        return {name: active[name] for name in self._sweep.space.names if name in active}

    def _random(self, number: int, known: set[str]) -> dict[str, Any]:
        fallback = None
        draws = draw(self._sweep, first=number * MAX_DRAWS)
        for params, _ in zip(draws, range(MAX_DRAWS), strict=False):
            if self._is_possible(params):
                if configuration_id(params) not in known:
                    return params
                fallback = fallback or params
        if fallback is None:
            raise InvalidTrialError(f"none of {MAX_DRAWS:,} random configurations can be trained; see the plan")
        return fallback

    def _forget(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        direction = self._sweep.objective.direction
        self._study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler())
        self._fed: dict[int, _Fed] = {}
        self._told = 0

    def _learn(self, trials: list[Observation]) -> None:
        states = {one.number: _state(one) for one in trials}
        before = self._fed
        if any(before[n].state.is_finished() and _told(before[n]) != states.get(n) for n in before):
            self._forget()  # a finished trial is finished no longer
        for one in sorted(trials, key=lambda one: one.number):
            state, value = states[one.number]
            fed = self._fed.get(one.number)
            if fed is not None and _told(fed) == (state, value):
                continue
            if fed is not None:
                self._study.tell(fed.told_as, state=TrialState.FAIL)  # it was running; now told again
            self._tell(one, state, value)

    def _tell(self, one: Observation, state: TrialState, value: float | None) -> None:
        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        for parameter in self._sweep.space.parameters:
            if one.params is not None and parameter.name in one.params:
                given = one.params[parameter.name]
                if parameter.domain.contains(given):  # not so after the space was narrowed
                    params[parameter.name] = encode(parameter.domain, given)
                    distributions[parameter.name] = self._distributions[parameter.name]
        pruned_at = {1: value} if state == TrialState.PRUNED and value is not None else {}
        trial = create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params=params,
            distributions=distributions,
            intermediate_values=pruned_at,
        )
        self._study.add_trial(trial)
        told_as = len(self._study.get_trials(deepcopy=False)) - 1
        self._fed[one.number] = _Fed(told_as, state, value)


def _told(fed: _Fed) -> tuple[TrialState, float | None]:
    return fed.state, fed.value


def _state(one: Observation) -> tuple[TrialState, float | None]:
    """Translate a state; a failure becomes a trial that was pruned at once, which is the worst there is."""
    value = one.value if one.value is not None and math.isfinite(one.value) else None
    if one.state not in _FINISHED:
        return TrialState.RUNNING, None
    if one.state == "complete" and value is not None:
        return TrialState.COMPLETE, value
    return TrialState.PRUNED, value if one.state == "pruned" else None
