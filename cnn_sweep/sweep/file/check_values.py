"""Checks a sweep with sample configurations, so that every value is validated before anything is trained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnn_sweep.messages import show
from cnn_sweep.sweep.expressions.parser import ExpressionError
from cnn_sweep.sweep.network.template import INDEX
from cnn_sweep.sweep.space.grid import (
    MAX_ROWS,
    GridTooLargeError,
    grid,
    is_feasible,
    random_configurations,
    rows_with_all_values,
    sample_configurations,
    satisfies,
)
from cnn_sweep.sweep.space.templates import InvalidValuesError
from cnn_sweep.sweep.spec.search import GRID_METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.expressions.expression import Expression
    from cnn_sweep.sweep.file.problems import Problems
    from cnn_sweep.sweep.file.sections import Sections
    from cnn_sweep.sweep.space.space import Space
    from cnn_sweep.validation import InvalidValue

_DRAWS = 2_000  # random configurations, at least one of which must satisfy the constraints
_SHOWN = 3  # values with the same mistake that a message lists


def check_values(sections: Sections, problems: Problems) -> None:
    """Add the problems that appear only when hyperparameters have values.

    Args:
        sections: The sections; parameters that could not be read are missing from the space.
        problems: The problems so far; new ones are added to it.
    """
    intact = not len(problems)
    found: dict[tuple[KeyPath, str], dict[str, tuple[InvalidValue, dict[str, Any]]]] = {}
    constraints = _usable_constraints(sections, problems)
    for params in _sample(sections, constraints):
        for one in _invalid_values(sections, params):
            if intact or one.kind != "missing":
                found.setdefault((one.path, one.kind), {}).setdefault(repr(one.value), (one, params))
    _check_feasible(sections, constraints, problems)
    for (path, _), invalid in found.items():
        first, params = next(iter(invalid.values()))
        where = _origin(first, params, sections, problems)
        problems.add(path, _message([one for one, _ in invalid.values()], where))


def _sample(sections: Sections, constraints: Iterable[Expression]) -> list[dict[str, Any]]:
    """Return sample configurations; if none satisfies the constraints, some that violate them."""
    if sections.rows is not None:
        chosen = tuple(constraints)
        return list(rows_with_all_values([row for row in sections.rows if is_feasible(row, chosen)] or sections.rows))
    # A grid that is too large is sampled like a continuous space.
    on_grid = sections.search.method in GRID_METHODS and _grid_size(sections.space) <= MAX_ROWS
    feasible = list(sample_configurations(sections.space, tuple(constraints), grid=on_grid))
    return feasible or list(sample_configurations(sections.space, (), grid=on_grid))


def _grid_size(space: Space) -> int:
    return math.prod(len(parameter.domain.grid or ()) for parameter in space.parameters)


def _usable_constraints(sections: Sections, problems: Problems) -> dict[Expression, KeyPath]:
    """Return the constraints that have a value for every sample; the others become problems."""
    usable: dict[Expression, KeyPath] = {}
    for constraint, path in zip(sections.constraints, sections.constraint_paths, strict=True):
        try:
            for params in _sample(sections, usable):
                satisfies(params, [constraint])
        except ExpressionError as error:
            problems.add(path, str(error))
        else:
            usable[constraint] = path
    return usable


def _message(invalid: Sequence[InvalidValue], where: str) -> str:
    """Return one message for several values with the same mistake."""
    others = [show(one.value) for one in invalid[1:]]
    rest = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    also = f"; also {', '.join(others[:_SHOWN])}{rest}" if others else ""
    return f"{invalid[0].message}{also}{where}"


def _origin(one: InvalidValue, params: dict[str, Any], sections: Sections, problems: Problems) -> str:
    """Return where an invalid value comes from: its parameters, and their lines in the file or the row of the table."""
    if not one.origin:
        return ""
    names = [name for name in one.names if name != INDEX]
    if sections.table is not None and sections.rows is not None and params in sections.rows:
        line, reasons = sections.table.origin(sections.rows.index(params), names)
        return f" (from {one.origin}, {problems.table_place(line)}{reasons})"
    places = [str(line) for name in names if (line := problems.line(("space", name)))]
    lines = f", line{'s' if len(places) > 1 else ''} {', '.join(places)}" if places else ""
    return f" (from {one.origin}{lines})"


def _invalid_values(sections: Sections, params: dict[str, Any]) -> list[InvalidValue]:
    invalid: list[InvalidValue] = []
    for template in (sections.network, sections.training):
        try:
            if template is not None:
                template.resolve(params)
        except InvalidValuesError as error:
            invalid += error.invalid
    return invalid


def _check_feasible(sections: Sections, constraints: dict[Expression, KeyPath], problems: Problems) -> None:
    """Check that some configuration satisfies the constraints, and that a grid is not too large."""
    if sections.rows is not None:
        _report_infeasible(sections.rows, constraints, problems, f"none of the {len(sections.rows):,} rows")
        return
    space = sections.space
    is_grid = sections.search.method in GRID_METHODS
    is_small = not is_grid or _grid_size(space) <= MAX_ROWS
    if is_small and any(sample_configurations(space, tuple(constraints), grid=is_grid)):
        return
    try:
        rows = grid(space, ()).rows if is_grid else tuple(random_configurations(space, count=_DRAWS))
    except GridTooLargeError as error:
        problems.add(("space",), f"{error}; use the method random, or fewer points")
        return
    tried = f"none of the {len(rows):,} configurations" if is_grid else f"none of {len(rows):,} random configurations"
    _report_infeasible(rows, constraints, problems, tried)


def _report_infeasible(
    rows: Sequence[dict[str, Any]], constraints: dict[Expression, KeyPath], problems: Problems, tried: str
) -> None:
    """Add problems if no row satisfies all constraints."""
    if not rows or any(is_feasible(row, constraints) for row in rows):
        return
    alone = [one for one in constraints if not any(is_feasible(row, [one]) for row in rows)]
    for constraint in alone:
        problems.add(constraints[constraint], f"{tried} satisfies {constraint.text!r}")
    if not alone:
        problems.add(("constraints",), f"{tried} satisfies all constraints together")
