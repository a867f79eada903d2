"""Pretrained bases: models of ``keras.applications`` as the first layer of a network."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.network.layers import Base
from cnn_sweep.sweep.network.pretrained import pretrained
from cnn_sweep.training.network.base_weights import require_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cnn_sweep.sweep.network.layers import Layer
    from cnn_sweep.sweep.network.shapes import ImageInfo

NAME = "01_base"  # name of the base's layer in a network
# Means and deviations of ImageNet's red, green and blue, from 0 to 1, and its means of blue, green and red, from 0 to
# 255: keras/src/applications/imagenet_utils.py.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MEAN_BGR = (103.939, 116.779, 123.68)


def base_of(layers: Sequence[Layer]) -> Base | None:
    """Return the base with which a network begins; None without one."""
    return layers[0] if layers and isinstance(layers[0], Base) else None


def input_scale(layers: Sequence[Layer] | None, rescale: float) -> float:
    """Return the factor by which stored pixel values are multiplied for a network's input.

    A base gets values from 0 to 255, as its preprocessing expects; other networks get values from 0 to 1.
    """
    return 255.0 * rescale if layers and base_of(layers) else rescale


def build_base(base: Base, info: ImageInfo) -> Any:
    """Build a base with its weights, and set which of its layers are trainable.

    Args:
        base: The layer.
        info: The images.

    Raises:
        InputError: The weights file does not exist or does not match.
        EnvironmentFault: Pretrained weights were not downloaded.
    """
    file = require_weights(base)
    # Some models are built differently with "imagenet", so Keras itself must read the file, which exists.
    weights = "imagenet" if base.weights == "imagenet" else None
    build = getattr(keras.applications, base.name)
    model = build(include_top=False, weights=weights, input_shape=info.image_shape, name=NAME)
    if weights is None and file is not None:
        _read(model, base, file)
    _set_trainable(model, base)
    return model


def _read(model: Any, base: Base, file: Path) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):  # about missing weights; an error follows
            if file.suffix == ".keras":
                model.set_weights(keras.models.load_model(file, compile=False).get_weights())
            else:
                model.load_weights(file)
    except (ValueError, OSError, KeyError, TypeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{file}: not weights of {base.name} without its top: {text}") from error


def _set_trainable(model: Any, base: Base) -> None:
    model.trainable = base.trainable is not False
    if base.trainable is False:
        # Disables dropout: the outer model's `training=True` would override `training=False` of the base.
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
    if isinstance(base.trainable, str):
        # By position: Keras numbers layers without explicit names, so names differ between models.
        first = pretrained()[base.name].layer_names.index(base.trainable)
        for layer in [layer for layer in model.layers if layer.weights][:first]:
            layer.trainable = False


def apply_base(model: Any, base: Base, images: Any) -> Any:
    """Apply a base, with its own preprocessing as Keras layers, to images of 0..255."""
    match pretrained()[base.name].preprocessing:
        case "tf":
            images = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocessing")(images)
        case "torch":
            images = _normalized(images, [255 * mean for mean in _MEAN], [255 * one for one in _DEVIATION])
        case "caffe":
            images = _normalized(keras.ops.flip(images, axis=-1), _MEAN_BGR, (1.0, 1.0, 1.0))
        case _:
            pass
    return model(images)


def _normalized(images: Any, mean: Sequence[float], deviation: Sequence[float]) -> Any:
    """Subtract means and divide by deviations; images without three channels use the averages over channels."""
    channels = images.shape[-1]
    if channels != 3:
        mean, deviation = [sum(mean) / 3] * channels, [sum(deviation) / 3] * channels
    layer = keras.layers.Normalization(
        axis=-1, mean=list(mean), variance=[one**2 for one in deviation], dtype="float32", name="preprocessing"
    )
    return layer(images)
