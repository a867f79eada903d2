"""Folds of cross-validation: each image that is not sealed for the test belongs to one fold, which validates in turn.

Several partitions are drawn, so that repeats of a configuration beyond the number of folds use other divisions, as in
scikit-learn's RepeatedStratifiedKFold. They are kept with the prepared images: a later version of scikit-learn cannot
change them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnn_sweep.errors import SettingError
from cnn_sweep.messages import few, plural
from cnn_sweep.training.data.splits import named_classes, stratified_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cnn_sweep.training.data.splits import Labelled

    Folds = npt.NDArray[np.int16]

PARTITIONS: Final = 10  # after which the divisions come again, with other seeds of the training
_KEY: Final = ("data", "folds")


def draw_folds(images: Labelled, folds: int, seed: int, *, same: Sequence[object] = ()) -> Folds:
    """Divide images into folds, stratified by class; images of one group stay together.

    Args:
        images: Their classes and groups.
        folds: Number of folds.
        seed: Seed of the first partition; each further one has the next seed.
        same: A value of each image that is equal for identical images; these stay together unless groups say otherwise.

    Returns:
        The fold of each image in each partition, shape (``PARTITIONS``, n).

    Raises:
        SettingError: There are too few images or groups for a training set with all classes in each fold.
    """
    groups = None if images.groups is None else np.unique(np.asarray(images.groups), return_inverse=True)[1]
    _check_enough(images, folds, groups)
    drawn = np.stack(
        [stratified_folds(images.y, groups, folds, (seed + number) % 2**32) for number in range(PARTITIONS)]
    )
    if groups is None and len(same):
        drawn = drawn[:, _first_places(same)]
    for number, partition in enumerate(drawn):
        _check_classes(images, partition, seed + number, folds)
    return drawn


def _first_places(same: Sequence[object]) -> list[int]:
    """Return for each image the place of the first that is identical to it."""
    first: dict[object, int] = {}
    return [first.setdefault(value, place) for place, value in enumerate(same)]


def _check_enough(images: Labelled, folds: int, groups: npt.NDArray[np.intp] | None) -> None:
    what = "image" if groups is None else "group"
    pairs = np.stack([images.y, np.arange(len(images.y)) if groups is None else groups])
    pairs = np.unique(pairs, axis=1)
    classes, counts = np.unique(pairs[0], return_counts=True)
    total = len(np.unique(pairs[1]))
    if total < folds or counts.max() < folds:
        most = f"the largest class has {plural(int(counts.max()), what)}" if total >= folds else f"there are {total}"
        raise SettingError(f"{folds} folds take at least {folds} {what}s of a class, but {most}", _KEY)
    if (counts == 1).any():
        single = classes[counts == 1]
        has = "has" if len(single) == 1 else "have"
        raise SettingError(
            f"{named_classes(single, images.names)} {has} images of only one {what}: while it validates, nothing is "
            f"left to learn from. Leave such classes out, or add {what}s",
            _KEY,
        )


def _check_classes(images: Labelled, partition: Folds, seed: int, folds: int) -> None:
    for fold in range(folds):
        left = np.bincount(images.y[partition != fold], minlength=int(images.y.max()) + 1)
        absent = np.setdiff1d(images.y, np.flatnonzero(left))
        if len(absent):
            by = "" if images.groups is None else " by groups"
            raise SettingError(
                f"the seed {seed} divides the images{by} so that no image of {named_classes(absent, images.names)} is "
                f"left to learn from while fold {fold} validates; another data.seed, or other folds, may do",
                _KEY,
            )


def describe_folds(images: Labelled, drawn: Folds, folds: int) -> list[dict[str, Any]]:
    """Return the number of images, of groups and of the images of each class in each fold of the first partition."""
    found = []
    for fold in range(folds):
        inside = drawn[0] == fold
        counts = np.bincount(images.y[inside], minlength=len(images.names)).tolist()
        groups = {} if images.groups is None else {"groups": len({images.groups[k] for k in np.flatnonzero(inside)})}
        found.append({"images": int(inside.sum()), **groups, "classes": dict(zip(images.names, counts, strict=True))})
    return found


def notes_on_folds(table: Sequence[dict[str, Any]]) -> list[str]:
    """Return a note about classes that some fold lacks, so that it cannot measure them."""
    absent = sorted({name for fold in table for name, count in fold["classes"].items() if not count})
    if not absent:
        return []
    which = plural(len(absent), "class is", "classes are")
    return [f"{which} missing from some folds, which cannot measure them: {few(absent)}"]
