"""Pure functions for the batches of an epoch: order of images, validation sample, class weights."""

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
    """The batches of one epoch.

    Attributes:
        order: Indices of training images, in the order of the steps.
        starts: Start of each step's images in ``order``, then the length of ``order``; shape (steps + 1,).
    """

    order: Indices
    starts: Indices


def steps_of(training: TrainingSpec, images: int) -> int:
    """Return the number of steps of an epoch: one pass over the images, unless the sweep sets ``steps_per_epoch``."""
    return training.steps_per_epoch or _steps_of_pass(training, images)


def _steps_of_pass(training: TrainingSpec, images: int) -> int:
    return -(-images // training.batch_size)


def batches_of(training: TrainingSpec, *, seed: int, epoch: int, images: int) -> Batches:
    """Return the batches of an epoch; passes over the images continue across epochs.

    Step *s* of epoch *e* is step ``e * steps + s`` of the trial. Each pass has its own order, and its last batch may be
    smaller, as with Keras's generators.

    Args:
        training: Gives the batch size and the steps of an epoch.
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
    """Return the indices of the validation images to evaluate after each epoch, in stored order.

    The sample is the same for all trials and seeds, and a smaller sample is part of a larger one.
    """
    wanted = images if training.validation_steps is None else training.validation_steps * training.batch_size
    if wanted >= images:
        return np.arange(images, dtype=np.int32)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([0, 3])))
    return np.sort(random.permutation(images)[:wanted]).astype(np.int32)


def class_weights(training: TrainingSpec, info: ImageInfo, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Return the factor of the loss of each class's training images.

    ``balanced`` is ``images / (classes * images of the class)``, as in scikit-learn.

    Raises:
        InputError: The sweep weights a class that the data does not have.
    """
    weights = training.class_weights
    if weights is None:
        return np.ones(info.classes, np.float32)
    if weights == "balanced":
        counts = np.bincount(labels, minlength=info.classes)
        return (len(labels) / (info.classes * np.maximum(counts, 1))).astype(np.float32)
    check_class_names(weights, info)
    return np.array([weights.get(name, 1.0) for name in info.class_names], np.float32)
