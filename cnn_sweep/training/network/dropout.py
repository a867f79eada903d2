"""Dropout with rate and seed as inputs of the graph.

Keras's own layer stores the rate as a constant and draws 32 random bits per element. Here the rate is a variable, so
that another rate needs no other graph, and draws depend only on (seed, layer, step), so that a resumed trial repeats
them. The draws are most of the layer's cost, so they use few bits: the rate is rounded to a multiple of 1/4096 below 1,
and the scale is exact for the rounded rate. At rate 0 nothing is drawn.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LEVELS = 4096


class Draws:
    """Rates and seeds of all dropout layers of one network, and the step of the current draws."""

    def __init__(self, layers: int) -> None:
        self._rates = tf.Variable(tf.zeros([layers], tf.int32), trainable=False, name="dropout_rates")
        self._seeds = tf.Variable(tf.zeros([layers], tf.int64), trainable=False, name="dropout_seeds")
        self._step: Any = None

    def at_step(self, step: Any) -> None:
        """Use the draws of ``step`` in all later tracing: a scalar int64 tensor, counted over the whole trial."""
        self._step = step

    def reset(self, rates: Sequence[float], seed: int) -> None:
        """Set the rates of a new trial, and its seed."""
        # A rate that rounds to 1 would drop everything, with an infinite scale.
        self._rates.assign([min(round(rate * _LEVELS), _LEVELS - 1) for rate in rates])
        self._seeds.assign([_layer_seed(seed, index) for index in range(len(rates))])

    def apply(self, index: int, inputs: Any, noise_shape: Callable[[Any], Any]) -> Any:
        """Drop elements of ``inputs`` at the rate of layer ``index``.

        Args:
            index: Number of the dropout layer.
            inputs: Tensor of any shape.
            noise_shape: Maps a shape of inputs to the shape of the draws, which are broadcast.
        """
        level = self._rates[index]
        seed = tf.stack([self._seeds[index], self._step])

        def dropped() -> Any:
            shape = noise_shape(tf.shape(inputs))
            keep = tf.cast(tf.reshape(_keep(tf.reduce_prod(shape), level, seed), shape), inputs.dtype)
            scale = tf.cast(_LEVELS / (_LEVELS - level), inputs.dtype)
            return inputs * (keep * scale)  # in this order, the gradient is a single product

        return tf.cond(level > 0, dropped, lambda: tf.identity(inputs))


def _layer_seed(seed: int, index: int) -> int:
    digest = hashlib.sha256(f"dropout {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def _keep(count: Any, level: Any, seed: Any) -> Any:
    """Return ``count`` booleans, each true with probability ``1 - level / 4096``.

    At rates of 0.25, 0.5 and 0.75, the first two bits of a random number decide, so no more are drawn. At others, the
    first four leave 1 element in 16 undecided.
    """
    quarter = _LEVELS // 4
    return tf.cond(
        level % quarter > 0, lambda: _at_least(count, level, seed, 4), lambda: _at_least(count, level, seed, 2)
    )


def _at_least(count: Any, level: Any, seed: Any, own: int) -> Any:
    """Return whether each of ``count`` random numbers of 16 bits is at least as large as a level of 4096.

    The numbers overlap: each begins ``own`` bits after another one, so only so many bits are drawn for it. What two of
    them share decides too rarely to matter: with four own bits and a rate of 0.3, their correlation is 0.02.
    """
    shifts = range(0, 8, own)
    pairs = -(-count // (2 * len(shifts)))  # of bytes
    words = tf.random.stateless_uniform(
        [pairs // 2 + 1], seed=seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    drawn = tf.reshape(tf.bitcast(words, tf.uint8), [-1])
    starts = [tf.bitcast(tf.reshape(drawn[first : first + 2 * pairs], [pairs, 2]), tf.uint16) for first in (0, 1)]
    numbers = [start * tf.cast(2**shift, tf.uint16) if shift else start for shift in shifts for start in starts]
    bound = tf.cast(level * (65536 // _LEVELS), tf.uint16)
    return tf.concat([number >= bound for number in numbers], axis=0)[:count]


class GraphDropout(keras.layers.Layer):  # type: ignore[misc]
    """The dropout layer of networks in training; exported networks have Keras's own layer instead."""

    def __init__(self, draws: Draws, index: int, *, spatial: bool, name: str) -> None:
        super().__init__(name=name)
        # Hidden in a function, because Keras would treat variables in an attribute as weights of the layer.
        self._draws_of: Callable[[], Draws] = lambda: draws
        self._index = index
        self._spatial = spatial

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 - Keras's signature
        """Return ``inputs`` with elements, or whole channels, dropped in training."""
        if not training:
            return inputs
        return self._draws_of().apply(self._index, inputs, self._noise_shape)

    def _noise_shape(self, shape: Any) -> Any:
        if not self._spatial:
            return shape
        ones = tf.ones_like(shape[1:-1])
        return tf.concat([shape[:1], ones, shape[-1:]], axis=0)  # (B, 1, 1, C)


