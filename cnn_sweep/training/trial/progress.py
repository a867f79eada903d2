"""Position and history of a trial: all that its next epoch needs besides weights."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.spec.metrics import default_direction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import ObjectiveSpec


@dataclass
class TrialProgress:
    """Position and history of one trial, stored in its checkpoints.

    Attributes:
        epoch: Complete epochs.
        step: Completed steps of the running epoch.
        loss_sum: Sum over these steps of mean loss times number of images.
        correct: Number of correctly classified images in these steps.
        seconds: Wall time of these steps.
        history: Metrics of each complete epoch.
        best_epoch: 1-based epoch whose weights are the model so far: the best, or the last if ``objective.value`` says
            so; None without a value.
        best_value: The trial's value so far, or None.
        stop_value: Value that early stopping compares with; with ``min_delta``, it may lag behind the best.
        stop_wait: Epochs since ``stop_value`` improved.
        plateau_value: Objective that the plateau schedule compares with.
        plateau_wait: Epochs since ``plateau_value`` improved.
        rate_scale: Factor that the plateau schedule applies to the learning rate.
        stage: Number of the running stage, from 0.
        stage_began: Complete epochs at its start.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    stop_value: float | None = None
    stop_wait: int = 0
    plateau_value: float | None = None
    plateau_wait: int = 0
    rate_scale: float = 1.0
    stage: int = 0
    stage_began: int = 0

    @property
    def stage_epoch(self) -> int:
        """Complete epochs of the running stage."""
        return self.epoch - self.stage_began

    def begin_stage(self) -> None:
        """Begin the next stage, with fresh early stopping and plateau schedule."""
        self.stage, self.stage_began = self.stage + 1, self.epoch
        self.stop_value, self.stop_wait = None, 0
        self.plateau_value, self.plateau_wait, self.rate_scale = None, 0, 1.0

    def to_json(self) -> dict[str, Any]:
        """Return data for JSON; `from_json` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrialProgress:
        """Return the progress that `to_json` wrote."""
        return cls(**data)

    def end_epoch(self, metrics: dict[str, float], objective: ObjectiveSpec, training: TrainingSpec) -> bool:
        """Record the metrics of an epoch and move to the next one.

        Returns:
            Whether the model so far is that of this epoch.
        """
        self.epoch += 1
        self.step, self.loss_sum, self.correct, self.seconds = 0, 0.0, 0.0, 0.0
        self.history.append(metrics)
        value = metrics.get(objective.metric, math.nan)
        self._follow_plateau(value, objective, training)
        self._follow_stopping(metrics, objective, training)
        if (last := objective.last_epochs) is not None:
            newest = enumerate(self.history[-last:], start=max(self.epoch - last, 0) + 1)
            found = objective.result({epoch: known.get(objective.metric) for epoch, known in newest})
            self.best_epoch, self.best_value = found or (None, None)
            return True
        if not _improves(value, self.best_value, objective.direction):
            return False
        self.best_epoch, self.best_value = self.epoch, value
        return True

    def finished(self, training: TrainingSpec) -> bool:
        """Return whether the running stage is over: all epochs are done, or early stopping ended it."""
        stopping = training.early_stopping
        return self.stage_epoch >= training.epochs or (stopping is not None and self.stop_wait >= stopping.patience)

    def _follow_stopping(self, metrics: dict[str, float], objective: ObjectiveSpec, training: TrainingSpec) -> None:
        stopping = training.early_stopping
        monitor = (stopping.monitor if stopping else None) or objective.metric
        direction = objective.direction if monitor == objective.metric else default_direction(monitor)
        value = metrics.get(monitor, math.nan)
        if _improves(value, self.stop_value, direction, by=stopping.min_delta if stopping else 0.0):
            self.stop_value, self.stop_wait = value, 0
        elif self.stage_epoch > 1:  # as in Keras: the first epoch has nothing to improve on
            self.stop_wait += 1

    def _follow_plateau(self, value: float, objective: ObjectiveSpec, training: TrainingSpec) -> None:
        """Follow `keras.callbacks.ReduceLROnPlateau` with ``min_delta=0``."""
        if _improves(value, self.plateau_value, objective.direction):
            self.plateau_value, self.plateau_wait = value, 0
            return
        self.plateau_wait += self.stage_epoch > 1  # the first epoch has nothing to improve on
        if self.plateau_wait >= training.schedule.patience:
            self.rate_scale = max(self.rate_scale * training.schedule.rate, training.schedule.floor)
            self.plateau_wait = 0


def _improves(value: float, best: float | None, direction: Direction, *, by: float = 0.0) -> bool:
    """Return whether ``value`` beats ``best`` by more than ``by``; NaN and infinity beat nothing."""
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    return direction.better(value + direction.sign * by, best)
