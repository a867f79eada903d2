"""Divides images into training, validation and test set: stratified at random, by groups, or the last images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import Last
from cnn_sweep.training.data.groups import times_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Indices = npt.NDArray[np.intp]

_SHOWN = 8  # names in a message
_MOST_FOLDS: Final = 20  # of which some make a share


@dataclass(frozen=True)
class SplitIndices:
    """Sorted indices of the images of each split; a split without images is empty."""

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Labelled:
    """Images to divide.

    Attributes:
        y: Class of each image.
        names: Names of the classes, for messages.
        groups: Group of each image; those of one group stay together.
        ordered: Whether groups are dates or numbers, and the last images validate and test.
    """

    y: npt.NDArray[np.int32]
    names: Sequence[str] = ()
    groups: tuple[str, ...] | None = None
    ordered: bool = False


def partition(images: Labelled, *, validation: float, test: float, seed: int) -> SplitIndices:
    """Split images so that each part has the class proportions of the whole, as far as groups allow.

    Args:
        images: Their classes and groups.
        validation: Share of all images that becomes the validation set; may be 0.
        test: Share of all images that becomes the test set; may be 0.
        seed: The same seed gives the same split.

    Raises:
        InputError: There are too few images for this split.
    """
    split = _split if images.groups is None else _split_order if images.ordered else _split_groups
    rest, test_part = split(np.arange(len(images.y)), images, Cut("test", test), seed)
    train, validation_part = split(rest, images, Cut("validation", validation), seed)
    return SplitIndices(train, validation_part, test_part)


@dataclass(frozen=True)
class Cut:
    """A set to split off from the training images.

    Attributes:
        name: Name of the set.
        share: Share of all images.
    """

    name: str
    share: float


def _split(indices: Indices, images: Labelled, cut: Cut, seed: int) -> tuple[Indices, Indices]:
    if not cut.share:
        return indices, indices[:0]
    labels = images.y
    count = round(cut.share * len(labels))
    _check_enough(labels[indices], len(labels), count, cut, images.names)
    try:
        from sklearn.model_selection import train_test_split  # noqa: PLC0415 - takes a second; many commands only describe data

        kept, taken = train_test_split(
            indices, test_size=count, stratify=labels[indices], random_state=seed, shuffle=True
        )
    except ValueError as error:
        raise InputError(
            f"{len(indices)} images cannot be split into {len(indices) - count} and {count} "
            f"with every class in both: {error}"
        ) from error
    return np.sort(kept), np.sort(taken)


def _split_groups(indices: Indices, images: Labelled, cut: Cut, seed: int) -> tuple[Indices, Indices]:
    """Split off whole groups: some of the folds of scikit-learn's StratifiedGroupKFold."""
    if not cut.share:
        return indices, indices[:0]
    y, groups = images.y[indices], np.unique(np.asarray(images.groups)[indices], return_inverse=True)[1]
    _check_groups(groups, y, cut, images.names)
    count, folds = _fraction(cut.share * len(images.y) / len(indices), int(groups.max()) + 1)
    is_taken = stratified_folds(y, groups, folds, seed) < count
    kept, taken = np.flatnonzero(~is_taken), np.flatnonzero(is_taken)
    for part, name in ((kept, "training"), (taken, cut.name)):
        absent = np.setdiff1d(y, y[part])
        if len(absent):
            raise InputError(
                f"{cut.name}: {cut.share:g} by groups leaves no image of {named_classes(absent, images.names)} in the "
                f"{name} set; another data.seed, another share or more groups may"
            )
    return indices[kept], indices[taken]


def stratified_folds(
    y: npt.NDArray[np.int32], groups: npt.NDArray[np.intp] | None, folds: int, seed: int
) -> npt.NDArray[np.int16]:
    """Return the fold of each image: scikit-learn's StratifiedKFold, or with groups its StratifiedGroupKFold."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # noqa: PLC0415 - takes a second; many commands only describe data

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    found = np.empty(len(y), np.int16)
    with warnings.catch_warnings():
        # A class with few images need not be in every fold.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for number, (_, part) in enumerate(kind(folds, shuffle=True, random_state=seed).split(y, y, groups)):
            found[part] = number
    return found


def _split_order(indices: Indices, images: Labelled, cut: Cut, _seed: int) -> tuple[Indices, Indices]:
    """Split off the last images; those of the same time stay together."""
    if not cut.share:
        return indices, indices[:0]
    times, places = np.unique(times_of(np.asarray(images.groups)[indices].tolist()), return_inverse=True)
    if len(times) < 2:
        raise InputError(f"{cut.name}: all images have the same time, so none comes after the others")
    later = np.cumsum(np.bincount(places)[::-1])[::-1]  # images from each time on
    first = 1 + int(np.argmin(np.abs(later[1:] - cut.share * len(images.y))))
    return indices[places < first], indices[places >= first]


def _check_groups(groups: Indices, labels: npt.NDArray[np.int32], cut: Cut, names: Sequence[str]) -> None:
    """Refuse classes whose images are all in one group."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    classes, counts = np.unique(pairs[0], return_counts=True)
    if (counts == 1).any():
        single = classes[counts == 1]
        has = "has images of only one group" if len(single) == 1 else "have images of only one group each"
        raise InputError(
            f"{named_classes(single, names)} {has}, but to be in both the training and the {cut.name} set takes two. "
            "Leave such classes out, or split without data.group"
        )