class Rates:
    """The rates of a network's `KerasDropout` layers, in one variable of its graph."""

    def __init__(self, layers: int) -> None:
        self._values = tf.Variable(tf.zeros([layers, 2], tf.float64), trainable=False, name="dropout_rates")

    def reset(self, rates: Sequence[float]) -> None:
        """Set the rates of a new trial."""
        # At rate 1, Keras returns zeros.
        values = [(rate, 1 / (1 - rate) if rate < 1 else 0.0) for rate in rates]
        self._values.assign(np.reshape(values, [len(rates), 2]))

    def of(self, index: int) -> tuple[Any, Any]:
        """Return the rate of a layer, and the factor of what it keeps."""
        return self._values[index, 0], self._values[index, 1]


class KerasDropout(keras.layers.Layer):  # type: ignore[misc]
    """Keras's own dropout with its rate as an input of the graph: the same draws, for the user's own networks.

    Args:
        layer: The layer of Keras to stand in for: a `Dropout` or a `SpatialDropout2D`.
        rates: Rates of the network.
        index: Number of the layer among them.
    """

    def __init__(self, layer: Any, rates: Rates, index: int) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.seed_generator = keras.random.SeedGenerator(0)
        self.supports_masking = True
        # Hidden in a function, because Keras would treat the variable in an attribute as a weight of the layer.
        self._rate_of: Callable[[], tuple[Any, Any]] = lambda: rates.of(index)
        self._noise: tuple[int | None, ...] | None = _noise_of(layer)

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: FBT001 - Keras's signature
        """Return ``inputs`` with elements dropped in training, where Keras's layer drops them."""
        if not training:
            return inputs
        rate, scale = (tf.cast(value, inputs.dtype) for value in self._rate_of())
        # As `keras.random.dropout` does it.
        seed = tf.cast(tf.math.floormod(self.seed_generator.next(), tf.int32.max - 1), tf.int32)

        def dropped() -> Any:
            keep = tf.random.stateless_uniform(self._shape(inputs), seed=seed, dtype=inputs.dtype) >= rate
            return tf.where(keep, inputs * scale, tf.zeros([], inputs.dtype))

        return tf.cond(rate > 0, dropped, lambda: tf.identity(inputs))

    def _shape(self, inputs: Any) -> Any:
        shape = tf.shape(inputs)
        if self._noise is None:
            return shape
        return tf.stack([shape[axis] if size is None else size for axis, size in enumerate(self._noise)])


def has_swappable_rate(layer: Any) -> bool:
    """Return whether `KerasDropout` can stand in for a layer."""
    return type(layer) in {keras.layers.Dropout, keras.layers.SpatialDropout2D}


def _noise_of(layer: Any) -> tuple[int | None, ...] | None:
    if isinstance(layer, keras.layers.SpatialDropout2D):
        return (None, 1, 1, None) if layer.data_format == "channels_last" else (None, None, 1, 1)
    return layer.noise_shape  # type: ignore[no-any-return]
