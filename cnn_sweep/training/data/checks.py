"""Checks of a data set: files exist, classes can be learned, no image is in two splits or damaged."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import numpy as np

from cnn_sweep.errors import InputError, SettingError, blamed_on
from cnn_sweep.messages import listed, plural, point_hint
from cnn_sweep.sweep.spec.data import named_paths
from cnn_sweep.training.data.arrays import path_of
from cnn_sweep.training.data.dataset import UNLABELLED
from cnn_sweep.validation import path_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cnn_sweep.sweep.spec.data import DataSpec, OnLeak
    from cnn_sweep.training.data.dataset_writer import Stored
    from cnn_sweep.training.data.image_decoder import BadImage
    from cnn_sweep.training.data.raw_images import Labels

_SHOWN = 5  # examples in a message
_FOLDERS = {"folder", "files"}  # sources that read folders of images


def check_classes(labels: Mapping[str, Labels], class_names: Sequence[str], *, numbered: bool) -> list[str]:
    """Check that every class can be learned and evaluated.

    Args:
        labels: Labels of each split.
        class_names: In the order of the labels.
        numbered: Whether classes are numbers chosen by the user, so that some may be unused.

    Returns:
        Notes about classes without images in a split.

    Raises:
        InputError: The training set has a single class, or lacks a class that is named or in another split.
    """

    def names(numbers: Sequence[int]) -> str:
        return listed(class_names[k] if k < len(class_names) else k for k in numbers)

    known = np.unique(labels["train"])
    if not known.size:
        raise InputError("the training set has no image that can be used")
    if known.size == 1:
        raise InputError(f"the training set holds a single class ({names(known.tolist())}); there is nothing to learn")
    notes = []
    for split, y in labels.items():
        if split == UNLABELLED:
            continue
        if not len(y):
            raise InputError(f"the {split} set has no image that can be used")
        unknown = np.setdiff1d(y, known).tolist()
        if unknown:
            raise InputError(
                f"the {split} set holds classes that the training set lacks: {names(unknown)}; "
                f"those of the training set are {names(known.tolist()[:20])}"
            )
        absent = np.setdiff1d(np.arange(len(class_names)), y).tolist()
        if absent and split == "train" and not numbered:
            raise InputError(f"no image of the class {names(absent)} in the training set")
        if absent:
            notes.append(f"no image of the class {names(absent)} in the {split} set")
    return notes


def check_leaks(stored: Mapping[str, Stored], when: OnLeak) -> list[str]:
    """Look for identical images in two labelled splits.

    Returns:
        A note about them, unless they are an error.

    Raises:
        InputError: There are such images, and ``when`` is "fail".
    """
    first: dict[str, tuple[str, str]] = {}
    found: list[str] = []
    count = 0
    for split, part in stored.items():
        if split == UNLABELLED:
            continue
        for digest, item in zip(part.digests, part.items, strict=False):  # mirror images follow, without digests
            other = first.setdefault(digest, (split, item.name))
            if other[0] != split:
                count += 1
                if len(found) < _SHOWN:
                    found.append(f"{item.name} ({split}) is {other[1]} ({other[0]})")
    if not count:
        return []
    rest = f" and {count - len(found)} more" if count > len(found) else ""
    many = plural(count, "image is", "images are")
    message = f"{many} in two sets, so results would look better than they are: {'; '.join(found)}{rest}"
    if when == "fail":
        raise InputError(f"{message}. Remove them from one of the sets, or write on_leak: warn")
    return [message]


def check_bad(bad: Mapping[str, Sequence[BadImage]]) -> None:
    """Refuse a data set with unusable images.

    Raises:
        InputError: There are such images; the message lists them.
    """
    lines = [f"  {image.name}: {image.reason}" for images in bad.values() for image in images]
    if lines:
        shown = 20
        rest = [f"  and {len(lines) - shown} more"] if len(lines) > shown else []
        text = "\n".join([*lines[:shown], *rest])
        raise InputError(
            f"{plural(len(lines), 'image', 'images')} cannot be used:\n{text}\n"
            "Repair or remove them, or write on_bad_image: skip to continue without them"
        )


def check_places(spec: DataSpec, folder: Path) -> None:
    """Check that each file and folder named in a data section exists.

    Args:
        spec: The sweep's data.
        folder: Where relative paths start.

    Raises:
        SettingError: A path does not exist; the error carries its key in the sweep file.
    """
    for key, name in named_paths(spec):
        is_folder = spec.source in _FOLDERS and key != ("labels", "table")
        with blamed_on("data", *key):
            path = path_of(name, folder)[0] if spec.source == "arrays" else path_in(folder, name)
        if is_folder and not path.is_dir():
            reason = "not a folder" if path.exists() else f"no such folder{point_hint(name)}"
            raise SettingError(f"{path}: {reason}", ("data", *key))
        if not path.exists():
            raise SettingError(f"{path}: {os.strerror(errno.ENOENT)}", ("data", *key))
