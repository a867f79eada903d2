"""Keras's optimizers as updates inside a graph, with all settings as inputs of the graph.

The formulas are those of `keras.optimizers` 3.15. Where TensorFlow has an equivalent fused kernel, this uses it:
one operation per variable, where Keras needs about ten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from cnn_sweep.training.network.precision import LossScale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnn_sweep.sweep.spec.training import OptimizerSpec

_SETTINGS = ("momentum", "rho", "beta_1", "beta_2", "epsilon", "weight_decay", "clip_norm")
_DEFAULT_RHO = {"adadelta": 0.95}  # 0.9 for the others
_SLOTS = {"sgd": 1, "rmsprop": 2, "adam": 2, "adamw": 2, "adagrad": 1, "adadelta": 2, "nadam": 2}
_ADAGRAD_START = 0.1
_NADAM_DECAY = 0.96


class Optimizer:
    """Updates the weights of one network; one object serves many trials.

    Args:
        spec: Its name, Nesterov, weight decay and gradient clipping determine the operations.
        variables: Trainable `tf.Variable` objects.
        scales_loss: Whether the loss is scaled before its gradients are taken.
    """

    def __init__(self, spec: OptimizerSpec, variables: Sequence[Any], *, scales_loss: bool = False) -> None:
        self._loss_scale = LossScale() if scales_loss else None
        self._name = spec.name
        self._nesterov = spec.nesterov
        self._decays = spec.name == "adamw" or spec.weight_decay is not None
        self._clips = spec.clip_norm is not None
        self._weights = tuple(variables)
        self._slots = tuple(
            tuple(tf.Variable(tf.zeros_like(v), trainable=False) for _ in range(_SLOTS[spec.name]))
            for v in self._weights
        )
        self._scalars = tf.Variable(tf.zeros([len(_SETTINGS)]), trainable=False, name="optimizer_settings")
        self._u_product = tf.Variable(1.0, trainable=False, name="nadam_u_product")
        self._step: Callable[..., None] = getattr(self, f"_{'adam' if spec.name == 'adamw' else spec.name}")

    @property
    def state(self) -> tuple[Any, ...]:
        """The variables that a checkpoint must contain."""
        slots = tuple(slot for slots in self._slots for slot in slots)
        slots = (*slots, self._u_product) if self._name == "nadam" else slots
        return slots if self._loss_scale is None else (*slots, *self._loss_scale.state)

    def reset(self, spec: OptimizerSpec) -> None:
        """Apply the settings of a new trial and reset all state."""
        settings = _settings(spec)
        self._scalars.assign([settings[name] for name in _SETTINGS])
        # Keras adds epsilon to the accumulator in each step; one addition at the start gives the same sum.
        start = _ADAGRAD_START + settings["epsilon"] if spec.name == "adagrad" else 0.0
        for slots in self._slots:
            for slot in slots:
                slot.assign(tf.fill(slot.shape, np.float32(start)))
        self._u_product.assign(1.0)
        if self._loss_scale is not None:
            self._loss_scale.reset()

    def scaled(self, loss: Any) -> Any:
        """Return the loss whose gradients `apply` takes."""
        return loss if self._loss_scale is None else self._loss_scale.scaled(loss)

    def apply(self, gradients: Sequence[Any], learning_rate: Any, iteration: Any) -> None:
        """Update the weights.

        Args:
            gradients: One dense tensor per variable, of the `scaled` loss.
            learning_rate: Scalar float32 tensor.
            iteration: Scalar int64 tensor: updates done so far.
        """
        if self._loss_scale is None:
            self._apply(gradients, learning_rate, iteration)
        else:
            self._loss_scale.apply(gradients, iteration, lambda true, done: self._apply(true, learning_rate, done))

    def _apply(self, gradients: Sequence[Any], learning_rate: Any, iteration: Any) -> None:
        values = self._scalars.read_value()
        settings = {name: values[k] for k, name in enumerate(_SETTINGS)}
        if self._clips:
            gradients = _clip(gradients, settings["clip_norm"])
        if self._decays:
            for weight in self._weights:
                weight.assign_sub(weight * settings["weight_decay"] * learning_rate)
        self._step(gradients, learning_rate, tf.cast(iteration, tf.float32), settings)

    def _sgd(self, gradients: Sequence[Any], rate: Any, _: Any, settings: dict[str, Any]) -> None:
        for weight, gradient, (momentum,) in zip(self._weights, gradients, self._slots, strict=True):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=weight.handle,
                accum=momentum.handle,
                lr=rate,
                grad=gradient,
                momentum=settings["momentum"],
                use_nesterov=self._nesterov,
            )

    def _rmsprop(self, gradients: Sequence[Any], rate: Any, _: Any, settings: dict[str, Any]) -> None:
        for weight, gradient, (velocity, momentum) in zip(self._weights, gradients, self._slots, strict=True):
            tf.raw_ops.ResourceApplyRMSProp(
                var=weight.handle,
                ms=velocity.handle,
                mom=momentum.handle,
                lr=rate,
                rho=settings["rho"],
                momentum=settings["momentum"],
                epsilon=settings["epsilon"],
                grad=gradient,
            )

    def _adam(self, gradients: Sequence[Any], rate: Any, done: Any, settings: dict[str, Any]) -> None:
        for weight, gradient, (mean, variance) in zip(self._weights, gradients, self._slots, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=mean.handle,
                v=variance.handle,
                beta1_power=tf.pow(settings["beta_1"], done + 1.0),
                beta2_power=tf.pow(settings["beta_2"], done + 1.0),
                lr=rate,
                beta1=settings["beta_1"],
                beta2=settings["beta_2"],
                epsilon=settings["epsilon"],
                grad=gradient,
            )

    def _adagrad(self, gradients: Sequence[Any], rate: Any, _: Any, __: dict[str, Any]) -> None:
        for weight, gradient, (accumulator,) in zip(self._weights, gradients, self._slots, strict=True):
            tf.raw_ops.ResourceApplyAdagrad(var=weight.handle, accum=accumulator.handle, lr=rate, grad=gradient)

    def _adadelta(self, gradients: Sequence[Any], rate: Any, _: Any, settings: dict[str, Any]) -> None:
        for weight, gradient, (squares, updates) in zip(self._weights, gradients, self._slots, strict=True):
            tf.raw_ops.ResourceApplyAdadelta(
                var=weight.handle,
                accum=squares.handle,
                accum_update=updates.handle,
                lr=rate,
                rho=settings["rho"],
                epsilon=settings["epsilon"],
                grad=gradient,
            )

    def _nadam(self, gradients: Sequence[Any], rate: Any, done: Any, settings: dict[str, Any]) -> None:
        """Nadam with the momentum schedule of Dozat (2016), as in Keras; no fused kernel exists."""
        beta_1, beta_2 = settings["beta_1"], settings["beta_2"]
        now = beta_1 * (1.0 - 0.5 * tf.pow(_NADAM_DECAY, done + 1.0))
        following = beta_1 * (1.0 - 0.5 * tf.pow(_NADAM_DECAY, done + 2.0))
        product = self._u_product * now
        self._u_product.assign(product)
        on_mean = rate * following / (1.0 - product * following)
        on_gradient = rate * (1.0 - now) / (1.0 - product)
        correction = 1.0 / (1.0 - tf.pow(beta_2, done + 1.0))
        for weight, gradient, (mean, variance) in zip(self._weights, gradients, self._slots, strict=True):
            new_mean = mean + (gradient - mean) * (1.0 - beta_1)
            new_variance = variance + (tf.square(gradient) - variance) * (1.0 - beta_2)
            mean.assign(new_mean)
            variance.assign(new_variance)
            step = on_mean * new_mean + on_gradient * gradient
            weight.assign_sub(step / (tf.sqrt(new_variance * correction) + settings["epsilon"]))


def _clip(gradients: Sequence[Any], norm: Any) -> list[Any]:
    """Scale all gradients so that their global norm is at most ``norm``."""
    total = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))
    scale = norm * tf.minimum(1.0 / total, 1.0 / norm)
    return [g * scale for g in gradients]


def _settings(spec: OptimizerSpec) -> dict[str, float]:
    rho = _DEFAULT_RHO.get(spec.name, 0.9) if spec.rho is None else spec.rho
    decay = 0.004 if spec.name == "adamw" and spec.weight_decay is None else spec.weight_decay
    return {
        "momentum": spec.momentum,
        "rho": rho,
        "beta_1": spec.beta_1,
        "beta_2": spec.beta_2,
        "epsilon": spec.epsilon,
        "weight_decay": decay or 0.0,
        "clip_norm": spec.clip_norm or 1.0,
    }
