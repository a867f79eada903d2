"""Reads the images of each kind of source that is an array already, and divides them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import ArrayFiles, ArraysData, BenchmarkData, DigitsData, RdsData, TilesData
from cnn_sweep.training.data.arrays import open_images, read_pair
from cnn_sweep.training.data.benchmark_sets import read_benchmark
from cnn_sweep.training.data.dataset import UNLABELLED
from cnn_sweep.training.data.describe import named
from cnn_sweep.training.data.rds import read_rds_source
from cnn_sweep.training.data.source import ArrayImages, Part, Source, in_form
from cnn_sweep.training.data.splits import divide
from cnn_sweep.training.data.tiles import read_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import DataSpec
    from cnn_sweep.training.data.arrays import Pair
    from cnn_sweep.training.data.source import Images, Labels


def read_source(spec: DataSpec, folder: Path) -> Source:
    """Return all splits of a data set whose images are arrays.

    Raises:
        InputError: The data is not what it should be; the message says which file and why.
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
    images: Images, y: Labels, spec: DigitsData | ArraysData | BenchmarkData, *, test: float, names: Sequence[str]
) -> dict[str, Part]:
    """Divide labelled images into training, validation and, if asked for, test set."""
    share = None if isinstance(spec.validation, ArrayFiles) else spec.validation
    parts = divide(y, validation=share, test=test, seed=spec.seed, names=names)
    return {name: Part(images, index, y[index]) for name, index in parts.items()}


def _digits(spec: DigitsData) -> Source:
    """scikit-learn's 1,797 scanned digits; their 17 grey levels are spread over 0..255."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - most of a second that other sources need not wait

    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]  # (n, 8, 8, 1)
    images = in_form(ArrayImages(x, "digits"), spec)
    names = tuple("0123456789")
    return Source(_in_splits(images, bunch.target.astype(np.int32), spec, test=spec.test, names=names), names)


def _benchmark(spec: BenchmarkData, folder: Path) -> Source:
    train, test, names = read_benchmark(spec, folder)
    splits = _in_splits(in_form(ArrayImages(train[0], "train"), spec), train[1], spec, test=0.0, names=names)
    images = in_form(ArrayImages(test[0], "test"), spec)
    return Source({**splits, "test": Part(images, np.arange(len(test[1])), test[1])}, names)


def _arrays(spec: ArraysData, folder: Path) -> Source:
    whole = read_pair(spec.train, folder)
    test = spec.test if isinstance(spec.test, float | int) else 0.0
    names = named(spec, whole.classes)
    splits = _in_splits(in_form(ArrayImages(whole.x, spec.train.x), spec), whole.y, spec, test=test, names=names)
    for name in ("validation", "test"):
        files = getattr(spec, name)
        if hasattr(files, "x"):
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
