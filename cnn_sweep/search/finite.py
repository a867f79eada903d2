"""Spaces that hold so few configurations that they can be listed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.sweep.grid import grid
from cnn_sweep.sweep.space import Choices, Range

if TYPE_CHECKING:
    from cnn_sweep.sweep.spec import Sweep

MAX_LISTED: Final = 20_000


def all_configurations(sweep: Sweep) -> tuple[dict[str, Any], ...] | None:
    """List what an adaptive search can propose, constraints honoured.

    Returns:
        The configurations, or None where they are too many (or endless).
    """
    space = sweep.space.narrowed(sweep.search.fixed)
    sizes = [_size(one.domain) for one in space.parameters]
    if math.prod(sizes) > MAX_LISTED:
        return None
    return grid(space, sweep.constraints).rows


def _size(domain: Choices | Range) -> float:
    """Count the values of a hyperparameter; infinite where a grid would not have all of them."""
    if isinstance(domain, Choices):
        return len(domain.values)
    if domain.low == domain.high:
        return 1
    if domain.points is not None or domain.grid is None:
        return math.inf
    return len(domain.grid)
