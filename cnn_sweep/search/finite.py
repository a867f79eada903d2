"""Spaces that hold so few configurations that they can be listed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.sweep.space.grid import grid

if TYPE_CHECKING:
    from cnn_sweep.sweep.sweep import Sweep

MAX_LISTED: Final = 20_000


def all_configurations(sweep: Sweep) -> tuple[dict[str, Any], ...] | None:
    """List what an adaptive search can propose, constraints honoured.

    Returns:
        The configurations, or None where they are too many (or endless).
    """
    space = sweep.space.narrowed(sweep.search.fixed)
    if math.prod(one.domain.size for one in space.parameters) > MAX_LISTED:
        return None
    return grid(space, sweep.constraints).rows
