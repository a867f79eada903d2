"""Keras models from the layers of a sweep file, or from the user's own ``build`` function."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from cnn_sweep.errors import InputError
from cnn_sweep.training.network.dropout import Draws, GraphDropout
from cnn_sweep.training.network.transfer import NAME, apply_base, base_of, build_base, input_scale
from cnn_sweep.training.network.user_functions import load_function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.sweep.network.layers import L2, Conv2D, Layer, SeparableConv2D
    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.outcome import Weights

    Regularize = Callable[[L2 | None], Any]
    Drop = Callable[[float, bool, str], Any]

_ROUNDING = 1e-3  # how far 16-bit outputs may lie outside 0 to 1


class L2Factors:
    """The L2 factors of one network, in one variable of its graph."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._variable = tf.Variable(tf.zeros([len(_l2_factors(layers))]), trainable=False, name="l2_factors")
        self._given = 0

    def next(self, _: L2) -> Callable[[Any], Any]:
        """Return the regularizer of the next layer that has one."""
        index, variable = self._given, self._variable
        self._given += 1
        return lambda kernel: variable[index] * tf.reduce_sum(tf.square(kernel))

    def reset(self, layers: Sequence[Layer]) -> None:
        """Set the factors of a new trial."""
        self._variable.assign(_l2_factors(layers))


def _l2_factors(layers: Sequence[Layer]) -> list[float]:
    regularizers = (getattr(layer, "kernel_regularizer", None) for layer in layers)
    return [regularizer.l2 for regularizer in regularizers if regularizer is not None]


def _dropout_rates(layers: Sequence[Layer]) -> list[float]:
    return [layer.rate for layer in layers if layer.kind in {"dropout", "spatial_dropout"}]


@dataclass(frozen=True)
class GraphModel:
    """A network whose dropout rates and L2 factors can change without a new trace.

    Attributes:
        model: Keras model from rescaled images, float32, to probabilities.
        draws: Rates and seeds of its dropout layers.
        factors: Its L2 factors.
        built: Initial weights of its base; empty without a base.
        first: Index of its first weight in the whole network, if a base's features replace the images.
    """

    model: Any
    draws: Draws
    factors: L2Factors
    built: Weights
    first: int = 0

    def reset(self, layers: Sequence[Layer], seed: int) -> None:
        """Become the untrained network of ``layers`` and ``seed``."""
        self.draws.reset(_dropout_rates(layers), seed)
        self.factors.reset(layers)
        values = untrained_weights(self.model, layers, seed, built=self.built, first=self.first)
        for variable, value in zip(self.model.weights, values, strict=True):
            variable.assign(value)
        for index, variable in enumerate(_random_states(self.model)):
            variable.assign([_state(seed, index), 0])

    def at_step(self, step: Any) -> None:
        """Use the draws of ``step`` in all later tracing: a scalar int64 tensor, counted over the whole trial."""
        self.draws.at_step(step)

    @property
    def changing(self) -> list[tuple[int, Any]]:
        """The variables that a checkpoint must hold, with their numbers: all but those of frozen layers."""
        base = [layer for layer in self.model.layers if layer.name == NAME]
        still = [layer for one in base for layer in one.layers if not layer.trainable]
        frozen = {id(variable) for layer in still for variable in layer.weights}
        return [(k, variable) for k, variable in enumerate(self.model.variables) if id(variable) not in frozen]