def _fraction(share: float, most: int) -> tuple[int, int]:
    """Return the closest fraction, as numerator and denominator; of equally close ones that with the fewest folds.

    >>> _fraction(0.2, 40), _fraction(0.3, 40), _fraction(0.3, 3)
    ((1, 5), (3, 10), (1, 3))
    """
    pairs = ((max(1, min(folds - 1, round(share * folds))), folds) for folds in range(2, min(most, _MOST_FOLDS) + 1))
    return min(pairs, key=lambda pair: (round(abs(pair[0] / pair[1] - share), 9), pair[1]))


def named_classes(labels: npt.NDArray[np.int32], names: Sequence[str]) -> str:
    """Return the names of some classes for a message."""
    shown = [names[k] if k < len(names) else str(k) for k in labels[:_SHOWN]]
    return f"the class{'es' * (len(labels) > 1)} {', '.join(shown)}{', …' * (len(labels) > _SHOWN)}"


def _check_enough(labels: npt.NDArray[np.int32], total: int, count: int, cut: Cut, names: Sequence[str]) -> None:
    """Refuse a share that yields no image, or too few for every class to be in both parts.

    Args:
        labels: Labels of the images to divide.
        total: Number of all images.
        count: Number of images to split off.
        cut: The set to split off.
        names: Class names.
    """
    wanted = f"{cut.name}: {cut.share:g} of {total} images is {count}"
    if not count:
        raise InputError(f"{wanted}; give a larger share, or more images")
    classes, counts = np.unique(labels, return_counts=True)
    single = classes[counts == 1]
    if len(single):
        raise InputError(
            f"{'each of ' * (len(single) > 1)}{named_classes(single, names)} has only one image, but to be in both the "
            f"training and the {cut.name} set takes two. Add images, leave such classes out, or give the {cut.name} "
            "set images of its own"
        )
    fewest = min(count, len(labels) - count)
    if fewest < len(classes):
        raise InputError(
            f"{wanted}, which leaves {len(labels) - count} for the rest: too few to have each of the {len(classes)} "
            f"classes in both. Change {cut.name}, or add images"
        )


def divide(images: Labelled, *, validation: float | Last | None, test: float, seed: int) -> dict[str, Indices]:
    """Return the indices of the images of each split, sorted; splits without images are omitted.

    Args:
        images: Their classes and groups.
        validation: A stratified share, the last share of the images outside the test set, or None.
        test: A stratified share; may be 0.
        seed: Seed of the stratified shares.

    Raises:
        InputError: There are too few images for this split.
    """
    tail = validation.last if isinstance(validation, Last) else None
    share = 0.0 if isinstance(validation, Last) or validation is None else validation
    parts = partition(images, validation=share, test=test, seed=seed)
    train, chosen = parts.train, parts.validation
    if tail is not None:
        first = len(train) - round(tail * len(train))
        train, chosen = train[:first], train[first:]
        if not len(train) or not len(chosen):
            raise InputError(f"the last {tail:g} of {len(parts.train)} images leave no images for one of the sets")
    found = {"train": train, "validation": chosen, "test": parts.test}
    return {name: indices for name, indices in found.items() if len(indices)}


def subset(indices: Indices, labels: npt.NDArray[np.int32], count: int | None, seed: int) -> Indices:
    """Draw ``count`` images of each class without replacement, or all if there are fewer.

    Args:
        indices: Images to draw from.
        labels: Class of every image, including those not in ``indices``.
        count: Number of images per class; None for all.
        seed: The same seed draws the same images.
    """
    if count is None:
        return indices
    random = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels[indices]):
        members = indices[labels[indices] == label]
        drawn.append(random.permutation(members)[:count])
    return np.sort(np.concatenate(drawn)) if drawn else indices
