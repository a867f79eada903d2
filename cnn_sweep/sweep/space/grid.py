"""Configurations of a space: the whole grid, a sample that has every value, and random ones."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.expressions.parser import ExpressionError
from cnn_sweep.sweep.identity import configuration_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cnn_sweep.sweep.expressions.expression import Expression
    from cnn_sweep.sweep.space.space import Space


MAX_ROWS = 200_000


class GridTooLargeError(ValueError):
    """A grid has more than ``MAX_ROWS`` rows."""


@dataclass(frozen=True)
class Grid:
    """The configurations of a grid.

    Attributes:
        rows: Distinct configurations that satisfy the constraints.
        duplicates: Number of rows of the full product that differ from another row only in inactive parameters.
        rejected: Number of distinct rows that violate a constraint.
    """

    rows: tuple[dict[str, Any], ...]
    duplicates: int
    rejected: int


def grid(space: Space, constraints: Sequence[Expression]) -> Grid:
    """Return all configurations of a space in which every parameter has grid values.

    Rows are in the order of R's ``expand.grid``: the first parameter varies fastest.

    Raises:
        GridTooLargeError: There are more than ``MAX_ROWS`` rows.
        ExpressionError: A constraint has no value for a row.
    """
    rows = _different_rows(space)
    feasible = tuple(row for row in rows if satisfies(row, constraints))
    product = math.prod(len(parameter.domain.grid or ()) for parameter in space.parameters)
    return Grid(feasible, duplicates=product - len(rows), rejected=len(rows) - len(feasible))


def listed_rows(rows: Sequence[dict[str, Any]], constraints: Sequence[Expression]) -> Grid:
    """Return the configurations of a list, in its order.

    Raises:
        ExpressionError: A constraint has no value for a row.
    """
    different: dict[str, dict[str, Any]] = {}
    for row in rows:
        different.setdefault(configuration_id(row), row)
    feasible = tuple(row for row in different.values() if satisfies(row, constraints))
    return Grid(feasible, duplicates=len(rows) - len(different), rejected=len(different) - len(feasible))


def satisfies(params: dict[str, Any], constraints: Iterable[Expression]) -> bool:
    """Return whether all constraints hold; one that mentions an inactive parameter does not apply."""
    return all(constraint.holds(params) for constraint in constraints)


def _different_rows(space: Space) -> list[dict[str, Any]]:
    """Build rows along the conditions, then sort them.

    Of rows of the full product that differ only in inactive parameters, the first is kept, in which these parameters
    have their first values. Therefore rows are sorted by the indices of their values, with 0 for inactive ones.
    """
    place = {name: len(space.names) - 1 - index for index, name in enumerate(space.names)}
    rows: list[tuple[tuple[int, ...], dict[str, Any]]] = [((0,) * len(place), {})]
    for parameter in space.ordered:
        values, at = parameter.domain.grid or (), place[parameter.name]
        active = [not parameter.when or parameter.is_active(row) for _, row in rows]
        if len(rows) + sum(active) * (len(values) - 1) > MAX_ROWS:
            raise GridTooLargeError(f"the grid has more than {MAX_ROWS:,} configurations")
        longer = []
        for (indices, row), counts in zip(rows, active, strict=True):
            if counts:
                before, after = indices[:at], indices[at + 1 :]
                longer += [((*before, i, *after), {**row, parameter.name: v}) for i, v in enumerate(values)]
            else:
                longer.append((indices, row))
        rows = longer
    rows.sort(key=lambda pair: pair[0])
    return [{name: row[name] for name in space.names if name in row} for _, row in rows]


TRIES = 200  # random completions for one value, until the constraints hold


def sample_configurations(space: Space, constraints: Sequence[Expression], *, grid: bool) -> Iterator[dict[str, Any]]:
    """Yield configurations that satisfy the constraints and together have every value of every hyperparameter.

    A value for which ``TRIES`` random configurations all violate a constraint is left out. The same space always gives
    the same configurations.

    Args:
        space: The search space.
        constraints: Conditions that the configurations satisfy.
        grid: Whether to use all grid values of ranges; otherwise, their ends and one value between.
    """
    values = {p.name: (p.domain.grid if grid else None) or p.domain.sample_values for p in space.parameters}
    generator = random.Random(0)  # noqa: S311 - not used for security
    seen: set[tuple[str, str]] = set()
    if not values:
        yield {}
    for name, options in values.items():
        for value in options:
            if (name, repr(value)) in seen:
                continue
            found = _with(space, constraints, values, fixed={name: value}, generator=generator)
            if found is not None:
                seen.update((key, repr(one)) for key, one in found.items())
                yield found


def rows_with_all_values(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows that together have every value of every hyperparameter in the rows, and each set of active ones."""
    seen: set[Any] = set()
    for row in rows:
        new = {*((name, repr(value)) for name, value in row.items()), tuple(row)} - seen
        if new:
            seen |= new
            yield row


def _with(
    space: Space,
    constraints: Sequence[Expression],
    values: dict[str, tuple[Any, ...]],
    *,
    fixed: dict[str, Any],
    generator: random.Random,
) -> dict[str, Any] | None:
    """Return a configuration with one value fixed: first with the first value of the others, then with random ones."""
    name = next(iter(fixed))
    wanted = {**_conditions(space, name), **fixed}
    for attempt in range(TRIES):
        row = {key: generator.choice(options) if attempt else options[0] for key, options in values.items()}
        params = space.complete({**row, **wanted})
        if name in params and is_feasible(params, constraints):
            return params
    return None


def _conditions(space: Space, name: str) -> dict[str, Any]:
    """Return values of other parameters that make a parameter active."""
    wanted: dict[str, Any] = {}
    for other, accepted in space.by_name[name].when.items():
        wanted |= {**_conditions(space, other), other: accepted[0]}
    return wanted


def is_feasible(params: dict[str, Any], constraints: Iterable[Expression]) -> bool:
    """Return whether all constraints hold; one without a value, as after a division by zero, is violated."""
    try:
        return satisfies(params, constraints)
    except ExpressionError:
        return False


def random_configurations(space: Space, *, count: int) -> Iterator[dict[str, Any]]:
    """Yield random configurations, without regard to constraints."""
    generator = random.Random(0)  # noqa: S311 - not used for security
    for _ in range(count):
        yield space.at([generator.random() for _ in space.parameters])