def _random_states(model: Any) -> list[Any]:
    """Return the random states inside Keras's own layers: some bases contain dropout."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _state(seed: int, index: int) -> int:
    digest = hashlib.sha256(f"base {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def graph_model(layers: Sequence[Layer], info: ImageInfo, *, first: int = 0) -> GraphModel:
    """Build the network of ``layers`` for training; its weights are set by `GraphModel.reset`.

    Raises:
        ValueError: Keras rejects the network, for instance because a feature map vanishes.
    """
    draws = Draws(len(_dropout_rates(layers)))
    factors = L2Factors(layers)
    drawn = iter(range(len(layers)))

    def drop(_: float, spatial: bool, name: str) -> Any:  # noqa: FBT001 - shared with the plain model
        return GraphDropout(draws, next(drawn), spatial=spatial, name=name)

    inputs = keras.Input(info.image_shape, name="image")
    values, rest, built = _base(inputs, layers, info)
    outputs = _stack(values, rest, info, drop, lambda l2: factors.next(l2) if l2 else None)
    return GraphModel(keras.Model(inputs, outputs), draws, factors, built, first)


def plain_model(layers: Sequence[Layer], info: ImageInfo, *, rescale: float | None) -> Any:
    """Build the network of ``layers`` from Keras's own layers only.

    Args:
        layers: The network.
        info: Image shape and classes.
        rescale: Factor from stored pixel values to 0..1, for a first layer `keras.layers.Rescaling`; None: no such
            layer.
    """

    def drop(rate: float, spatial: bool, name: str) -> Any:  # noqa: FBT001 - shared with the graph model
        layer = keras.layers.SpatialDropout2D if spatial else keras.layers.Dropout
        return layer(rate, name=name)

    inputs = keras.Input(info.image_shape, name="image")
    images = inputs
    if rescale is not None:
        scale = input_scale(layers, rescale)
        images = keras.layers.Rescaling(scale, dtype="float32", name="rescaling")(inputs)
    values, rest, _ = _base(images, layers, info)
    outputs = _stack(values, rest, info, drop, lambda l2: keras.regularizers.L2(l2.l2) if l2 else None)
    return keras.Model(inputs, outputs)


def _base(images: Any, layers: Sequence[Layer], info: ImageInfo) -> tuple[Any, Sequence[tuple[int, Layer]], Weights]:
    """Apply the base, if any; return its output, the numbered layers after it, and its weights."""
    numbered = list(enumerate(layers, start=1))
    base = base_of(layers)
    if base is None:
        return images, numbered, ()
    model = build_base(base, info)
    return apply_base(model, base, images), numbered[1:], tuple(model.get_weights())


def _stack(
    values: Any, layers: Sequence[tuple[int, Layer]], info: ImageInfo, drop: Drop, regularize: Regularize
) -> Any:
    """Apply the layers in order; the number of classes determines the units of the last one."""
    for index, layer in layers:
        values = _layer(layer, f"{index:02d}_{layer.kind}", info, drop, regularize)(values)
    return values


def _layer(layer: Layer, name: str, info: ImageInfo, drop: Drop, regularize: Regularize) -> Any:
    """Return the Keras layer for one entry of a sweep file."""
    made: Any
    match layer.kind:
        case "conv2d" | "separable_conv2d":
            made = _convolution(layer, name, regularize(layer.kernel_regularizer))
        case "pool":
            pool = keras.layers.MaxPooling2D if layer.pooling == "max" else keras.layers.AveragePooling2D
            made = pool(layer.size, strides=layer.strides, padding=layer.padding, name=name)
        case "global_pool":
            maximum = layer.pooling == "max"
            pool = keras.layers.GlobalMaxPooling2D if maximum else keras.layers.GlobalAveragePooling2D
            made = pool(name=name)
        case "batch_norm":
            made = keras.layers.BatchNormalization(momentum=layer.momentum, epsilon=layer.epsilon, name=name)
        case "dropout" | "spatial_dropout":
            made = drop(layer.rate, layer.kind == "spatial_dropout", name)
        case "dense":
            regularizer = regularize(layer.kernel_regularizer)
            made = keras.layers.Dense(
                layer.units, activation=layer.activation, kernel_regularizer=regularizer, name=name
            )
        case "flatten":
            made = keras.layers.Flatten(name=name)
        case "activation":
            made = keras.layers.Activation(layer.activation, name=name)
        case "output":
            made = keras.layers.Dense(
                layer.units or info.classes, activation=layer.activation, dtype="float32", name=name
            )
    return made


def _convolution(layer: Conv2D | SeparableConv2D, name: str, regularizer: Any) -> Any:
    """Return a convolution; the penalty of a separable one covers both its kernels."""
    common = {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation_rate": layer.dilation,
        "activation": layer.activation,
        "name": name,
    }
    if layer.kind == "conv2d":
        return keras.layers.Conv2D(layer.filters, layer.kernel_size, kernel_regularizer=regularizer, **common)
    return keras.layers.SeparableConv2D(
        layer.filters,
        layer.kernel_size,
        depthwise_regularizer=regularizer,
        pointwise_regularizer=regularizer,
        **common,
    )


def untrained_weights(
    model: Any, layers: Sequence[Layer], seed: int, *, built: Weights | None = None, first: int = 0
) -> Weights:
    """Return a trial's initial weights: pretrained ones of its base, the others drawn from the seed.

    Args:
        model: The network of ``layers``.
        layers: The network.
        seed: The trial's seed.
        built: Initial weights of its base; by default its current ones.
        first: Index of its first weight in the whole network, if a base's features replace the images.
    """
    drawn, base = initial_weights(model, seed, first=first), base_of(layers)
    if base is None:
        return drawn
    variables = model.get_layer(NAME).weights
    base_weights = built or tuple(model.get_layer(NAME).get_weights())
    # The seed also determines random kernels of a base; its other variables keep the base's own initial values.
    drawn_here = [base.weights == "none" and variable.name.endswith("kernel") for variable in variables]
    own = [drawn[k] if here else base_weights[k] for k, here in enumerate(drawn_here)]
    return (*own, *drawn[len(own) :])


def initial_weights(model: Any, seed: int, *, first: int = 0) -> Weights:
    """Return the weights of an untrained network: a pure function of (seed, index of the variable, shape).

    Keras's defaults: Glorot uniform for kernels (Glorot and Bengio 2010), 0 for biases and means, 1 for scales and
    variances.
    """
    return tuple(
        _initial(variable.name, tuple(variable.shape), seed, index)
        for index, variable in enumerate(model.weights, start=first)
    )


def _initial(name: str, shape: tuple[int, ...], seed: int, index: int) -> npt.NDArray[np.float32]:
    if name.endswith("kernel"):
        receptive = int(np.prod(shape[:-2], dtype=np.int64))
        limit = np.sqrt(6.0 / ((shape[-2] + shape[-1]) * receptive))
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1, index])))
        unit = random.random(shape, dtype=np.float32)
        return ((2.0 * unit - 1.0) * np.float32(limit)).astype(np.float32)
    fill = 1.0 if name in {"gamma", "moving_variance"} else 0.0
    return np.full(shape, fill, np.float32)


def build_model(spec: TrialSpec, seed: int, info: ImageInfo, folder: Path) -> Any:
    """Call the user's ``build(params, image_shape, classes)`` with all random sources seeded.

    Raises:
        InputError: There is no such function, or it does not return a built Keras model.
    """
    reference = spec.build or ""
    build = load_function(reference, folder)
    keras.utils.set_random_seed(seed)
    model = build(dict(spec.params), info.image_shape, info.classes)
    if not isinstance(model, keras.Model):
        raise InputError(f"{reference} must return a keras.Model, but returned {type(model).__name__}")
    if not model.built:
        model(keras.ops.zeros((1, *info.image_shape)))
    return model


def to_probabilities(model: Any) -> Any:
    """Return the activation that turns a model's outputs into probabilities: linear, unless its loss takes logits."""
    loss = model.loss if model.compiled else None
    if not getattr(loss, "from_logits", False):
        return keras.activations.linear
    binary = isinstance(loss, keras.losses.BinaryCrossentropy | keras.losses.BinaryFocalCrossentropy)
    return keras.activations.sigmoid if binary else keras.activations.softmax


def check_probabilities(outputs: npt.NDArray[np.float32], made_by: str) -> None:
    """Check that the outputs of a network are probabilities; NaN is not checked here.

    Args:
        outputs: Shape (n, units).
        made_by: The function or section to correct, for the message.

    Raises:
        InputError: Some outputs are below 0 or above 1.
    """
    if not len(outputs) or not (outputs.min() < -_ROUNDING or outputs.max() > 1.0 + _ROUNDING):
        return
    activation = "sigmoid" if outputs.shape[1] == 1 else "softmax"
    raise InputError(
        f"{made_by}: the network must return probabilities, but returns numbers from {outputs.min():.4g} to "
        f"{outputs.max():.4g}. End it with activation={activation!r}; or use engine: fit and compile the model with "
        "a loss with from_logits=True"
    )
