"""Adaptive search: each configuration is chosen from the results so far.

Optuna is used as a library, with a history in memory that is updated from the journals.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from optuna.trial import TrialState

from cnn_sweep.search.distributions import decode, encode, suggest
from cnn_sweep.search.optuna_samplers import make_sampler
from cnn_sweep.search.samplers import Observation, all_configurations, draw
from cnn_sweep.search.search_history import SearchHistory
from cnn_sweep.sweep.identity import configuration_id, has_values
from cnn_sweep.sweep.sweep import InvalidTrialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from optuna import Study
    from optuna.distributions import BaseDistribution

    from cnn_sweep.sweep.sweep import Sweep

__all__ = ["AdaptiveSampler", "Observation"]

MAX_REFUSED: Final = 100  # untrainable proposals before random draws replace the sampler
MAX_KNOWN: Final = 4  # proposals of known configurations before neighbours replace them
MAX_NEIGHBOURS: Final = 100  # configurations that differ from a proposal in one or two parameters
MAX_DRAWS: Final = 1_000  # random configurations, of which at least one must be valid


class AdaptiveSampler:
    """Proposes configurations and never repeats one.

    A failed trial counts as worse than every complete one, so the search leaves regions that diverge. Trials running
    elsewhere count as poor, so workers do not crowd around one point. If the sampler proposes a configuration that was
    tried before, a neighbour or a random configuration replaces it: its result is already in the history.

    Args:
        sweep: The newest revision of the sweep.
        is_valid: Returns whether a configuration can be trained.
    """

    def __init__(self, sweep: Sweep, is_valid: Callable[[dict[str, Any]], bool]) -> None:
        self._sweep = sweep
        self._is_valid = is_valid
        self._history: SearchHistory | None = None
        self._names: dict[int, tuple[Observation, str]] = {}

    def propose(
        self,
        number: int,
        history: Iterable[Observation],
        *,
        part: Mapping[str, Any] | None = None,
        claim: Callable[[dict[str, Any]], bool] = lambda _params: True,
    ) -> dict[str, Any]:
        """Choose the configuration of a trial.

        Args:
            number: Number of the trial; different numbers give different proposals from the same history.
            history: All known trials; only those that are new since the last call take time.
            part: Hyperparameters with fixed values.
            claim: Claims a configuration for this caller; returns False if another worker has it.

        Raises:
            InvalidTrialError: No trainable configuration was found.
        """
        trials = [one for one in history if one.params is not None and one.number != number]
        if self._history is None:
            self._history = SearchHistory(self._sweep)
        self._history.learn(trials)
        known = self._known(trials)
        fixed = {**self._sweep.search.fixed, **(part or {})}
        seen: set[str] = set()
        fallback = None
        for params in self._candidates(self._history, number, fixed, known):
            name = configuration_id(params)
            if name in seen or not self._is_possible(params):
                continue
            fallback = fallback or params
            if name not in known and claim(params):
                return params
            seen.add(name)
        if fallback is None:
            raise InvalidTrialError(
                f"none of {MAX_DRAWS:,} random configurations can be trained; `cnn-sweep plan` shows why"
            )
        return fallback

    def _candidates(
        self, history: SearchHistory, number: int, fixed: Mapping[str, Any], known: set[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield proposals of the sampler, then their neighbours, then random configurations, then the whole space."""
        seed = _seed(self._sweep.search.seed, number)
        proposed = []
        study = history.to_ask()
        study.sampler = make_sampler(self._sweep, seed=seed, fixed=self._encoded(fixed))
        refused = repeated = 0
        while refused < MAX_REFUSED and repeated < MAX_KNOWN:
            params = self._ask(study, history.distributions)
            yield params
            if self._is_possible(params):  # valid, but another worker has claimed it
                repeated += 1
                proposed.append(params)
            else:
                refused += 1
        generator = np.random.Generator(np.random.Philox(key=seed))
        for place in range(MAX_NEIGHBOURS if proposed else 0):
            yield self._near(proposed[place % len(proposed)], fixed, generator)
        for params, _ in zip(draw(self._sweep, first=number * MAX_DRAWS, fixed=fixed), range(MAX_DRAWS), strict=False):
            yield params
        rows = all_configurations(self._sweep) or ()
        for place in generator.permutation(len(rows)):
            if configuration_id(rows[place]) not in known and has_values(rows[place], fixed):
                yield rows[place]

    def _is_possible(self, params: dict[str, Any]) -> bool:
        return self._sweep.satisfies(params) and self._is_valid(params)

    def _ask(self, study: Study, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """Let the sampler choose a value for each active parameter, without adding a trial to its history."""
        trial = study.ask()
        active: dict[str, Any] = {}
        for parameter in self._sweep.space.ordered:
            if parameter.is_active(active):
                chosen = suggest(trial, parameter.name, distributions[parameter.name])
                active[parameter.name] = decode(parameter.domain, chosen)
        study.tell(trial, state=TrialState.FAIL)
        return {name: active[name] for name in self._sweep.space.names if name in active}

    def _near(
        self, params: Mapping[str, Any], fixed: Mapping[str, Any], generator: np.random.Generator
    ) -> dict[str, Any]:
        """Change one or two parameters of a configuration, and add or drop conditional ones accordingly."""
        space = self._sweep.space
        values = {one.name: one.domain.at(generator.random()) for one in space.parameters} | dict(params)
        free = [name for name in params if name not in fixed]
        count = min(len(free), 1 + int(generator.integers(2)))
        for name in generator.choice(free, size=count, replace=False) if free else ():
            values[str(name)] = space.by_name[str(name)].domain.at(generator.random())
        return space.complete(values | dict(fixed))

    def _encoded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: encode(self._sweep.space.by_name[name].domain, value) for name, value in values.items()}

    def _known(self, trials: Iterable[Observation]) -> set[str]:
        """Return the IDs of all configurations that were tried in this study; each ID is computed once."""
        names = self._names
        for one in trials:
            if one.number not in names or names[one.number][0] is not one:
                names[one.number] = (one, configuration_id(dict(one.params or {})))
        return {names[one.number][1] for one in trials if one.number >= 0}


def _seed(seed: int, number: int) -> int:
    """Return the seed of a proposal: a function of the sweep's seed and the trial's number."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big")
