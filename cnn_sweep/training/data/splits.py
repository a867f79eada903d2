"""Stratified splits by seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

from cnn_sweep.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Partition:
    """Indices of the images of each part, sorted; a part with no images is empty."""

    train: Indices
    validation: Indices
    test: Indices


def partition(labels: npt.NDArray[np.int32], *, validation: float, test: float, seed: int) -> Partition:
    """Split images so that each part has the classes in the proportions of the whole.

    Args:
        labels: Class of each image.
        validation: Share of all images that becomes the validation set; may be 0.
        test: Share of all images that becomes the test set; may be 0.
        seed: The same seed gives the same split.

    Raises:
        InputError: There are too few images to split them so.
    """
    everything = np.arange(len(labels))
    rest, test_part = _split(everything, labels, round(test * len(labels)), seed)
    train, validation_part = _split(rest, labels, round(validation * len(labels)), seed)
    return Partition(train, validation_part, test_part)


def _split(indices: Indices, labels: npt.NDArray[np.int32], count: int, seed: int) -> tuple[Indices, Indices]:
    if not count:
        return indices, indices[:0]
    try:
        kept, taken = train_test_split(
            indices, test_size=count, stratify=labels[indices], random_state=seed, shuffle=True
        )
    except ValueError as error:
        raise InputError(
            f"{len(indices)} images cannot be split into {len(indices) - count} and {count} "
            f"with every class in both: {error}"
        ) from error
    return np.sort(kept), np.sort(taken)
