"""Tables of learning curves, and the places of their configurations in a space that peers can search."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from cnn_sweep.search.learning_curves import features_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Learning curves of the same configurations on several tasks.

    Attributes:
        tasks: Names of the tasks.
        params: Hyperparameters of each configuration.
        curves: Validation accuracy after each epoch; shape (tasks, configurations, epochs).
    """

    tasks: tuple[str, ...]
    params: tuple[dict[str, Any], ...]
    curves: Floats

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a table; a missing or wrong part ends the program with a message."""
        try:
            with np.load(path, allow_pickle=False) as data:
                curves = np.array(data["val_accuracy"], dtype=float)
                params = json.loads(str(data["params"]))
                tasks = [str(task) for task in np.atleast_1d(data["tasks"])] if "tasks" in data else None
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f"{path}: cannot be read as a table of learning curves: {error}")
        curves = curves[None] if curves.ndim == 2 else curves
        tasks = tasks or [str(number) for number in range(len(curves))]
        if curves.ndim != 3 or curves.shape[:2] != (len(tasks), len(params)) or not curves.size:
            sizes = f"{len(tasks)} tasks, {len(params)} configurations"
            sys.exit(f"{path}: val_accuracy has the shape {curves.shape}, but there are {sizes}")
        return cls(tuple(tasks), tuple(params), curves)

    def task(self, place: int, seed: int) -> Task:
        """Return a task with its configurations in the order of a seed."""
        order = np.random.default_rng(seed).permutation(len(self.params))
        curves = self.curves[place][order]
        best = np.fmax.accumulate(curves, axis=1)
        worst = np.nanmin(curves) if np.isfinite(curves).any() else 0.0
        return Task(
            [self.params[row] for row in order], np.nan_to_num(curves, nan=worst), np.nan_to_num(best, nan=worst), seed
        )


@dataclass(frozen=True)
class Task:
    """The configurations of a task in the order in which a search begins them.

    Attributes:
        params: Their hyperparameters.
        curves: Accuracy after each epoch, shape (configurations, epochs).
        best: The best accuracy up to each epoch, likewise.
        seed: Seed of the search.
    """

    params: list[dict[str, Any]]
    curves: Floats
    best: Floats
    seed: int

    @property
    def epochs(self) -> int:
        """Epochs of a whole training."""
        return int(self.curves.shape[1])

    @cached_property
    def features(self) -> Floats:
        """Encoded hyperparameters."""
        return features_of(self.params)


def distributions(params: Sequence[dict[str, Any]]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return a space that the configurations lie in: ranges of numbers with more than ten values, else choices."""
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name in dict.fromkeys(name for one in params for name in one):
        values = [one.get(name) for one in params]
        several = len(set(map(str, values))) > 10
        if several and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            low, high = min(values), max(values)  # type: ignore[type-var]
            log = bool(low > 0 and high / low > 20)  # type: ignore[operator]
            found[name] = optuna.distributions.FloatDistribution(float(low), float(high), log=log)  # type: ignore[arg-type]
        else:
            found[name] = optuna.distributions.CategoricalDistribution(sorted({choice(v) for v in values}))
    return found


def cube_of(params: Sequence[dict[str, Any]], space: dict[str, optuna.distributions.BaseDistribution]) -> Floats:
    """Return the places of configurations in the unit cube, one a row; categories are corners."""
    columns: list[list[float]] = []
    for name, dist in space.items():
        if isinstance(dist, optuna.distributions.CategoricalDistribution):
            columns += [[float(choice(one.get(name)) == one_of) for one in params] for one_of in dist.choices]
            continue
        scale = math.log if dist.log else float  # type: ignore[attr-defined]
        low, high = scale(dist.low), scale(dist.high)  # type: ignore[attr-defined]
        columns.append([(scale(one[name]) - low) / (high - low) for one in params])
    return np.array(columns).T.reshape(len(params), -1)


def take_nearest(cube: Floats, left: NDArray[np.bool_], place: Floats) -> int:
    """Return the row nearest to a place in the unit cube among those that are left, and take it away from them."""
    row = int(np.where(left, np.abs(cube - place).sum(axis=1), np.inf).argmin())
    left[row] = False
    return row


def choice(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
