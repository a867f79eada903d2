"""Access to every kind of data source: `describe` finds shape and classes, `read_source` reads the images.

`read_source` is for sources whose images are arrays; image files are in :mod:`cnn_sweep.training.data.image_files`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import InputError, SettingError
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.spec.data import ArrayFiles, ArraysData, BenchmarkData, DigitsData, RdsData, TilesData
from cnn_sweep.training.data.arrays import image_shape, open_images, read_groups, read_labels, read_pair
from cnn_sweep.training.data.benchmark_sets import SETS, read_benchmark
from cnn_sweep.training.data.checks import check_places
from cnn_sweep.training.data.class_names import class_notes
from cnn_sweep.training.data.dataset import UNLABELLED
from cnn_sweep.training.data.image_files import file_classes
from cnn_sweep.training.data.raw_images import ArrayImages, Part, Source, in_form, options_for
from cnn_sweep.training.data.rds import rds_shape, read_rds_source
from cnn_sweep.training.data.splits import Labelled, divide
from cnn_sweep.training.data.tiles import read_tiles, tile_classes

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import DataSpec
    from cnn_sweep.training.data.arrays import Pair
    from cnn_sweep.training.data.raw_images import Images

DIGITS = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))


def describe(spec: DataSpec, folder: Path) -> ImageInfo:
    """Return the shape of an image and the classes; reads labels, headers and names of files, no pixels.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.

    Raises:
        InputError: A file is missing or invalid.
    """
    check_places(spec, folder)
    if spec.source in ("folder", "files"):
        height, width = spec.image_size
        shape = height, width, 3 if spec.color == "rgb" else 1
        return ImageInfo(image_shape=shape, class_names=file_classes(spec, folder))
    shape, names = _shape_and_classes(spec, folder)
    options = options_for(shape, size=spec.image_size, fit=spec.fit, color=spec.color)
    return ImageInfo(image_shape=options.shape if options else shape, class_names=names)


def notes_on_names(spec: DataSpec, info: ImageInfo) -> list[str]:
    """Return notes about names of classes that the user did not list, as preparing the data gives them."""
    found = spec.source in ("folder", "files") and spec.classes is None
    return class_notes(info.class_names) if found else []


def _shape_and_classes(spec: Any, folder: Path) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return the images' own shape, before any resizing, and the classes."""
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
    """Return the numbers of unnamed classes as their names."""
    return tuple(str(k) for k in range(max(2, classes)))


def read_source(spec: DataSpec, folder: Path) -> Source:
    """Return all splits of a data set whose images are arrays.

    Raises:
        InputError: The data are invalid; the message names the file and the reason.
    """
    if isinstance(spec, DigitsData):
        return _digits(spec)
    if isinstance(spec, ArraysData):
        return _arrays(spec, folder)
    if isinstance(spec, RdsData):
        return read_rds_source(spec, folder)
    if isinstance(spec, TilesData):
        return read_tiles(spec, folder)
    if isinstance(spec, BenchmarkData):
        return _benchmark(spec, folder)
    raise AssertionError(f"{spec.source} images are files, not arrays")


def _in_splits(
    images: Images, labelled: Labelled, spec: DigitsData | ArraysData | BenchmarkData, *, test: float
) -> dict[str, Part]:
    """Divide labelled images into training, validation and, if requested, test set."""
    share = None if isinstance(spec.validation_set, ArrayFiles) else spec.validation_set
    parts = divide(labelled, validation=share, test=test, seed=spec.seed)
    whole = Part(images, np.arange(len(labelled.y)), labelled.y, labelled.groups)
    return {name: whole.take(index) for name, index in parts.items()}


def _digits(spec: DigitsData) -> Source:
    """scikit-learn's 1,797 scanned digits; their 17 grey levels are spread over 0..255."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes most of a second; needed only here

    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]  # (n, 8, 8, 1)
    images = in_form(ArrayImages(x, "digits"), spec)
    names = tuple("0123456789")
    return Source(_in_splits(images, Labelled(bunch.target.astype(np.int32), names), spec, test=spec.test), names)


def _benchmark(spec: BenchmarkData, folder: Path) -> Source:
    train, test, names = read_benchmark(spec, folder)
    splits = _in_splits(in_form(ArrayImages(train[0], "train"), spec), Labelled(train[1], names), spec, test=0.0)
    images = in_form(ArrayImages(test[0], "test"), spec)
    return Source({**splits, "test": Part(images, np.arange(len(test[1])), test[1])}, names)


def _arrays(spec: ArraysData, folder: Path) -> Source:
    whole = read_pair(spec.train, folder)
    test = spec.test if isinstance(spec.test, float | int) else 0.0
    names = named(spec, whole.classes)
    groups = None if spec.group is None else read_groups(spec.group, folder, len(whole.y))
    labelled = Labelled(whole.y, names, groups)
    splits = _in_splits(in_form(ArrayImages(whole.x, spec.train.x), spec), labelled, spec, test=test)
    for name in ("validation", "test"):
        files = spec.validation_set if name == "validation" else spec.test
        if isinstance(files, ArrayFiles):
            pair = read_pair(files, folder)
            _check_fits(pair, whole, files.x, resized=spec.image_size is not None)
            images = in_form(ArrayImages(pair.x, files.x), spec)
            splits[name] = Part(images, np.arange(len(pair.y)), pair.y)
    if spec.unlabelled is not None:
        x = open_images(spec.unlabelled, folder)
        images = in_form(ArrayImages(x, spec.unlabelled), spec)
        if (images.shape, images.is_uint8) != (splits["train"].images.shape, splits["train"].images.is_uint8):
            raise InputError(f"{spec.unlabelled}: its images have another shape or type than those of the training set")
        splits[UNLABELLED] = Part(images, np.arange(len(x)), np.full(len(x), -1, np.int32))
    return Source(splits, names)


def _check_fits(pair: Pair, train: Pair, name: str, *, resized: bool) -> None:
    if pair.x.shape[1:] != train.x.shape[1:] and not resized:
        raise InputError(
            f"{name}: its images have the shape {pair.x.shape[1:]}, those of the training set {train.x.shape[1:]}"
        )
    if (pair.x.dtype == np.uint8) != (train.x.dtype == np.uint8):
        raise InputError(
            f"{name}: its images are {pair.x.dtype}, those of the training set {train.x.dtype}; "
            "both must be uint8 or both floating-point"
        )
    if pair.one_hot and train.one_hot and pair.classes != train.classes:
        raise InputError(f"{name}: {pair.classes} classes, but the training set has {train.classes}")
