"""What a network must know about a data set, found without preparing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.sweep.trial import ImageInfo
from cnn_sweep.training.data.arrays import read_pair

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.sweep.data_spec import DataSpec

DIGITS = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))


def describe(spec: DataSpec, folder: Path) -> ImageInfo:
    """Return the shape of an image and the classes; reads labels and headers, no pixels.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.

    Raises:
        InputError: A file is missing or is not what it should be.
    """
    if spec.source == "digits":
        return DIGITS
    train = read_pair(spec.train, folder)
    height, width, channels = train.x.shape[1:]
    return ImageInfo(image_shape=(height, width, channels), class_names=class_names(train.classes))


def class_names(classes: int) -> tuple[str, ...]:
    """Return names for classes that have none: their numbers."""
    return tuple(str(k) for k in range(max(2, classes)))
