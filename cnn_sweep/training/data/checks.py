"""What is wrong with a data set as a whole, said before anything is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.messages import listed, plural
from cnn_sweep.training.data.dataset import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.sweep.spec.data import OnLeak
    from cnn_sweep.training.data.images import BadImage
    from cnn_sweep.training.data.source import Labels
    from cnn_sweep.training.data.storing import Stored

_SHOWN = 5  # examples in a message


def check_classes(labels: Mapping[str, Labels], class_names: Sequence[str], *, numbered: bool) -> list[str]:
    """Look whether every class can be learned, and judged.

    Args:
        labels: Of each split.
        class_names: In the order of the labels.
        numbered: Classes are numbers of the user's, of which some may be missing.

    Returns:
        What is odd and no error: classes that a split lacks.

    Raises:
        InputError: The training set lacks a class that is named or that another split has, or has one class only.
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
    """Look for images that are in two of the splits with labels.

    Returns:
        What was found, where that is no error.

    Raises:
        InputError: There are some, and ``when`` is "fail".
    """
    first: dict[str, tuple[str, str]] = {}
    found: list[str] = []
    count = 0
    for split, part in stored.items():
        if split == UNLABELLED:
            continue
        for digest, item in zip(part.digests, part.items, strict=False):  # mirror images come last and have no digest
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
        raise InputError(f"{message}. Take them out of one of the sets, or write on_leak: warn")
    return [message]


def check_bad(bad: Mapping[str, Sequence[BadImage]]) -> None:
    """Stop at images that cannot be used.

    Raises:
        InputError: There are some; the message lists them.
    """
    lines = [f"  {image.name}: {image.reason}" for images in bad.values() for image in images]
    if lines:
        shown = 20
        rest = [f"  and {len(lines) - shown} more"] if len(lines) > shown else []
        text = "\n".join([*lines[:shown], *rest])
        raise InputError(
            f"{plural(len(lines), 'image', 'images')} cannot be used:\n{text}\n"
            "Mend or remove them, or write on_bad_image: skip to go on without them"
        )
