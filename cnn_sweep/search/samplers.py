"""Samplers whose n-th draw is a function of (sweep, n): there is no queue to fill and no history to read."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.sweep.identity import agree, configuration_id
from cnn_sweep.sweep.space.space import is_complete
from cnn_sweep.sweep.spec.search import ON_A_GRID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cnn_sweep.sweep.sweep import Sweep

# Draws that complete a part of a configuration come from the far end of the random numbers, so that they are not
# those of the search itself.
_COMPLETIONS: Final = 1 << 62
_PER_COMPLETION: Final = 1_000


@dataclass(frozen=True)
class Drawn:
    """Configurations that a sampler gave.

    Attributes:
        params: All different, all satisfying the constraints.
        duplicates: How many were dropped since they had come before.
        rejected: How many violated a constraint.
        draws: How many draws were made since the beginning of the sequence (0 on a grid).
        exhausted: Whether the space seems to hold no more than these, though more were asked for.
    """

    params: tuple[dict[str, Any], ...]
    duplicates: int
    rejected: int
    draws: int = 0
    exhausted: bool = False


def is_adaptive(sweep: Sweep) -> bool:
    """Tell whether the next configuration depends on the results so far."""
    return sweep.search.is_adaptive


def configurations(sweep: Sweep, *, known: Iterable[dict[str, Any]] = (), first: int = 0) -> Drawn:
    """Return the configurations of a sweep that is not adaptive, in their order.

    Args:
        sweep: The sweep.
        known: Configurations that count as drawn already: of earlier revisions, and those that are tried first.
        first: The first draw that earlier revisions did not use.

    Raises:
        ValueError: The sweep is adaptive.
    """
    if is_adaptive(sweep):
        raise ValueError(f"the method {sweep.search.method!r} chooses configurations one by one")
    seen = {configuration_id(params) for params in known}
    return _from_grid(sweep, seen) if sweep.search.method in ON_A_GRID else _from_draws(sweep, seen, first)


def draw(sweep: Sweep, *, first: int = 0, fixed: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Yield draw ``first`` and all that follow it, whatever the constraints.

    Args:
        sweep: The sweep; methods that are not quasi-random draw at random here.
        first: Number of the first draw.
        fixed: Values that hold besides those that the sweep fixes.
    """
    space = sweep.space.narrowed({**sweep.search.fixed, **(fixed or {})})
    points = _quasi_random if sweep.search.method == "qmc" else _philox
    for point in points(len(space.parameters), sweep, first):
        yield space.at(point)


def completed(
    sweep: Sweep, part: Mapping[str, Any], place: int, is_valid: Callable[[dict[str, Any]], bool]
) -> dict[str, Any] | None:
    """Complete a part of a configuration by the first row of the grid, or the first random draw, that can be trained.

    Args:
        sweep: The sweep.
        part: Some hyperparameters.
        place: Which of several parts this is; each has random numbers of its own.
        is_valid: Tells whether a configuration can be trained.

    Returns:
        The configuration; None if none was found.
    """
    if is_complete(sweep.space, part):
        return {name: part[name] for name in sweep.space.names if name in part}
    if sweep.search.method in ON_A_GRID:
        for row in sweep.grid.rows:
            if agree(row, part) and is_valid(row):
                return row
    space = sweep.space.narrowed({**sweep.search.fixed, **part})
    points = _philox(len(space.parameters), sweep, _COMPLETIONS + place * _PER_COMPLETION)
    for params in map(space.at, islice(points, _PER_COMPLETION)):
        if sweep.satisfies(params) and is_valid(params):
            return params
    return None


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
    wanted = sweep.search.most_trials or 0
    found: list[dict[str, Any]] = []
    duplicates = rejected = in_vain = 0
    number = first
    for number, params in enumerate(draw(sweep, first=first), start=first):  # noqa: B007 - where the loop ended
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
    # SciPy's statistics take a second to import, which only this method should cost.
    module: Any = importlib.import_module("cnn_sweep.search.quasi_random")
    points: Iterator[np.ndarray] = module.points(dimensions, sweep.search.seed, first, sweep.search.settings)
    return points
