"""Predictions and metrics of exported models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.training.losses import loss_name, output_units, per_image_loss, targets
from cnn_sweep.training.metrics import all_metrics

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.sweep.trial import TrainingSpec
    from cnn_sweep.training.data.dataset import Dataset

_BATCH = 256


def load_model(path: Path) -> Any:
    """Load an exported model.

    Raises:
        EnvironmentFault: There is none at ``path``, or it is damaged.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(f"the model {path} cannot be loaded: {error}") from error


def predict(model_file: Path, images: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return the probabilities of images.

    Args:
        model_file: An exported ``.keras`` file.
        images: Shape (n, height, width, channels), values as in the training data before rescaling.

    Returns:
        Shape (n, units).
    """
    probabilities, _ = _run(load_model(model_file), images)
    return probabilities


def evaluate(
    model_file: Path, dataset: Dataset, *, split: str = "test", training: TrainingSpec | None = None
) -> dict[str, float]:
    """Return the metrics of an exported model on one split.

    Args:
        model_file: The ``.keras`` file.
        dataset: Loaded with the split.
        split: Name of the split; the names of the metrics start with it, as in ``test_loss``.
        training: The trial's training, for its loss; by default the loss that fits the output.

    Raises:
        InputError: The data set has no such split.
    """
    if split not in dataset.splits:
        raise InputError(f"the data set has no {split} images; it has {', '.join(dataset.splits)}")
    images, labels = dataset.splits[split].x, np.asarray(dataset.splits[split].y)
    model = load_model(model_file)
    probabilities, loss = _run(model, images, labels, training)
    return {f"{split}_loss": loss, **all_metrics(labels, probabilities, f"{split}_")}


def _run(
    model: Any,
    images: npt.NDArray[np.generic],
    labels: npt.NDArray[np.int32] | None = None,
    training: TrainingSpec | None = None,
) -> tuple[npt.NDArray[np.float32], float]:
    """Return probabilities and, where there are labels, the mean loss with the model's penalties."""
    units = output_units(model, images.shape[1:])
    loss_of = per_image_loss(loss_name(training, model, units))
    smoothing = training.label_smoothing if training else 0.0
    parts, loss, penalty = [], 0.0, 0.0
    for start in range(0, len(images), _BATCH):
        batch = tf.constant(np.asarray(images[start : start + _BATCH]), tf.float32)
        prediction = model(batch, training=False)
        penalty = float(tf.add_n(model.losses)) if model.losses else 0.0
        parts.append(prediction.numpy())
        if labels is not None:
            target = targets(tf.constant(labels[start : start + _BATCH]), units)
            loss += float(tf.reduce_sum(loss_of(target, prediction, smoothing)))
    probabilities = np.concatenate(parts) if parts else np.empty((0, units), np.float32)
    return probabilities, loss / max(1, len(images)) + penalty
