"""Samplers whose n-th draw is a function of (sweep, n): there is no queue to fill and no history to read."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.sweep.configuration import configuration_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnn_sweep.sweep.spec import Sweep

Draws = Callable[[int, int, int], Iterator[np.ndarray]]  # (dimensions, seed, first): points of the unit cube

ADAPTIVE: Final = frozenset({"tpe"})


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
    return sweep.search.method in ADAPTIVE


def configurations(sweep: Sweep, *, known: Iterable[dict[str, Any]] = (), first: int = 0) -> Drawn:
    """Return the configurations of a sweep that is not adaptive, in their order.

    Args:
        sweep: The sweep.
        known: Configurations of earlier revisions of the sweep, which count as drawn already.
        first: The first draw that these did not use.

    Raises:
        ValueError: The sweep is adaptive.
    """
    if is_adaptive(sweep):
        raise ValueError(f"the method {sweep.search.method!r} chooses configurations one by one")
    seen = {configuration_id(params) for params in known}
    return _from_grid(sweep, seen) if sweep.search.method == "grid" else _from_draws(sweep, seen, first)


def draw(sweep: Sweep, *, first: int = 0) -> Iterator[dict[str, Any]]:
    """Yield draw ``first`` and all that follow it, whatever the constraints.

    Args:
        sweep: The sweep; an adaptive one draws at random here.
        first: Number of the first draw.
    """
    points = _sobol if sweep.search.method == "qmc" else _philox
    for point in points(len(sweep.space.parameters), sweep.search.seed, first):
        yield sweep.space.at(point)


def _from_grid(sweep: Sweep, seen: set[str]) -> Drawn:
    rows = sweep.grid.rows
    limit = sweep.search.trials
    if limit is not None or seen:
        fresh = [row for row in rows if configuration_id(row) not in seen]
        rows = tuple(fresh if limit is None else fresh[: max(limit - len(seen), 0)])
    return Drawn(rows, duplicates=sweep.grid.duplicates, rejected=sweep.grid.rejected)


def _from_draws(sweep: Sweep, seen: set[str], first: int) -> Drawn:
    wanted = sweep.search.trials or 0
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


def _philox(dimensions: int, seed: int, first: int) -> Iterator[np.ndarray]:
    for number in count(first):
        yield np.random.Generator(np.random.Philox(key=(seed << 64) | number)).random(dimensions)


def _sobol(dimensions: int, seed: int, first: int) -> Iterator[np.ndarray]:
    # SciPy's statistics take a second to import, which only this method should cost.
    sobol: Draws = importlib.import_module("cnn_sweep.search.sobol").points
    return sobol(dimensions, seed, first)
