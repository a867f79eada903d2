"""All configurations of a space, in the row order of R's ``expand.grid``: the first factor varies fastest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cnn_sweep.sweep.expressions import Expression
    from cnn_sweep.sweep.space import Space

MAX_ROWS = 200_000


class GridTooLargeError(ValueError):
    """A grid of more rows than anybody trains."""


@dataclass(frozen=True)
class Grid:
    """The configurations of a grid.

    Attributes:
        rows: All different, all satisfying the constraints.
        duplicates: How many rows of the full product differ from another one in inactive parameters only.
        rejected: How many different rows violate a constraint.
    """

    rows: tuple[dict[str, Any], ...]
    duplicates: int
    rejected: int


def grid(space: Space, constraints: Sequence[Expression]) -> Grid:
    """List the configurations of a space whose every parameter has grid values.

    Raises:
        GridTooLargeError: There are more than ``MAX_ROWS`` rows.
        ExpressionError: A constraint has no value for a row.
    """
    rows = _different_rows(space)
    kept = tuple(row for row in rows if satisfies(row, constraints))
    product = math.prod(len(parameter.domain.grid or ()) for parameter in space.parameters)
    return Grid(kept, duplicates=product - len(rows), rejected=len(rows) - len(kept))


def satisfies(params: dict[str, Any], constraints: Iterable[Expression]) -> bool:
    """Tell whether all constraints hold; one that mentions an inactive parameter does not apply."""
    return all(constraint.holds(params) for constraint in constraints)


def _different_rows(space: Space) -> list[dict[str, Any]]:
    """Build rows along the conditions, then sort them.

    Of the rows of the full product that differ in inactive parameters only, the first is the one in which
    these have their first value; so a row's place is given by its indices, with 0 for what is inactive.
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
