"""Which of several results are beaten by no other, where more than one thing counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.sweep.direction import Direction


def pareto_front(values: Sequence[Sequence[float | None]], directions: Sequence[Direction]) -> list[bool]:
    """Tell which results no other one dominates: is at least as good in everything and better in something.

    Args:
        values: One row a result, one number an objective; a result that lacks a finite number is never on the
            front.
        directions: One an objective.

    Returns:
        One truth value a result; equal results are on the front together.
    """
    signs = np.array([direction.sign for direction in directions])
    losses = np.array([[np.nan if one is None else one for one in row] for row in values], dtype=float)
    losses = losses.reshape(len(values), len(directions)) * signs
    on_front = np.isfinite(losses).all(axis=1)
    # The best by the first objective come first: what is beaten is found, and left out of all that follows, early.
    for place in np.lexsort(losses.T[::-1]):
        if on_front[place]:
            beaten = (losses[place] <= losses).all(axis=1) & (losses[place] < losses).any(axis=1)
            on_front &= ~beaten
    return [bool(one) for one in on_front]
