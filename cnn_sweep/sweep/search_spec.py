"""How a sweep searches its space."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cnn_sweep.sweep.network import Count, Spec

Method = Literal["grid", "random", "qmc", "tpe"]


class TpeOptions(Spec):
    """Settings of the tree-structured Parzen estimator; names are Optuna's."""

    n_startup_trials: Count = 10  # drawn at random before the estimator begins
    multivariate: bool = True  # consider the parameters together


class SearchSpec(Spec):
    """How a sweep searches its space.

    Attributes:
        method: grid: all combinations. random: independent draws. qmc: a scrambled Sobol sequence, which
            covers the space more evenly. tpe: learns from the results so far.
        trials: How many configurations; on a grid the first so many, None for all.
        repeats: How often each configuration is trained, each time with another seed.
        seed: Repeat r is trained with seed + r.
        options: Settings of the method.
    """

    method: Method = "grid"
    trials: Count | None = None
    repeats: Count = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    options: dict[str, Any] = Field(default_factory=dict)


OPTIONS: dict[str, type[Spec]] = {"tpe": TpeOptions}
