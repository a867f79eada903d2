"""Reads the images of each kind of source, and splits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits

from cnn_sweep.errors import InputError
from cnn_sweep.training.data.arrays import files_of, read_pair
from cnn_sweep.training.data.dataset import Split
from cnn_sweep.training.data.describe import DIGITS, class_names
from cnn_sweep.training.data.splits import partition

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cnn_sweep.sweep.data_spec import ArraysData, DataSpec, DigitsData
    from cnn_sweep.training.data.arrays import Pair


@dataclass(frozen=True)
class Source:
    """All splits in memory (or mapped), before they are stored."""

    splits: Mapping[str, Split]
    class_names: tuple[str, ...]


def read_source(spec: DataSpec, folder: Path) -> Source:
    """Return all splits of a data set.

    Raises:
        InputError: The data is not what it should be; the message says which file and why.
    """
    return _digits(spec) if spec.source == "digits" else _arrays(spec, folder)


def _digits(spec: DigitsData) -> Source:
    """scikit-learn's 1,797 scanned digits; their 17 grey levels are spread over 0..255."""
    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]  # (n, 8, 8, 1)
    y = bunch.target.astype(np.int32)
    parts = partition(y, validation=spec.validation, test=spec.test, seed=spec.seed)
    return Source(
        splits={
            name: Split(x[indices], y[indices])
            for name, indices in (
                ("train", parts.train),
                ("validation", parts.validation),
                ("test", parts.test),
            )
            if len(indices)
        },
        class_names=DIGITS.class_names,
    )


def _arrays(spec: ArraysData, folder: Path) -> Source:
    whole = read_pair(spec.train, folder)
    shares = {
        name: value if isinstance(value, float | int) else 0.0
        for name, value in (("validation", spec.validation), ("test", spec.test))
    }
    parts = partition(whole.y, validation=shares["validation"], test=shares["test"], seed=spec.seed)
    splits = {"train": Split(whole.x[parts.train], whole.y[parts.train])}
    for name, indices in (("validation", parts.validation), ("test", parts.test)):
        files: Any = getattr(spec, name)
        if hasattr(files, "x"):
            pair = read_pair(files, folder)
            _check_fits(pair, whole, str(files_of(files, folder)[0]))
            splits[name] = Split(pair.x, pair.y)
        elif len(indices):
            splits[name] = Split(whole.x[indices], whole.y[indices])
    _check_classes(splits)
    return Source(splits, class_names(whole.classes))


def _check_fits(pair: Pair, train: Pair, name: str) -> None:
    if pair.x.shape[1:] != train.x.shape[1:]:
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


def _check_classes(splits: Mapping[str, Split]) -> None:
    known = np.unique(splits["train"].y)
    if known.size < 2:
        raise InputError(f"the training set holds a single class ({known.tolist()}); there is nothing to learn")
    for name, split in splits.items():
        unknown = np.setdiff1d(split.y, known)
        if unknown.size:
            raise InputError(
                f"the {name} set holds classes that the training set lacks: {unknown[:10].tolist()}; "
                f"those of the training set are {known[:20].tolist()}"
            )
