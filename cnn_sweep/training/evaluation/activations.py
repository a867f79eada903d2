"""Outputs of the layers of a trained network."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from cnn_sweep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt


def layer_names(model: Any) -> list[str]:
    """Return the names of a model's layers in order, including those of nested models."""
    return [name for name, _ in _layers(model)]


def activations(model: Any, layer: str, images: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return the output of one layer.

    Args:
        model: An exported model.
        layer: The layer's name, or its number in the sweep file, from 1.
        images: Shape (n, height, width, channels), as stored.

    Returns:
        Shape (n, height, width, channels), or (n, units).

    Raises:
        InputError: The model has no such layer; the message lists its layers.
    """
    found = dict(_layers(model))
    names = [name for name in found if name == layer] or [
        name for name in found if layer.isdecimal() and name.startswith(f"{int(layer):02d}_")
    ]
    if not names:
        raise InputError(f"no layer {layer!r}; layers: {', '.join(found)}")
    with _watched(found[names[0]]) as seen:
        model(tf.constant(np.asarray(images), tf.float32), training=False)
    if not seen or not hasattr(seen[-1], "shape"):
        raise InputError(f"layer {names[0]!r} has no output of its own")
    values: npt.NDArray[np.float32] = tf.cast(seen[-1], tf.float32).numpy()
    return values


@contextlib.contextmanager
def _watched(layer: Any) -> Iterator[list[Any]]:
    """Record the outputs of a layer, even inside nested models."""
    seen: list[Any] = []
    call = layer.call

    def keep(*args: Any, **kwargs: Any) -> Any:
        seen.append(call(*args, **kwargs))
        return seen[-1]

    layer.call = keep
    try:
        yield seen
    finally:
        layer.call = call


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from _layers(layer)
        else:
            yield layer.name, layer
