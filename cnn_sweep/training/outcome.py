"""The interface of a running trial: the monitor that receives its reports, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from cnn_sweep.journal.predictions import KeptPredictions

OutcomeState = Literal["complete", "pruned", "failed", "paused", "interrupted"]
Decision = Literal["continue", "pause", "prune"]
Weights = tuple["npt.NDArray[np.generic]", ...]


class Monitor(Protocol):
    """Receives reports of a running trial. Its exceptions end the training and reach the caller unchanged."""

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        """Receive the metrics of an epoch.

        Args:
            epoch: 1-based number of the epoch.
            metrics: ``loss``, ``accuracy``, ``val_loss``, ... by name; values may be NaN or infinite.
            seconds: Wall time of the epoch in this attempt.
        """

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Store ``state``, from which the trial can continue after ``epoch`` complete epochs."""

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Store the result of ``state`` as `checkpoint` does, while training continues; another thread may call it."""

    def decision(self) -> Decision:
        """Decide after each epoch except the last; before a pause, the trial writes a checkpoint."""
        ...

    def should_stop(self) -> bool:
        """Return whether to stop soon; called every few seconds."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a trial, or its attempt, ended.

    Attributes:
        state: ``complete``, ``pruned`` or ``failed``; or, if it can continue from its last checkpoint, ``paused`` (by
            the monitor's decision) or ``interrupted``.
        cause: Why it failed: ``diverged``, ``oom`` or ``exception``; None otherwise.
        message: Description of the cause, or None.
        epochs: Number of complete epochs, including those of earlier attempts.
        parameters: Number of the network's weights, trainable or not; None if there is no network.
        history: Metrics per epoch, from the first epoch of the first attempt.
        best_epoch: 1-based epoch whose weights are the model: the best, or the last if ``objective.value`` says so;
            None without a value.
        value: The trial's value.
        weights: Weights of that epoch in the order of ``keras.Model.get_weights``.
        predictions: Predictions of the validation images after that epoch; None if they are not kept.
        cached: Whether the trial reused a compiled graph; None if nothing is compiled.
        traceback: Traceback of its exception, for the log; empty without one.
        model: The ``keras.Model`` that the user's objective function returned, or None; exported unchanged.
    """

    state: OutcomeState
    cause: str | None = None
    message: str | None = None
    epochs: int = 0
    parameters: int | None = None
    history: tuple[dict[str, float], ...] = ()
    best_epoch: int | None = None
    value: float | None = None
    cached: bool | None = None
    traceback: str = field(default="", repr=False)
    weights: Weights | None = field(default=None, repr=False)
    predictions: KeptPredictions | None = field(default=None, repr=False)
    model: Any = field(default=None, repr=False)
