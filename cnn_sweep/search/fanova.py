"""Functional analysis of variance of random forests: the share of the variance that each hyperparameter explains alone.

The method is fANOVA (Hutter, Hoos and Leyton-Brown, ICML 2014), for single hyperparameters. For the same forest of
ranges the numbers are those of Optuna's evaluator, which takes fifteen times as long: here the leaves of a tree are
rows of arrays. Ranges with ``log: true`` are measured by their logarithms, as they are searched, and all choices of a
hyperparameter weigh the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from cnn_sweep.sweep.space.space import Choices, Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_DEPTH: Final = 8  # of a tree; deeper ones fit noise, and hardly change the shares
_TREES_TO_PREDICT: Final = 64  # so many that each result is unseen by some


@dataclass(frozen=True)
class Axis:
    """A hyperparameter as a forest sees it: a column of numbers, or an indicator column for each choice.

    Attributes:
        domain: Its values.
    """

    domain: Choices | Range

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.domain.values) if isinstance(self.domain, Choices) else 1

    def columns(self, values: Sequence[Any]) -> Floats:
        """Encode values, numbers between 0 and 1; shape (values, width)."""
        if isinstance(self.domain, Choices):
            indicators: Floats = np.eye(self.width)[np.array([self.domain.index(v) for v in values], dtype=int)]
            return indicators
        scale = math.log if self.domain.log else float
        low, high = scale(self.domain.low), scale(self.domain.high)
        return np.array([[(scale(value) - low) / (high - low)] for value in values])

    def cells(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Divide the axis where leaves end.

        Args:
            low: Lower ends of the leaves; shape (leaves, width).
            high: Upper ends.

        Returns:
            The share of the axis that each cell has, shape (cells,), and 1 where a leaf has a cell, shape (leaves,
            cells).
        """
        if isinstance(self.domain, Choices):
            only, never = low > 0, high < 1  # indicators are split in the middle
            inside = np.where(only.any(axis=1, keepdims=True), only, ~never)
            return np.full(self.width, 1 / self.width), inside.astype(float)
        edges = np.unique(np.concatenate([low, high]))
        inside = (low <= edges[:-1]) & (edges[1:] <= high)
        return np.diff(edges), inside.astype(float)


def forest(axes: Sequence[Axis], columns: Sequence[Floats], values: Floats, trees: int, seed: int) -> Floats:
    """Fit a random forest, and analyse each of its trees.

    Args:
        axes: The hyperparameters.
        columns: Of each, as `Axis.columns` encodes it.
        values: The results; shape (results,).
        trees: Number of trees.
        seed: Seed of the forest.

    Returns:
        The share of the variance over the whole space that each hyperparameter explains alone; shape (trees,
        hyperparameters), without trees that are constant.
    """
    model = RandomForestRegressor(trees, max_depth=_DEPTH, random_state=seed).fit(np.hstack(columns), values)
    shares = [found for one in model.estimators_ if (found := _shares(one.tree_, axes)) is not None]
    return np.array(shares).reshape(-1, len(axes))


def predicted(features: Floats, values: Floats) -> float:
    """Return the share of the variance that a random forest explains in results that its trees have not seen.

    It is estimated out of bag (Breiman, *Machine Learning* 45, 2001), and below 0 if the mean predicts better.

    Args:
        features: Encoded hyperparameters; shape (results, features).
        values: The results; shape (results,).
    """
    model = RandomForestRegressor(_TREES_TO_PREDICT, max_depth=_DEPTH, random_state=0, oob_score=True)
    return float(model.fit(features, values).oob_score_)


def _shares(tree: Any, axes: Sequence[Axis]) -> Floats | None:
    """Return the share of a tree's variance that each hyperparameter explains alone; None if it is constant."""
    low, high = _boxes(tree)
    leaves = tree.children_left < 0
    low, high, means = low[leaves], high[leaves], tree.value[leaves, 0, 0]
    ends = np.cumsum([0, *(axis.width for axis in axes)])
    cells = [axis.cells(low[:, a:b], high[:, a:b]) for axis, a, b in zip(axes, ends, ends[1:], strict=False)]
    lengths = np.column_stack([inside @ weights for weights, inside in cells])
    volumes = lengths.prod(axis=1)
    mean = volumes @ means
    variance = volumes @ (means - mean) ** 2
    if variance == 0:
        return None
    alone: list[float] = [
        weights @ ((means * volumes / length) @ inside - mean) ** 2
        for (weights, inside), length in zip(cells, lengths.T, strict=True)
    ]
    shares: Floats = np.array(alone) / variance
    return shares


def _boxes(tree: Any) -> tuple[Floats, Floats]:
    """Return the lower and the upper ends of each node; shape (nodes, columns)."""
    low, high = np.zeros((tree.node_count, tree.n_features)), np.ones((tree.node_count, tree.n_features))
    for node, (left, right) in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        if left < 0:
            continue
        low[[left, right]], high[[left, right]] = low[node], high[node]  # children come after their parents
        high[left, tree.feature[node]] = low[right, tree.feature[node]] = tree.threshold[node]
    return low, high
