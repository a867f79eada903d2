"""How much a network computes for one image, without TensorFlow; it predicts how long an epoch takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.sweep.network.layers import Base, Conv2D, Dense, Output, SeparableConv2D
from cnn_sweep.sweep.network.shapes import infer_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.sweep.network.layers import Layer
    from cnn_sweep.sweep.network.shapes import ImageInfo

# The gradients of a layer's input and of its weights take as many multiplications as its output.
_WITH_GRADIENTS = 3
# A base halves the map several times. Its earlier, larger maps meet fewer weights: on average of VGG, ResNet and
# MobileNet, a weight is used about this many times as often as the last map has positions.
_EARLIER_MAPS = 4


@dataclass(frozen=True)
class NetworkWork:
    """The work of one training image.

    Attributes:
        multiply_adds: Multiplications in its layers, with those of the gradients.
        activations: Outputs of all layers together.
        trained: Weights that a step updates.
    """

    multiply_adds: int
    activations: int
    trained: int


def network_work(layers: Sequence[Layer], info: ImageInfo) -> NetworkWork:
    """Return the work of one training image.

    Args:
        layers: A network that can be built.
        info: Shape and classes of the images.
    """
    shape = infer_shapes(layers, info)
    products = activations = 0
    for layer, output, weights, trained in zip(
        layers, shape.shapes, shape.layer_parameters, shape.layer_trainable, strict=True
    ):
        if isinstance(layer, Base) and layer.extract:
            continue  # its outputs are computed once
        positions, units = math.prod(output[:-1]), output[-1]
        activations += positions * units
        passes = _WITH_GRADIENTS if trained else 1
        if isinstance(layer, Base):
            products += passes * weights * positions * _EARLIER_MAPS
        elif isinstance(layer, Conv2D | SeparableConv2D | Dense | Output):
            products += passes * (weights - units) * positions
    return NetworkWork(products, activations, shape.trainable)
