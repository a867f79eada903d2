"""Losses on class labels: Keras's functions, with label smoothing as an input of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from cnn_sweep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.training import TrainingSpec


def output_units(model: Any, info: ImageInfo) -> int:
    """Return the number of output units of a model.

    Raises:
        InputError: The output is not one row of numbers per image, or does not match the number of classes.
    """
    output = model.compute_output_spec(keras.KerasTensor((None, *info.image_shape)))
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] is None:
        raise InputError(f"the model must have one output of the shape (images, units), but has {shape or output}")
    units = int(shape[1])
    if units != info.classes and (units, info.classes) != (1, 2):
        raise InputError(f"the network has {units} output units, but the data has {info.classes} classes")
    return units


def loss_name(training: TrainingSpec | None, model: Any, units: int) -> str:
    """Return the loss of a trial; ``auto`` (or no training) derives it from the model's output.

    A sigmoid output or a single unit means binary cross-entropy, anything else categorical cross-entropy.

    Raises:
        InputError: Categorical cross-entropy was requested for a single unit, where it is always 0.
    """
    wanted = "auto" if training is None else training.loss
    if wanted == "auto":
        binary = units == 1 or getattr(_last_layer(model), "activation", None) is keras.activations.sigmoid
        return "binary_crossentropy" if binary else "categorical_crossentropy"
    if wanted == "categorical_crossentropy" and units == 1:
        raise InputError(
            "training.loss: categorical_crossentropy needs one output unit per class, but the network has 1; "
            "the valid choice is binary_crossentropy"
        )
    return wanted


def _last_layer(model: Any) -> Any:
    """Return the last layer of a model; in an export, the last layer is itself a model."""
    last = model
    while getattr(last, "layers", None):
        last = last.layers[-1]
    return None if last is model else last


def targets(labels: Any, units: int) -> Any:
    """Return labels (B,) as (B, units): one-hot, or 0 and 1 for a single unit."""
    if units == 1:
        return tf.cast(labels, tf.float32)[:, tf.newaxis]
    return tf.one_hot(labels, units)


def per_image_loss(name: str) -> Callable[[Any, Any, Any], Any]:
    """Return the function (targets, predictions, label smoothing) -> losses of shape (B,)."""
    return _binary if name == "binary_crossentropy" else _categorical


def _categorical(target: Any, prediction: Any, smoothing: Any) -> Any:
    smooth = target * (1.0 - smoothing) + smoothing / tf.cast(tf.shape(target)[-1], target.dtype)
    return keras.ops.categorical_crossentropy(smooth, prediction)


def _binary(target: Any, prediction: Any, smoothing: Any) -> Any:
    smooth = target * (1.0 - smoothing) + 0.5 * smoothing
    return tf.reduce_mean(keras.ops.binary_crossentropy(smooth, prediction), axis=-1)
