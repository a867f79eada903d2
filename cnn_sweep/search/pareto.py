"""Pareto fronts: results with several objectives that no other result dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.sweep.direction import Direction

_LEAST_DISTANCE: Final = 0.01  # of a knee from the plane; less is rounding


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
    losses = _losses(values, directions)
    on_front = np.isfinite(losses).all(axis=1)
    # Starting with the best by the first objective removes dominated results early, which saves comparisons.
    for place in np.lexsort(losses.T[::-1]):
        if on_front[place]:
            beaten = (losses[place] <= losses).all(axis=1) & (losses[place] < losses).any(axis=1)
            on_front &= ~beaten
    return [bool(one) for one in on_front]


def scaled_losses(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> np.ndarray:
    """Return values as losses from 0, the best in an objective, to 1, the worst.

    Args:
        values: One row per result with one number per objective.
        directions: One per objective.

    Returns:
        Losses of shape (results, objectives); 0 in an objective in which all are equal.
    """
    losses = _losses(values, directions)
    low, high = losses.min(axis=0), losses.max(axis=0)
    scaled: np.ndarray = (losses - low) / np.where(high > low, high - low, 1.0)
    return scaled


def knee(front: Sequence[Sequence[float]], directions: Sequence[Direction]) -> int | None:
    """Return the place of the knee of a front: beyond it, a small gain in one objective costs much in another.

    It is the result furthest from the plane through the ends of the front, towards better values, with each objective
    scaled to the front's range (Das, "On characterizing the 'knee' of the Pareto curve", Structural Optimization 18,
    1999, for two objectives).

    Args:
        front: One row per result on the front with one number per objective.
        directions: One per objective.

    Returns:
        Its place in ``front``; None if no result lies on the better side of the plane.
    """
    if len(front) < 3:
        return None
    distances = 1.0 - scaled_losses(front, directions).sum(axis=1)
    best = int(distances.argmax())
    return best if distances[best] > _LEAST_DISTANCE else None


def hypervolume(losses: np.ndarray) -> float:
    """Return the volume between results and the point (1, 1, …): the share of the unit cube that they dominate.

    Zitzler and Thiele, "Multiobjective optimization using evolutionary algorithms", PPSN V, 1998; computed by slices
    along the last objective.

    Args:
        losses: Shape (results, objectives), each from 0 (best) to 1.
    """
    if losses.shape[1] == 1:
        return float(1.0 - losses.min(initial=1.0))
    order = losses[np.argsort(losses[:, -1], kind="stable")]
    depths = np.append(order[:, -1], 1.0)
    if losses.shape[1] == 2:
        return float(((1.0 - np.minimum.accumulate(order[:, 0])) * np.diff(depths)).sum()) if len(losses) else 0.0
    slices = ((place, depth) for place, depth in enumerate(np.diff(depths), start=1) if depth > 0)
    return sum(float(depth) * hypervolume(order[:place, :-1]) for place, depth in slices)


def _losses(values: Sequence[Sequence[float | None]], directions: Sequence[Direction]) -> np.ndarray:
    found = np.array([[np.nan if one is None else one for one in row] for row in values], dtype=float)
    losses: np.ndarray = found.reshape(len(values), len(directions)) * np.array([one.sign for one in directions])
    return losses
