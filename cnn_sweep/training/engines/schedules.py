"""Learning rate schedules as pure functions of the step.

A graph takes the learning rate of each step as an input, so all schedules share one graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from cnn_sweep.sweep.spec.training import OptimizerSpec, TrainingSpec

# Keras's defaults.
_DEFAULT_LEARNING_RATE = {
    "sgd": 0.01,
    "rmsprop": 0.001,
    "adam": 0.001,
    "adamw": 0.001,
    "adagrad": 0.001,
    "adadelta": 0.001,
    "nadam": 0.001,
}


def learning_rates(training: TrainingSpec, *, epoch: int, steps: int, scale: float = 1.0) -> npt.NDArray[np.float32]:
    """Return the learning rate of each step of one epoch.

    A warm-up multiplies the schedule by a factor that grows from 0 to 1; it does not shift the schedule.

    Args:
        training: Gives the schedule and the initial learning rate.
        epoch: 0-based number of the epoch.
        steps: Steps of an epoch.
        scale: Factor that a plateau schedule has reached.

    Returns:
        Array of shape (steps,).
    """
    schedule = training.schedule
    step = epoch * steps + np.arange(steps, dtype=np.float64)
    match schedule.kind:
        case "exponential":
            factor = schedule.rate ** (step / (steps * schedule.every))
        case "step":
            factor = schedule.rate ** np.floor(step / (steps * schedule.every))
        case "cosine":
            cosine = 0.5 * (1.0 + np.cos(np.pi * step / (steps * training.epochs)))
            factor = (1.0 - schedule.floor) * cosine + schedule.floor
        case "plateau":
            factor = np.full(steps, max(scale, schedule.floor))
        case _:
            factor = np.ones(steps)
    if schedule.warmup_epochs:
        factor = factor * np.minimum(1.0, step / (steps * schedule.warmup_epochs))
    return (base_rate(training.optimizer) * factor).astype(np.float32)


def base_rate(spec: OptimizerSpec) -> float:
    """Return the initial learning rate: from the sweep file, or Keras's default for the optimizer."""
    return _DEFAULT_LEARNING_RATE[spec.name] if spec.learning_rate is None else spec.learning_rate
