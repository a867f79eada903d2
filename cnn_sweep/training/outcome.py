"""What a trial tells while it runs, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

OutcomeState = Literal["complete", "pruned", "failed", "paused", "interrupted"]
Decision = Literal["continue", "pause", "prune"]
Weights = tuple["npt.NDArray[np.generic]", ...]


class Monitor(Protocol):
    """Listens to a trial. What it raises ends the training and reaches the caller unchanged."""

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        """Take the metrics of an epoch.

        Args:
            epoch: 1-based number of the epoch.
            metrics: ``loss``, ``accuracy``, ``val_loss``, ... by name; may hold NaN and infinity.
            seconds: Wall time of the epoch in this attempt.
        """

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Keep ``state``, from which the trial can continue; ``epoch`` epochs are complete in it."""

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Keep what ``state`` returns, as `checkpoint`, while training goes on; it may be called on another thread."""

    def decision(self) -> Decision:
        """Say what becomes of the trial, once after each epoch but the last; who pauses it gets a checkpoint first."""
        ...

    def should_stop(self) -> bool:
        """Tell whether to stop soon; asked every few seconds."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a trial, or its attempt, ended.

    Attributes:
        state: ``complete``, ``pruned``, ``failed``, or (can go on from the last checkpoint) ``paused``, as the monitor
            asked, or ``interrupted``.
        cause: Why it failed: ``diverged``, ``oom`` or ``exception``; None otherwise.
        message: The cause in words, or None.
        epochs: Number of complete epochs, those of earlier attempts included.
        parameters: Weights of the network, trainable and not; None where no network is known.
        history: Metrics per epoch, from the first epoch of the first attempt.
        best_epoch: 1-based epoch with the best objective; None where no epoch has one.
        value: The objective at the best epoch.
        weights: Weights of the best epoch in the order of ``keras.Model.get_weights``.
        cached: Whether the network's graph was compiled already; None where nothing is compiled.
        traceback: Of the exception that it failed with, for the log; empty where there is none.
        model: A ``keras.Model`` where a function of the user's made it; exported as it is.
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
    model: Any = field(default=None, repr=False)
