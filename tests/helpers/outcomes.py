"""What a test sees of a trial that is trained, and trials that are interrupted again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Recorder:
    """A monitor that records its calls, and stops on request."""

    stop_after_polls: int | None = None
    pause_after: int | None = None
    epochs: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    checkpoints: list[tuple[bytes, int]] = field(default_factory=list)
    polls: int = 0

    def epoch(self, epoch: int, metrics: dict[str, float], seconds: float) -> None:
        """Remember an epoch."""
        self.epochs.append(metrics)
        self.seconds.append(seconds)

    def checkpoint(self, state: bytes, epoch: int) -> None:
        """Remember a checkpoint."""
        self.checkpoints.append((state, epoch))

    def decision(self) -> str:
        """Pause at the epoch that was named, or go on."""
        return "pause" if len(self.epochs) == self.pause_after else "continue"

    def checkpoint_later(self, state: Callable[[], bytes], epoch: int) -> None:
        """Remember a checkpoint."""
        self.checkpoint(state(), epoch)

    def should_stop(self) -> bool:
        """Count the question."""
        self.polls += 1
        return self.stop_after_polls is not None and self.polls > self.stop_after_polls


def assert_equal(one, other):
    """Compare two outcomes bit for bit."""
    assert one.state == other.state == "complete", (one.message, other.message)
    assert one.history == other.history
    assert (one.best_epoch, one.value, one.epochs) == (other.best_epoch, other.value, other.epochs)
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (one.predictions is None) == (other.predictions is None)
    if one.predictions is not None:
        assert one.predictions.epoch == other.predictions.epoch == one.best_epoch
        np.testing.assert_array_equal(one.predictions.logs, other.predictions.logs)


def resumed(trainer, trial, seed, *, polls, attempts):
    """Train with an interruption after every few polls until the trial is complete; each epoch is reported once.

    Args:
        trainer: Whose chunks are short: it polls after each.
        trial: What to train.
        seed: Of the trial.
        polls: How often an attempt may ask before it is told to stop.
        attempts: After so many, something is wrong.
    """
    state, epochs = None, []
    for _ in range(attempts):
        monitor = Recorder(stop_after_polls=polls)
        outcome = trainer.train(trial, seed, monitor, state)
        epochs += monitor.epochs
        if outcome.state == "complete":
            assert tuple(epochs) == outcome.history
            return outcome
        ((state, _),) = monitor.checkpoints
    raise AssertionError(f"the trial is not complete after {attempts} attempts")
