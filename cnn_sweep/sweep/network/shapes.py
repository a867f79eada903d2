"""Output shapes and parameter counts of a network, computed without TensorFlow.

The formulas are those of Keras 3 (``keras/src/ops/operation_utils.py``); the tests compare both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.sweep.network.layers import (
    Base,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    GlobalPool,
    Layer,
    Output,
    Pool,
    SeparableConv2D,
    SpatialDropout,
)
from cnn_sweep.sweep.network.pretrained import pretrained
from cnn_sweep.validation import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.sweep.network.layers import Padding


class ImageInfo(Spec):
    """The properties of the data on which a network depends: the shape of an image, and the classes.

    Attributes:
        image_shape: (height, width, channels) in pixels.
        class_names: One per class, in the order of the labels.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


Shape = tuple[int, ...]  # shape of one example: (height, width, channels) or (features,)
_Pair = tuple[int, int]


@dataclass(frozen=True)
class NetworkShape:
    """Shapes and parameter counts of a network.

    Attributes:
        shapes: Output shape of each layer for one example.
        layer_parameters: Number of weights of each layer, trainable or not.
        layer_trainable: Number of weights of each layer that are trained.
    """

    shapes: tuple[Shape, ...]
    layer_parameters: tuple[int, ...]
    layer_trainable: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """The number of weights, trainable or not, as from Keras's ``count_params()``."""
        return sum(self.layer_parameters)

    @property
    def trainable(self) -> int:
        """The number of weights that are trained."""
        return sum(self.layer_trainable)


class InvalidNetwork(ValueError):
    """A network that cannot be built for these images.

    Attributes:
        layer_index: Index of the layer, from 0, with repeats unrolled.
        layer: The layer that does not fit.
        reason: Why it does not fit.
    """

    def __init__(self, layer_index: int, layer: Layer, reason: str) -> None:
        self.layer_index = layer_index
        self.layer = layer
        self.reason = reason
        super().__init__(f"layer {layer_index + 1} ({describe(layer)}): {reason}")


class _ImpossibleError(ValueError):
    pass


def describe(layer: Layer) -> str:
    """Return a layer's name with its window, such as ``conv2d 3x3``."""
    if isinstance(layer, Base):
        return f"base {layer.name}"
    window = getattr(layer, "kernel_size", None) or getattr(layer, "size", None)
    return f"{layer.kind} {_by(window)}" if window else layer.kind


def infer_shapes(layers: Sequence[Layer], info: ImageInfo) -> NetworkShape:
    """Compute all shapes and parameter counts.

    Args:
        layers: The network, with its output layer last.
        info: Shape of the images, and the classes.

    Raises:
        InvalidNetwork: A layer does not fit its input, such as a window larger than the feature map.
    """
    shape: Shape = info.image_shape
    shapes, counts, trained = [], [], []
    for index, layer in enumerate(layers):
        try:
            before = shape
            shape, count = _apply(layer, before, info)
        except _ImpossibleError as error:
            raise InvalidNetwork(index, layer, str(error)) from None
        shapes.append(shape)
        counts.append(count)
        trained.append(_trained(layer, before, count))
    return NetworkShape(tuple(shapes), tuple(counts), tuple(trained))


def _trained(layer: Layer, before: Shape, count: int) -> int:
    if isinstance(layer, Base):
        return pretrained()[layer.name].counts(before[2], layer.trainable)[1]
    # Moving means and variances are not trained.
    return count // 2 if isinstance(layer, BatchNorm) else count


def _apply(layer: Layer, shape: Shape, info: ImageInfo) -> tuple[Shape, int]:
    """Return a layer's output shape and number of weights."""
    if isinstance(layer, Base | Conv2D | SeparableConv2D):
        return _base(layer, shape) if isinstance(layer, Base) else _convolve(layer, shape)
    if isinstance(layer, Pool):
        height, width, channels = _map(shape)
        strides = layer.strides or layer.size
        return (*_windows((height, width), layer.size, strides, layer.padding), channels), 0
    if isinstance(layer, GlobalPool):
        return (_map(shape)[2],), 0
    if isinstance(layer, Flatten):
        return (math.prod(shape),), 0
    if isinstance(layer, Dense | Output):
        if isinstance(layer, Output) and len(shape) != 1:
            where = f"its input is a feature map ({_by(shape)})"
            raise _ImpossibleError(f"{where}; put flatten or global_pool before it")
        units = layer.units or info.classes
        return (*shape[:-1], units), (shape[-1] + 1) * units
    if isinstance(layer, SpatialDropout):
        _map(shape)
    # Scale, shift, moving mean and moving variance of each channel.
    return shape, 4 * shape[-1] if isinstance(layer, BatchNorm) else 0


def _base(layer: Base, shape: Shape) -> tuple[Shape, int]:
    height, width, channels = _map(shape)
    model = pretrained()[layer.name]
    if min(height, width) < model.smallest:
        raise _ImpossibleError(f"{layer.name} needs images of at least {model.smallest} pixels, not {_by(shape)}")
    if channels != 3 and (layer.weights == "imagenet" or model.grey is None):
        reason = "pretrained weights are for" if model.grey is not None else f"{layer.name} needs"
        raise _ImpossibleError(f"{reason} images of 3 channels, but these have {channels}")
    return (model.map_size(height), model.map_size(width), model.channels), model.counts(channels, trainable=False)[0]


def _convolve(layer: Conv2D | SeparableConv2D, shape: Shape) -> tuple[Shape, int]:
    height, width, channels = _map(shape)
    # Keras supports both together only in separable convolutions.
    if isinstance(layer, Conv2D) and max(layer.strides) > 1 and max(layer.dilation) > 1:
        raise _ImpossibleError(f"strides {_by(layer.strides)} and dilation {_by(layer.dilation)} exclude each other")
    (rows, columns), (down, across) = layer.kernel_size, layer.dilation
    reach = (down * (rows - 1) + 1, across * (columns - 1) + 1)
    size = _windows((height, width), reach, layer.strides, layer.padding)
    weights = rows * columns * channels
    weights = weights + channels * layer.filters if isinstance(layer, SeparableConv2D) else weights * layer.filters
    return (*size, layer.filters), weights + layer.filters


def _map(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise _ImpossibleError(
            f"it needs a feature map (height, width, channels), but its input is flat ({_by(shape)})"
        )
    return shape[0], shape[1], shape[2]


def _windows(size: _Pair, window: _Pair, strides: _Pair, padding: Padding) -> _Pair:
    """Return how many windows fit in each direction."""
    if padding == "same":
        return (size[0] - 1) // strides[0] + 1, (size[1] - 1) // strides[1] + 1
    if window[0] > size[0] or window[1] > size[1]:
        raise _ImpossibleError(f"the feature map is {_by(size)}, smaller than the window ({_by(window)})")
    return (size[0] - window[0]) // strides[0] + 1, (size[1] - window[1]) // strides[1] + 1


def _by(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))
