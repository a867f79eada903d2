"""Which images each step of an epoch sees, which the validation sees, and what each class weighs: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnn_sweep.sweep.spec.training import check_class_names

if TYPE_CHECKING:
    import numpy.typing as npt

    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.training import TrainingSpec

    Indices = npt.NDArray[np.int32]


class Batches(NamedTuple):
    """The steps of one epoch.

    Attributes:
        order: Training images in the order in which the steps take them.
        starts: Where each step's images begin in ``order``, and its length at last; shape (steps + 1,).
    """

    order: Indices
    starts: Indices


def steps_of(training: TrainingSpec, images: int) -> int:
    """Return the number of steps of an epoch: those of one pass over the images, unless the sweep says otherwise."""
    return training.steps_per_epoch or _steps_of_pass(training, images)


def _steps_of_pass(training: TrainingSpec, images: int) -> int:
    return -(-images // training.batch_size)


def batches_of(training: TrainingSpec, *, seed: int, epoch: int, images: int) -> Batches:
    """Return the steps of an epoch; passes over the images follow one another across epochs.

    Step *s* of epoch *e* is step ``e * steps + s`` of the trial. Each pass has an order of its own, and the last
    batch of each is smaller where the images do not come out even, as with Keras's generators.

    Args:
        training: Its batch size, and its steps of an epoch.
        seed: The trial's seed.
        epoch: 0-based number of the epoch.
        images: Number of training images.
    """
    size, steps, of_pass = training.batch_size, steps_of(training, images), _steps_of_pass(training, images)
    first = epoch * steps
    parts = []
    for number in range(first // of_pass, -(-(first + steps) // of_pass)):
        begin, end = max(first - number * of_pass, 0), min(first + steps - number * of_pass, of_pass)
        parts.append(order_of(seed, number, images)[begin * size : end * size])
    place = (first + np.arange(steps)) % of_pass
    counts = np.minimum(images - place * size, size)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Batches(np.concatenate(parts), starts)


def order_of(seed: int, epoch: int, images: int) -> npt.NDArray[np.int32]:
    """Return the order of the training images in an epoch: a pure function of its arguments.

    Args:
        seed: The trial's seed.
        epoch: 0-based number of the epoch.
        images: Number of training images.
    """
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 2, epoch])))
    return random.permutation(images).astype(np.int32)


def validation_sample(training: TrainingSpec, images: int) -> Indices:
    """Return the validation images that are looked at after each epoch, in their stored order.

    Those of fewer steps are among those of more, whatever the trial and its seed.
    """
    wanted = images if training.validation_steps is None else training.validation_steps * training.batch_size
    if wanted >= images:
        return np.arange(images, dtype=np.int32)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([0, 3])))
    return np.sort(random.permutation(images)[:wanted]).astype(np.int32)


def class_weights(training: TrainingSpec, info: ImageInfo, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Return by what the loss of each class's training images is multiplied.

    ``balanced`` is ``images / (classes * images of the class)``, as in scikit-learn.

    Raises:
        InputError: A class that is given a weight is none of the data's.
    """
    given = training.class_weights
    if given is None:
        return np.ones(info.classes, np.float32)
    if given == "balanced":
        counts = np.bincount(labels, minlength=info.classes)
        return (len(labels) / (info.classes * np.maximum(counts, 1))).astype(np.float32)
    check_class_names(given, info)
    return np.array([given.get(name, 1.0) for name in info.class_names], np.float32)
