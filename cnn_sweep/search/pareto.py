"""Pareto fronts: results with several objectives that no other result dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.sweep.direction import Direction


def pareto_front(values: Sequence[Sequence[float | None]], directions: Sequence[Direction]) -> list[bool]:
    """Return which results are on the Pareto front.

    One result dominates another if it is at least as good in every objective and better in one.

    Args:
        values: One row per result with one number per objective; a result without a finite number is never on the
            front.
        directions: One per objective.

    Returns:
        One bool per result; equal results are on the front together.
    """
    signs = np.array([direction.sign for direction in directions])
    losses = np.array([[np.nan if one is None else one for one in row] for row in values], dtype=float)
    losses = losses.reshape(len(values), len(directions)) * signs
    on_front = np.isfinite(losses).all(axis=1)
    # Starting with the best by the first objective removes dominated results early, which saves comparisons.
    for place in np.lexsort(losses.T[::-1]):
        if on_front[place]:
            beaten = (losses[place] <= losses).all(axis=1) & (losses[place] < losses).any(axis=1)
            on_front &= ~beaten
    return [bool(one) for one in on_front]
