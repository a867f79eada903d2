"""Configurations of a sweep that do not depend on results: grids, random and quasi-random draws.

Draw *n* is a function of (sweep, n), so workers need neither a queue nor a history. Adaptive methods are in
:mod:`cnn_sweep.search.adaptive`; code that they share with these methods, and
that needs no Optuna, is here.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.sweep.identity import configuration_id, has_values
from cnn_sweep.sweep.space.grid import grid
from cnn_sweep.sweep.space.space import is_complete
from cnn_sweep.sweep.spec.search import LISTED_METHODS, RungSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cnn_sweep.sweep.spec.search import QmcOptions
    from cnn_sweep.sweep.sweep import Sweep

MAX_LISTED: Final = 20_000  # configurations; larger spaces are not enumerated
NEEDED: Final = {"gp": "torch", "cmaes": "cmaes"}  # packages that Optuna does not install, by method
_BLOCK: Final = 256  # points drawn at once; a power of two keeps Sobol's sequence balanced
# Partial configurations are completed with draws from the far end of the random stream, so that they never coincide
# with draws of the search itself.
_COMPLETIONS: Final = 1 << 62
_PER_COMPLETION: Final = 1_000
_BELIEFS: Final = 1 << 63  # draws from the user's belief have yet another part of the stream
# Trials that come from an earlier study, or from the user's belief. Where a search needs few trials, even a few that
# mislead would cost it more than a tenth: benchmarks/prior_knowledge.py.
MOST_FIRST: Final = 5
MOST_BELIEVED: Final = 20
MOST_IF_SHORT: Final = 3  # of either, if the search learns from results or has rungs
SHARE_FIRST: Final = 0.1  # of all trials, at most; but at least one trial


@dataclass(frozen=True)
class Drawn:
    """Configurations drawn by a sampler.

    Attributes:
        params: Distinct configurations that satisfy the constraints.
        duplicates: Number of draws that repeated an earlier one.
        rejected: Number of draws that violated a constraint.
        draws: Number of draws since the start of the sequence (0 on a grid).
        exhausted: Whether more were requested than the space seems to contain.
    """

    params: tuple[dict[str, Any], ...]
    duplicates: int
    rejected: int
    draws: int = 0
    exhausted: bool = False


def is_adaptive(sweep: Sweep) -> bool:
    """Return whether the next configuration depends on earlier results."""
    return sweep.search.is_adaptive


def compares_at_rungs(sweep: Sweep) -> bool:
    """Return whether the sampler gets the results of all trials at one rung, since it needs values that compare.

    TPE with one objective ranks results of different rungs itself.
    """
    return sweep.search.method == "gp" and len(sweep.objectives) == 1


def configurations(sweep: Sweep, *, known: Iterable[dict[str, Any]] = (), first: int = 0) -> Drawn:
    """Return the configurations of a sweep that is not adaptive, in order.

    Args:
        sweep: The sweep.
        known: Configurations that count as drawn: those of earlier revisions and enqueued ones.
        first: The first draw that earlier revisions did not use.

    Raises:
        ValueError: The sweep is adaptive.
    """
    if is_adaptive(sweep):
        raise ValueError(f"the method {sweep.search.method!r} proposes configurations one at a time")
    seen = {configuration_id(params) for params in known}
    return _from_grid(sweep, seen) if sweep.search.method in LISTED_METHODS else _from_draws(sweep, seen, first)


def draw(sweep: Sweep, *, first: int = 0, fixed: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Yield draw ``first`` and all later ones, without checking constraints.

    Args:
        sweep: The sweep; every method other than ``qmc`` draws at random.
        first: Number of the first draw.
        fixed: Fixed values in addition to those of the sweep.
    """
    space = sweep.space.with_fixed({**sweep.search.fixed, **(fixed or {})})
    points = _quasi_random if sweep.search.method == "qmc" else _philox
    for point in points(len(space.parameters), sweep, first):
        yield space.at(point)


def completed(
    sweep: Sweep, part: Mapping[str, Any], place: int, is_valid: Callable[[dict[str, Any]], bool]
) -> dict[str, Any] | None:
    """Complete a partial configuration with the first row of the grid, or the first random draw, that can be trained.

    Args:
        sweep: The sweep.
        part: Values of some hyperparameters.
        place: Index among several partial configurations; each has its own random numbers.
        is_valid: Returns whether a configuration can be trained.

    Returns:
        The whole configuration; None if none was found.
    """
    if is_complete(sweep.space, part):
        return {name: part[name] for name in sweep.space.names if name in part}
    if sweep.search.method in LISTED_METHODS:
        for row in sweep.grid.rows:
            if has_values(row, part) and is_valid(row):
                return row
    space = sweep.space.with_fixed({**sweep.search.fixed, **part})
    points = _philox(len(space.parameters), sweep, _COMPLETIONS + place * _PER_COMPLETION)
    for params in map(space.at, islice(points, _PER_COMPLETION)):
        if sweep.satisfies(params) and is_valid(params):
            return params
    return None


