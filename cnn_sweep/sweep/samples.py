"""Enough configurations to meet every value of every hyperparameter at least once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.expressions import ExpressionError
from cnn_sweep.sweep.grid import satisfies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cnn_sweep.sweep.expressions import Expression
    from cnn_sweep.sweep.space import Space

TRIES = 200  # random completions for one value, until the constraints hold


def samples(space: Space, constraints: Sequence[Expression], *, grid: bool) -> Iterator[dict[str, Any]]:
    """Yield configurations that satisfy the constraints, such that every value is seen that is quick to find.

    A value that constraints exclude in hundreds of random tries is left out. The same space gives the same
    ones every time.

    Args:
        space: The search space.
        constraints: Conditions on whole configurations.
        grid: Whether ranges have their grid values only; otherwise their ends and a value between.

    """
    values = {p.name: (p.domain.grid if grid else None) or p.domain.samples for p in space.parameters}
    generator = random.Random(0)  # noqa: S311 - nothing secret about it
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


def _with(
    space: Space,
    constraints: Sequence[Expression],
    values: dict[str, tuple[Any, ...]],
    *,
    fixed: dict[str, Any],
    generator: random.Random,
) -> dict[str, Any] | None:
    """Find a configuration with some values fixed: the first values of the others, then random ones."""
    name = next(iter(fixed))
    wanted = {**_conditions(space, name), **fixed}
    for attempt in range(TRIES):
        row = {key: generator.choice(options) if attempt else options[0] for key, options in values.items()}
        params = space.complete({**row, **wanted})
        if name in params and holds(params, constraints):
            return params
    return None


def _conditions(space: Space, name: str) -> dict[str, Any]:
    """Return values of other parameters with which a parameter is active."""
    wanted: dict[str, Any] = {}
    for other, accepted in space.by_name[name].when.items():
        wanted |= {**_conditions(space, other), other: accepted[0]}
    return wanted


def holds(params: dict[str, Any], constraints: Iterable[Expression]) -> bool:
    """Tell whether all constraints hold; one without a value, as after a division by zero, does not."""
    try:
        return satisfies(params, constraints)
    except ExpressionError:
        return False


def draws(space: Space, *, count: int) -> Iterator[dict[str, Any]]:
    """Yield random configurations, whatever the constraints."""
    generator = random.Random(0)  # noqa: S311 - nothing secret about it
    for _ in range(count):
        yield space.at([generator.random() for _ in space.parameters])
