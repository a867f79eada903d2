"""The scrambled Sobol sequence, which fills a space more evenly than random draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.stats import qmc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

_BLOCK = 256  # a power of two keeps the sequence balanced


def points(dimensions: int, seed: int, first: int) -> Iterator[np.ndarray]:
    """Yield the points of the sequence from number ``first`` on, each in [0, 1)^dimensions.

    Args:
        dimensions: Number of coordinates, at least 1.
        seed: Of the scrambling (Owen's, by random linear matrices and a shift).
        first: Number of the first point.
    """
    engine = qmc.Sobol(max(dimensions, 1), scramble=True, rng=seed)
    skip = first % _BLOCK
    if first > skip:
        engine.fast_forward(first - skip)
    while True:
        for point in engine.random(_BLOCK)[skip:]:
            yield point[:dimensions]
        skip = 0