def most_first(sweep: Sweep, most: int = MOST_FIRST) -> int:
    """Return how many trials may come from earlier studies, and how many from the user's belief.

    There are few, since both may mislead. Where the budget is in epochs, only whole trainings count as trials.

    Args:
        sweep: The sweep.
        most: The number for large searches that neither learn from results nor have rungs.
    """
    trials = sweep.search.max_trials or len(sweep.grid.rows)
    if sweep.search.epochs and sweep.epochs:
        trials = min(trials, sweep.search.epochs // sweep.epochs)
    if sweep.search.is_adaptive or isinstance(sweep.pruner, RungSpec):
        most = MOST_IF_SHORT
    return min(most, max(1, int(SHARE_FIRST * trials)))


def believed(sweep: Sweep, is_valid: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Return configurations by the priors in the space: their values themselves, then draws around them.

    Args:
        sweep: The sweep.
        is_valid: Returns whether a configuration can be trained.

    Returns:
        Distinct configurations that satisfy the constraints; none if the space has no prior.
    """
    space = sweep.space.with_fixed(sweep.search.fixed)
    if not space.priors:
        return []
    most = most_first(sweep, MOST_BELIEVED)
    distinct: dict[str, dict[str, Any]] = {}
    for place, point in enumerate(islice(_philox(len(space.parameters), sweep, _BELIEFS), _PER_COMPLETION)):
        params = space.believed_at(point, exactly=place == 0)
        if sweep.satisfies(params) and is_valid(params):
            distinct[configuration_id(params)] = params
        if len(distinct) == most:
            break
    return list(distinct.values())


def _from_grid(sweep: Sweep, seen: set[str]) -> Drawn:
    rows = sweep.grid.rows
    if sweep.search.method == "brute_force":
        order = np.random.Generator(np.random.Philox(key=sweep.search.seed)).permutation(len(rows))
        rows = tuple(rows[place] for place in order)
    limit = sweep.search.trials
    if limit is not None or seen:
        fresh = [row for row in rows if configuration_id(row) not in seen]
        rows = tuple(fresh if limit is None else fresh[: max(limit - len(seen), 0)])
    return Drawn(rows, duplicates=sweep.grid.duplicates, rejected=sweep.grid.rejected)


def _from_draws(sweep: Sweep, seen: set[str], first: int) -> Drawn:
    wanted = sweep.search.max_trials or 0
    found: list[dict[str, Any]] = []
    duplicates = rejected = in_vain = 0
    number = first
    for number, params in enumerate(draw(sweep, first=first), start=first):  # noqa: B007 - used after the loop
        if len(seen) >= wanted or in_vain > 1_000 + 10 * len(seen):
            break
        in_vain += 1
        if not sweep.satisfies(params):
            rejected += 1
            continue
        name = configuration_id(params)
        if name in seen:
            duplicates += 1
            continue
        seen.add(name)
        found.append(params)
        in_vain = 0
    return Drawn(tuple(found), duplicates, rejected, draws=number, exhausted=len(seen) < wanted)


def _philox(dimensions: int, sweep: Sweep, first: int) -> Iterator[np.ndarray]:
    for number in count(first):
        yield np.random.Generator(np.random.Philox(key=(sweep.search.seed << 64) | number)).random(dimensions)


def _quasi_random(dimensions: int, sweep: Sweep, first: int) -> Iterator[np.ndarray]:
    """Yield point ``first`` and all later ones of a Sobol or Halton sequence, each in [0, 1)^dimensions.

    Sobol's sequence is scrambled as by Owen: random linear matrices and a shift.
    """
    from scipy.stats import qmc  # noqa: PLC0415 - takes a second; only this method needs it

    options: QmcOptions = sweep.search.settings
    kind = {"sobol": qmc.Sobol, "halton": qmc.Halton}[options.qmc_type]
    sequence = kind(max(dimensions, 1), scramble=options.scramble, rng=sweep.search.seed)
    skip = first % _BLOCK
    if first > skip:
        sequence.fast_forward(first - skip)
    while True:
        for point in sequence.random(_BLOCK)[skip:]:
            yield point[:dimensions]
        skip = 0


def all_configurations(sweep: Sweep) -> tuple[dict[str, Any], ...] | None:
    """List all configurations that satisfy the constraints.

    Returns:
        The configurations; None if there are more than `MAX_LISTED`, or infinitely many.
    """
    space = sweep.space.with_fixed(sweep.search.fixed)
    if math.prod(one.domain.size for one in space.parameters) > MAX_LISTED:
        return None
    return grid(space, sweep.constraints).rows


@dataclass(frozen=True)
class Observation:
    """A trial in the form that samplers learn from.

    Attributes:
        number: Number of the trial; negative for trials imported from another study.
        params: Its configuration; None while unknown.
        state: The trial's state.
        value: The first objective, or None.
        others: The other objectives, in order.
        constraints: Value of each of ``search.constraints``, at most 0 if it is satisfied; empty while unknown.
        rungs: Best objective up to each rung that it reached, by epochs, if the sampler compares trials there.
        epochs: Number of epochs at the best value.
        ended: When the trial ended, in seconds since 1970; samplers learn in this order.
    """

    number: int
    params: Mapping[str, Any] | None
    state: str
    value: float | None
    others: tuple[float | None, ...] = ()
    constraints: tuple[float, ...] = ()
    rungs: Mapping[int, float] = field(default_factory=dict)
    epochs: int = 1
    ended: float = 0.0


def check_packages(method: str) -> None:
    """Check that the package that a method needs is installed.

    Raises:
        EnvironmentFault: The package is missing.
    """
    package = NEEDED.get(method)
    if package is not None and importlib.util.find_spec(package) is None:
        raise EnvironmentFault(
            f"the method {method!r} needs the package {package}, which is not installed; "
            f"run `pip install 'cnn-sweep[{method}]'` or `pip install {package}`"
        )
