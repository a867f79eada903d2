"""Shapes and counts by hand, and what an invalid network says."""

from __future__ import annotations

import pytest

from cnn_sweep.sweep.network.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Output,
    Pool,
    SeparableConv2D,
    SpatialDropout,
)
from cnn_sweep.sweep.network.shapes import ImageInfo, InvalidNetwork, infer_shapes

DIGITS = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))


def conv(filters: int, size: int, **settings) -> Conv2D:
    """Make a convolution."""
    return Conv2D(filters=filters, kernel_size=size, **settings)


def test_a_network_by_hand():
    """Shapes and numbers of weights are those that one works out on paper."""
    layers = (
        conv(16, 3, padding="same"),
        BatchNorm(),
        Pool(),
        SeparableConv2D(filters=8, kernel_size=3),
        SpatialDropout(rate=0.2),
        Flatten(),
        Dense(units=32),
        Dropout(rate=0.5),
        Output(),
    )
    shape = infer_shapes(layers, DIGITS)
    assert shape.shapes == ((8, 8, 16), (8, 8, 16), (4, 4, 16), (2, 2, 8), (2, 2, 8), (32,), (32,), (32,), (10,))
    assert shape.layer_parameters == (
        *(3 * 3 * 1 * 16 + 16, 4 * 16, 0),
        *(3 * 3 * 16 + 16 * 8 + 8, 0, 0),
        *(32 * 32 + 32, 0, 32 * 10 + 10),
    )
    assert shape.parameters == sum(shape.layer_parameters)


def test_vgg16_has_its_published_number_of_weights():
    """VGG16 without its top has 14,714,688 parameters."""
    layers = []
    for filters, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [conv(filters, 3, padding="same")] * times + [Pool()]
    shape = infer_shapes(layers, ImageInfo(image_shape=(224, 224, 3), class_names=("a", "b")))
    assert shape.parameters == 14_714_688
    assert shape.shapes[-1] == (7, 7, 512)


def test_one_sigmoid_unit():
    """`units: 1` gives one output, whatever the number of classes."""
    binary = ImageInfo(image_shape=(8, 8, 1), class_names=("cat", "dog"))
    assert infer_shapes([Flatten(), Output(activation="sigmoid", units=1)], binary).shapes[-1] == (1,)
    assert infer_shapes([Flatten(), Output(activation="sigmoid")], binary).shapes[-1] == (2,)


@pytest.mark.parametrize(
    ("layers", "index", "message"),
    [
        (
            [conv(4, 3), conv(4, 3), Pool(), conv(4, 1), Pool(size=3), Flatten()],
            *(4, "layer 5 (pool 3x3): the feature map is 2x2, smaller than the window (3x3)"),
        ),
        ([conv(4, 9)], 0, "layer 1 (conv2d 9x9): the feature map is 8x8, smaller than the window (9x9)"),
        ([conv(4, 5, dilation=2)], 0, "layer 1 (conv2d 5x5): the feature map is 8x8, smaller than the window (9x9)"),
        ([conv(4, 3, strides=2, dilation=2)], 0, "strides 2x2 and dilation 2x2 exclude each other"),
        ([Flatten(), conv(4, 3)], 1, "it needs a feature map (height, width, channels), but its input is flat (64)"),
        ([GlobalPool(), SpatialDropout(rate=0.1)], 1, "but its input is flat (1)"),
        ([GlobalPool(), GlobalPool()], 1, "but its input is flat (1)"),
        ([conv(4, 3), Output()], 1, "its input is a feature map (6x6x4); put flatten or global_pool before it"),
    ],
)
def test_an_invalid_network_says_which_layer_and_why(layers, index, message):
    """The message names the layer by its place, its kind and its window, and the sizes that do not fit."""
    with pytest.raises(InvalidNetwork) as caught:
        infer_shapes(layers, DIGITS)
    assert message in str(caught.value)
    assert (caught.value.layer_index, caught.value.layer) == (index, layers[index])


def test_equal_padding_keeps_the_map_alive():
    """With `same` padding a map never vanishes."""
    assert infer_shapes([Pool(size=5, strides=2, padding="same")] * 6, DIGITS).shapes[-1] == (1, 1, 1)
