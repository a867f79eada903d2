"""Sequences that fill a space more evenly than random draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scipy.stats import qmc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from cnn_sweep.sweep.spec.search import QmcOptions

_BLOCK: Final = 256  # a power of two keeps Sobol's sequence balanced
_ENGINES: Final = {"sobol": qmc.Sobol, "halton": qmc.Halton}


def points(dimensions: int, seed: int, first: int, options: QmcOptions) -> Iterator[np.ndarray]:
    """Yield the points of the sequence from number ``first`` on, each in [0, 1)^dimensions.

    Args:
        dimensions: Number of coordinates.
        seed: Of the scrambling (for Sobol's sequence Owen's, by random linear matrices and a shift).
        first: Number of the first point.
        options: Which sequence, and whether it is scrambled.
    """
    engine = _ENGINES[options.qmc_type](max(dimensions, 1), scramble=options.scramble, rng=seed)
    skip = first % _BLOCK
    if first > skip:
        engine.fast_forward(first - skip)
    while True:
        for point in engine.random(_BLOCK)[skip:]:
            yield point[:dimensions]
        skip = 0
