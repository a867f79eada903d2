"""The shapes and counts of ``layers.trace`` against Keras's own; about 400 random networks in all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cnn_sweep.sweep.network.layers import (
    Activate,
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
from cnn_sweep.training.session import configure


def keras_itself() -> Any:
    """Import Keras when the first test needs it: it takes seconds. Trials in this process need one thread."""
    configure(threads=1)
    import keras

    return keras


MANY = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

pairs = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 4)))
small_pairs = st.one_of(st.just(1), st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
paddings = st.sampled_from(["valid", "same"])
activations = st.sampled_from(["linear", "relu", "leaky_relu", "tanh"])


@st.composite
def convolutions(draw: st.DrawFn) -> Any:
    """Draw a convolution; mostly without both strides and dilation, which exclude each other."""
    strides, dilation = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (1, 1), ((2, 3), 1), (1, (1, 2)), (2, 2)]))
    return draw(st.sampled_from([Conv2D, SeparableConv2D]))(
        filters=draw(st.integers(1, 5)),
        kernel_size=draw(pairs),
        strides=strides,
        padding=draw(paddings),
        dilation=dilation,
        activation=draw(activations),
        kernel_regularizer=draw(st.sampled_from([None, {"l2": 0.01}])),
    )


layers_on_maps = st.one_of(
    convolutions(),
    st.builds(
        Pool,
        pooling=st.sampled_from(["max", "average"]),
        size=pairs,
        strides=st.one_of(st.none(), small_pairs),
        padding=paddings,
    ),
    st.builds(SpatialDropout, rate=st.just(0.2)),
)
layers_anywhere = st.one_of(
    st.builds(BatchNorm),
    st.builds(Dropout, rate=st.just(0.2)),
    st.builds(Dense, units=st.integers(1, 5), activation=activations),
    st.builds(Activate, activation=activations),
)
flatteners = st.one_of(st.builds(Flatten), st.builds(GlobalPool, pooling=st.sampled_from(["max", "average"])))
outputs = st.builds(Output, activation=st.just("softmax"))
any_layer = st.one_of(layers_on_maps, layers_on_maps, layers_anywhere, flatteners)


@st.composite
def images(draw: st.DrawFn) -> ImageInfo:
    """Draw what is known of the images."""
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(st.integers(1, 4)))
    return ImageInfo(image_shape=shape, class_names=tuple(map(str, range(draw(st.integers(2, 5))))))


@st.composite
def networks(draw: st.DrawFn) -> list[Any]:
    """Draw a network that may or may not be valid."""
    head = draw(st.lists(st.one_of(layers_on_maps, layers_on_maps, layers_anywhere), max_size=5))
    tail = draw(st.lists(any_layer, max_size=3))
    return [*head, *tail, draw(outputs)]


def repaired(layers: list[Any], info: ImageInfo) -> list[Any]:
    """Leave out what does not fit, until the network is valid."""
    layers = list(layers)
    while True:
        try:
            infer_shapes(layers, info)
        except InvalidNetwork as error:
            if isinstance(error.layer, Output):
                layers.insert(error.layer_index, Flatten())
            else:
                del layers[error.layer_index]
        else:
            return layers


def keras_layer(layer: Any, info: ImageInfo) -> Any:
    """Make Keras's layer for one of ours."""
    made = keras_itself().layers
    if isinstance(layer, Conv2D | SeparableConv2D):
        kind = made.Conv2D if isinstance(layer, Conv2D) else made.SeparableConv2D
        return kind(
            layer.filters,
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation,
            activation=layer.activation,
        )
    if isinstance(layer, Pool):
        kind = made.MaxPooling2D if layer.pooling == "max" else made.AveragePooling2D
        return kind(layer.size, strides=layer.strides, padding=layer.padding)
    if isinstance(layer, GlobalPool):
        return made.GlobalMaxPooling2D() if layer.pooling == "max" else made.GlobalAveragePooling2D()
    if isinstance(layer, Dense | Output):
        return made.Dense(getattr(layer, "units", None) or info.classes, activation=layer.activation)
    simple = {
        BatchNorm: made.BatchNormalization,
        Flatten: made.Flatten,
        Dropout: lambda: made.Dropout(layer.rate),
        SpatialDropout: lambda: made.SpatialDropout2D(layer.rate),
        Activate: lambda: made.Activation(layer.activation),
    }
    return simple[type(layer)]()


def keras_model(layers: list[Any], info: ImageInfo) -> list[tuple[tuple[int, ...], int]]:
    """Build the network with Keras's layers alone; return the output shape and number of weights of each."""
    tensor, built = keras_itself().Input(info.image_shape), []
    for layer in layers:
        made = keras_layer(layer, info)
        tensor = made(tensor)
        built.append((tuple(tensor.shape[1:]), made.count_params()))
    return built


@given(networks(), images())
@settings(MANY, max_examples=60)
def test_shapes_and_counts_of_valid_networks_are_those_of_keras(layers, info):
    """For random valid networks each layer's output shape and the number of weights equal Keras's."""
    layers = repaired(layers, info)
    shape = infer_shapes(layers, info)
    built = keras_model(layers, info)
    assert built == list(zip(shape.shapes, shape.layer_parameters, strict=True))
    assert shape.parameters == sum(count for _, count in built)


@given(networks(), images())
@settings(MANY, max_examples=40)
def test_what_trace_calls_invalid_fails_in_keras_too(layers, info):
    """A network that is called invalid cannot be built with Keras, or its outputs do not fit the labels."""
    broken = fault(layers, info)
    assume(broken is not None)
    before = layers[: broken.layer_index]
    keras_model(before, info)  # up to there it can be built
    if isinstance(broken.layer, Output):
        keras = keras_itself()
        output, _ = keras_model(layers, info)[-1]
        labels = keras.ops.zeros((2, info.classes))
        with pytest.raises(ValueError, match="rank"):
            keras.losses.CategoricalCrossentropy()(labels, keras.ops.ones((2, *output)))
    else:
        with pytest.raises(ValueError):
            keras_model(layers[: broken.layer_index + 1], info)


def fault(layers: list[Any], info: ImageInfo) -> InvalidNetwork | None:
    """Return why a network is invalid, or None."""
    try:
        infer_shapes(layers, info)
    except InvalidNetwork as error:
        return error
    return None
