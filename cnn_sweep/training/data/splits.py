"""Divides images into training, validation and test set: stratified at random, or the last images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import Last

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Indices = npt.NDArray[np.intp]

_SHOWN = 8  # names in a message


@dataclass(frozen=True)
class SplitIndices:
    """Sorted indices of the images of each split; a split without images is empty."""

    train: Indices
    validation: Indices
    test: Indices


def partition(
    labels: npt.NDArray[np.int32],
    *,
    validation: float,
    test: float,
    seed: int,
    names: Sequence[str] = (),
) -> SplitIndices:
    """Split images so that each part has the class proportions of the whole.

    Args:
        labels: Class of each image.
        validation: Share of all images that becomes the validation set; may be 0.
        test: Share of all images that becomes the test set; may be 0.
        seed: The same seed gives the same split.
        names: Class names, for messages.

    Raises:
        InputError: There are too few images for this split.
    """
    everything = np.arange(len(labels))
    rest, test_part = _split(everything, labels, Cut("test", test), names, seed)
    train, validation_part = _split(rest, labels, Cut("validation", validation), names, seed)
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


def _split(
    indices: Indices, labels: npt.NDArray[np.int32], cut: Cut, names: Sequence[str], seed: int
) -> tuple[Indices, Indices]:
    if not cut.share:
        return indices, indices[:0]
    count = round(cut.share * len(labels))
    _check_enough(labels[indices], len(labels), count, cut, names)
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
    single = [names[k] if k < len(names) else str(k) for k in classes[counts == 1]]
    if single:
        one = "the class" if len(single) == 1 else "each of the classes"
        raise InputError(
            f"{one} {', '.join(single[:_SHOWN])}{', …' * (len(single) > _SHOWN)} has only one image, but to be in both "
            f"the training and the {cut.name} set takes two. Add images, leave such classes out, or give the "
            f"{cut.name} set images of its own"
        )
    fewest = min(count, len(labels) - count)
    if fewest < len(classes):
        raise InputError(
            f"{wanted}, which leaves {len(labels) - count} for the rest: too few to have each of the {len(classes)} "
            f"classes in both. Change {cut.name}, or add images"
        )


def divide(
    labels: npt.NDArray[np.int32],
    *,
    validation: float | Last | None,
    test: float,
    seed: int,
    names: Sequence[str] = (),
) -> dict[str, Indices]:
    """Return the indices of the images of each split, sorted; splits without images are omitted.

    Args:
        labels: Class of each image.
        validation: A stratified share, the last share of the images outside the test set, or None.
        test: A stratified share; may be 0.
        seed: Seed of the stratified shares.
        names: Class names, for messages.

    Raises:
        InputError: There are too few images for this split.
    """
    tail = validation.last if isinstance(validation, Last) else None
    share = 0.0 if isinstance(validation, Last) or validation is None else validation
    parts = partition(labels, validation=share, test=test, seed=seed, names=names)
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
