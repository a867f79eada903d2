"""What a network must know about a data set, found without preparing it and without opening images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import SettingError
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.training.data.arrays import image_shape, read_labels
from cnn_sweep.training.data.benchmark_sets import SETS
from cnn_sweep.training.data.files import file_classes
from cnn_sweep.training.data.places import check_places
from cnn_sweep.training.data.rds import rds_shape
from cnn_sweep.training.data.source import options_for
from cnn_sweep.training.data.tiles import tile_classes

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import ArraysData, DataSpec

DIGITS = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))


def describe(spec: DataSpec, folder: Path) -> ImageInfo:
    """Return the shape of an image and the classes; reads labels, headers and names of files, no pixels.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.

    Raises:
        InputError: A file is missing or is not what it should be.
    """
    check_places(spec, folder)
    if spec.source in ("folder", "files"):
        height, width = spec.image_size
        shape = height, width, 3 if spec.color == "rgb" else 1
        return ImageInfo(image_shape=shape, class_names=file_classes(spec, folder))
    shape, names = _as_they_are(spec, folder)
    options = options_for(shape, size=spec.image_size, fit=spec.fit, color=spec.color)
    return ImageInfo(image_shape=options.shape if options else shape, class_names=names)


def _as_they_are(spec: Any, folder: Path) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return shape and classes before a size or a colour is asked for."""
    if spec.source == "digits":
        return DIGITS.image_shape, DIGITS.class_names
    if spec.source == "arrays":
        _, classes, _ = read_labels(spec.train.y, folder)
        return image_shape(spec.train.x, folder), named(spec, classes)
    if spec.source == "tiles":
        return (*spec.size, 3 if spec.color == "rgb" else 1), tile_classes(spec, folder)
    if spec.source == "rds":
        return rds_shape(spec, folder), tuple(spec.classes)
    return SETS[spec.source].shape, SETS[spec.source].class_names


def named(spec: ArraysData, classes: int) -> tuple[str, ...]:
    """Return the classes' names as the user gave them, or numbers.

    Raises:
        InputError: There are more labels than names.
    """
    if spec.class_names is None:
        return class_names(classes)
    if len(spec.class_names) < classes:
        message = f"class_names has {len(spec.class_names)} names, but {spec.train.y} has {classes} classes"
        raise SettingError(message, ("data", "class_names"))
    return spec.class_names


def class_names(classes: int) -> tuple[str, ...]:
    """Return names for classes that have none: their numbers."""
    return tuple(str(k) for k in range(max(2, classes)))
