"""Mixed precision: layers compute in 16 bits; weights, output and loss are in 32."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cnn_sweep.sweep.spec.training import TrainingSpec

# The values of `keras.optimizers.LossScaleOptimizer`.
_FIRST_SCALE = 2.0**15
_GROWTH_STEPS = 2000


@contextmanager
def computing_in(training: TrainingSpec | None) -> Iterator[None]:
    """Give layers created in this block the precision of a trial's training; float32 without one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if training is None else training.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def needs_loss_scale(training: TrainingSpec) -> bool:
    """Return whether a trial's precision needs loss scaling, so that gradients do not underflow."""
    return training.precision == "mixed_float16"


class LossScale:
    """Dynamic loss scaling as `keras.optimizers.LossScaleOptimizer` does it.

    The loss is multiplied before its gradients are taken, so that they do not underflow in float16. A step with
    non-finite gradients changes no weight and halves the factor; 2,000 finite steps in a row double it.
    """

    def __init__(self) -> None:
        self._scale = tf.Variable(_FIRST_SCALE, trainable=False, name="loss_scale")
        self._good = tf.Variable(0, trainable=False, name="loss_scale_good_steps")
        self._skipped = tf.Variable(0, trainable=False, dtype=tf.int64, name="loss_scale_skipped_steps")

    @property
    def state(self) -> tuple[Any, ...]:
        """The variables that a checkpoint must hold."""
        return self._scale, self._good, self._skipped

    def reset(self) -> None:
        """Reset the factor and the counters for a new trial."""
        self._scale.assign(_FIRST_SCALE)
        self._good.assign(0)
        self._skipped.assign(0)

    def scaled(self, loss: Any) -> Any:
        """Return the loss whose gradients `apply` takes."""
        return loss * self._scale

    def apply(self, gradients: Sequence[Any], iteration: Any, update: Callable[[list[Any], Any], None]) -> None:
        """Call ``update`` with the true gradients and the number of updates done before, if they are finite."""
        true = [gradient / self._scale for gradient in gradients]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in true])

        def take() -> Any:
            update(true, iteration - self._skipped)
            grown = self._good >= _GROWTH_STEPS - 1
            self._scale.assign(tf.where(grown, self._scale * 2.0, self._scale))
            self._good.assign(tf.where(grown, 0, self._good + 1))
            return tf.constant(0)

        def skip() -> Any:
            self._scale.assign(self._scale / 2.0)
            self._good.assign(0)
            self._skipped.assign_add(1)
            return tf.constant(0)

        tf.cond(finite, take, skip)
