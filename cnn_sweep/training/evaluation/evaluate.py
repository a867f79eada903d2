"""Predictions and metrics of exported models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.training.engines.graph_engine import evaluation_batch
from cnn_sweep.training.engines.losses import loss_name, output_units, per_image_loss, targets
from cnn_sweep.training.evaluation.metrics import all_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.training.data.dataset import Dataset


def load_model(path: Path) -> Any:
    """Load an exported model.

    Raises:
        EnvironmentFault: The file is missing or damaged.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(f"the model {path} cannot be loaded: {error}") from error


def predict(model_file: Path, images: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return an exported model's probabilities for images.

    Args:
        model_file: An exported ``.keras`` file.
        images: Shape (n, height, width, channels), values as in the training data before rescaling.

    Returns:
        Shape (n, units).
    """
    model = load_model(model_file)
    return np.concatenate([prediction.numpy() for prediction in _predictions(model, images, evaluation_batch(model))])


class Measured(NamedTuple):
    """Metrics of an exported model on one split.

    Attributes:
        metrics: By name; names start with the split, as in ``test_loss``.
        losses: Loss of each image without penalties, shape (n,); ``test_loss`` is their mean plus the penalties.
    """

    metrics: dict[str, float]
    losses: npt.NDArray[np.float64]


def evaluate(
    model_file: Path, dataset: Dataset, *, split: str = "test", training: TrainingSpec | None = None
) -> dict[str, float]:
    """Return the metrics of an exported model on one split; see `measure`."""
    return measure(model_file, dataset, split=split, training=training).metrics


def measure(
    model_file: Path,
    dataset: Dataset,
    *,
    split: str = "test",
    training: TrainingSpec | None = None,
    networks: int = 1,
) -> Measured:
    """Measure an exported model on one split.

    Args:
        model_file: The ``.keras`` file.
        dataset: Loaded with the split.
        split: Name of the split.
        training: The trial's training settings, for its loss; by default the loss for the model's output.
        networks: Number of networks that the model averages: the loss has the mean of their penalties.

    Raises:
        InputError: The data set has no such split, or its classes differ from the model's.
    """
    if split not in dataset.splits:
        raise InputError(f"the data set has no {split} images; it has {', '.join(dataset.splits)}")
    model = load_model(model_file)
    units = output_units(model, dataset.info)
    loss_of = per_image_loss(loss_name(training, model, units))
    smoothing = training.label_smoothing if training else 0.0
    labels = np.asarray(dataset.splits[split].y)
    parts: list[npt.NDArray[np.float32]] = []
    losses: list[npt.NDArray[np.float64]] = []
    penalty = 0.0
    batch = evaluation_batch(model)
    for number, prediction in enumerate(_predictions(model, dataset.splits[split].x, batch)):
        target = targets(tf.constant(labels[number * batch : (number + 1) * batch]), units)
        losses.append(loss_of(target, prediction, smoothing).numpy().astype(np.float64))
        penalty = float(tf.add_n(model.losses)) / networks if model.losses else 0.0
        parts.append(prediction.numpy())
    each = np.concatenate(losses)
    more = training.metrics if training else ()
    found = all_metrics(labels, np.concatenate(parts), f"{split}_", more, dataset.info.class_names)
    return Measured({f"{split}_loss": float(each.sum()) / len(labels) + penalty, **found}, each)


def _predictions(model: Any, images: npt.NDArray[np.generic], batch: int) -> Iterator[Any]:
    """Yield predictions batch by batch, as tensors; without images, one empty batch."""
    for start in range(0, max(1, len(images)), batch):
        given = tf.constant(np.asarray(images[start : start + batch]), tf.float32)
        # A model built by the user may return 16-bit numbers.
        yield tf.cast(model(given, training=False), tf.float32)
