"""The interface between the training loop and its engines (``graph`` and ``fit``), and the data they exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt

    from cnn_sweep.training.outcome import Weights

    Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class EpochPlan:
    """One epoch as plain data.

    Attributes:
        order: Training images in the order of the steps, int32.
        starts: Start of each step's images in ``order``, then the length of ``order``; int32, shape (steps + 1,).
        rates: Learning rate of each step, float32.
        steps_before: Steps of all earlier epochs; determines the random draws.
        updates_before: Updates of the current optimizer in earlier epochs, that is, since the stage began.
        smoothing: Label smoothing.
        amounts: Amounts of augmentation, from `augment.amounts_of`; unused without augmentation.
        seed: Seed of the augmentation.
        class_weights: Factor of the loss of each class's training images, float32.
        validation: Indices of the validation images to evaluate after the epoch, int32.
    """

    order: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    rates: npt.NDArray[np.float32]
    steps_before: int
    updates_before: int
    smoothing: float
    amounts: npt.NDArray[np.float32]
    seed: int
    class_weights: npt.NDArray[np.float32]
    validation: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Totals:
    """Sums over the completed steps of an epoch.

    Attributes:
        step: Completed steps; fewer than requested if the loss was no longer finite.
        loss_sum: Sum over the steps of mean loss times number of images.
        correct: Number of correctly classified images; NaN if the engine cannot know.
        more: Further metrics of a complete epoch, by name.
    """

    step: int
    loss_sum: float
    correct: float
    more: Mapping[str, float] = field(default_factory=dict)


class Evaluation(NamedTuple):
    """Result of evaluating the validation images.

    Attributes:
        loss: Mean over the images.
        probabilities: Shape (n, units).
        more: Further metrics, by name without ``val_``.
    """

    loss: float
    probabilities: npt.NDArray[np.float32]
    more: Mapping[str, float] = {}


class Engine(Protocol):
    """Trains one network with its optimizer.

    Attributes:
        parameters: Number of weights, trainable or not.
        divisible: Whether an epoch can be cut into chunks.
        pace_s: Measured seconds per training image, or None before the first chunk.
    """

    parameters: int
    divisible: bool
    pace_s: float | None

    def train(self, plan: EpochPlan, so_far: Totals, last: int, should_stop: Callable[[], bool]) -> Totals | None:
        """Run the steps from ``so_far.step`` up to ``last``; return None if an indivisible epoch was stopped."""

    def evaluate(self, plan: EpochPlan) -> Evaluation:
        """Evaluate the plan's validation images."""
        ...

    def weights(self) -> Weights:
        """Return a copy of the weights, in the order of ``keras.Model.get_weights``."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Set the weights, in the order of `weights`."""

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return a copy of everything that the next step depends on."""
        ...

    def restore(self, state: Arrays) -> None:
        """Restore a state that `state` returned."""
