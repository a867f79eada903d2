"""The training loop of one trial: stages, epochs and chunks of steps; the same for every engine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.journal.predictions import KeptPredictions, fits, logs_of
from cnn_sweep.messages import unknown
from cnn_sweep.sweep.spec.metrics import VALIDATION_METRICS
from cnn_sweep.sweep.spec.trial import training_stages
from cnn_sweep.training.engines.augment import amounts_of, seed_of
from cnn_sweep.training.engines.batches import batches_of, class_weights, steps_of, validation_sample
from cnn_sweep.training.engines.engine import EpochPlan, Totals
from cnn_sweep.training.engines.schedules import learning_rates
from cnn_sweep.training.evaluation.metrics import all_metrics, of_each_class
from cnn_sweep.training.network.model import check_probabilities
from cnn_sweep.training.outcome import Outcome
from cnn_sweep.training.trial.checkpoint import CheckpointError, pack, unpack
from cnn_sweep.training.trial.progress import TrialProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt

    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.data.dataset import Dataset
    from cnn_sweep.training.engines.engine import Arrays, Engine, Evaluation
    from cnn_sweep.training.outcome import Decision, Monitor, OutcomeState, Weights

_FIRST_LOOK = 8  # validation images whose predictions are checked before the user's network is trained
_BEST_LOGS = "best predictions"  # their name in checkpoints
_GROWTH = 8  # largest ratio of one chunk's steps to those of the previous chunk


@dataclass(frozen=True)
class Task:
    """A trial to train.

    Attributes:
        spec: The trial's settings.
        seed: Its seed.
        identity: Stored in checkpoints; only a trial with the same identity may resume from them.
        fold: With cross-validation, the number of its fold; see :meth:`.Dataset.fold`.
        keeps_predictions: Whether the outcome has the predictions of the best epoch, unless they are too large.
        stops_after: Number of epochs, of all stages, after which it is complete; None to follow its settings.
    """

    spec: TrialSpec
    seed: int
    identity: str
    fold: int = 0
    keeps_predictions: bool = True
    stops_after: int | None = None


class TrainingLoop:
    """One attempt at a trial.

    Args:
        task: The trial.
        engines: Returns the untrained network of a stage of the trial.
        dataset: Training and validation images.
        monitor: Receives reports, and decides whether to stop.
        chunk_s: Seconds between two calls of ``monitor.should_stop``.
    """

    def __init__(
        self,
        task: Task,
        engines: Callable[[TrialSpec], Engine],
        *,
        dataset: Dataset,
        monitor: Monitor,
        chunk_s: float,
    ) -> None:
        spec = task.spec
        if spec.training is None or dataset.validation is None:
            raise ValueError("a trial needs training settings and validation images")
        self._task = task
        self._stages = training_stages(spec)
        self._engines = engines
        self._enter(0)
        fold = dataset.fold(task.fold)
        self._train_images = fold.train
        self._validation = fold.validation[validation_sample(spec.training, len(fold.validation))]
        self._split = "train" if dataset.validation is dataset.train else "validation"
        self._validation_labels = dataset.validation.y[self._validation]
        self._class_names = dataset.info.class_names
        self._more_metrics = spec.training.metrics
        self._class_weights = class_weights(spec.training, dataset.info, dataset.train.y[fold.train])
        self._monitor = monitor
        self._chunk_s = chunk_s
        self._steps = steps_of(self._training, len(fold.train))
        self._progress = TrialProgress()
        self._more: Mapping[str, float] = {}  # the engine's metrics of the running epoch, except loss and accuracy
        self._best: Weights | None = None
        self._probabilities: npt.NDArray[np.float32] | None = None  # of the newest epoch
        self._best_logs: npt.NDArray[np.float16] | None = None
        self._saved_at = time.monotonic()

    def resume(self, state: bytes) -> None:
        """Continue from a checkpoint of this trial.

        Raises:
            CheckpointError: The checkpoint is damaged, or belongs to another trial.
        """
        meta, arrays = unpack(state)
        if meta["identity"] != self._task.identity:
            raise CheckpointError(
                "the checkpoint belongs to another configuration, seed, data set or version of the trainer"
            )
        self._progress = TrialProgress.from_json(meta["progress"])
        if self._progress.stage:
            self._enter(self._progress.stage)
        best = [name for name in arrays if name.startswith("best/")]
        self._best = tuple(arrays[name].copy() for name in best) or None
        logs: Any = arrays.pop(_BEST_LOGS, None)
        self._best_logs = None if logs is None else logs.copy()
        self._engine.restore({name: array for name, array in arrays.items() if not name.startswith("best/")})

    def _enter(self, stage: int) -> None:
        spec = self._stages[stage]
        if spec.training is None:
            raise ValueError("a trial needs training settings")
        self._training: TrainingSpec = spec.training
        self._engine = self._engines(spec)

    def go(self) -> Outcome:
        """Train to the end, or until the monitor asks to stop."""
        while (left := self._stage()) is None and not self._is_last_stage:
            weights = self._engine.weights()
            self._progress.begin_stage()
            self._enter(self._progress.stage)
            self._engine.set_weights(weights)
        return left or self.outcome("complete")

    @property
    def _stops(self) -> bool:
        return self._task.stops_after is not None and self._progress.epoch >= self._task.stops_after

    @property
    def _is_last_stage(self) -> bool:
        return self._stops or self._progress.stage + 1 == len(self._stages)

    @property
    def _stage_ended(self) -> bool:
        return self._stops or self._progress.finished(self._training)

    @property
    def _ended(self) -> bool:
        return self._stage_ended and self._is_last_stage

    def _stage(self) -> Outcome | None:
        """Train to the end of the running stage; return an outcome if the trial stops earlier."""
        while not self._stage_ended:
            if self._monitor.should_stop():
                return self._interrupt(self._pack())
            before = None if self._engine.divisible else self._pack()
            if not self._epoch():
                return self._interrupt(before or self._pack())
            last = self._progress.history[-1]
            if not (math.isfinite(last["loss"]) and math.isfinite(last["val_loss"])):
                return self._diverged(last)
            if not self._ended:
                decision = self._monitor.decision()
                if decision != "continue":
                    return self._leave(decision)
            self._save_now_and_then()
        return None

    def _epoch(self) -> bool:
        """Finish the running epoch; return False if it was stopped."""
        progress = self._progress
        plan = self._plan(progress.epoch)
        if self._task.spec.build is not None and (progress.epoch, progress.step) == (0, 0):
            # Checked before training, because a network that returns no probabilities would waste a whole epoch.
            self._evaluate(replace(plan, validation=plan.validation[:_FIRST_LOOK]))
        started = time.perf_counter() - progress.seconds
        chunk = 1 if self._engine.pace_s is None else self._chunk_of(self._steps)
        while progress.step < self._steps and math.isfinite(progress.loss_sum):
            last = min(progress.step + chunk, self._steps) if self._engine.divisible else self._steps
            if not self._chunk(plan, last):
                return False
            progress.seconds = time.perf_counter() - started
            chunk = self._chunk_of(chunk * _GROWTH)
            if progress.step < self._steps and math.isfinite(progress.loss_sum) and self._monitor.should_stop():
                return False
        metrics = self._metrics(plan)
        self._check_reported(metrics)
        seconds = time.perf_counter() - started
        objective = self._task.spec.objective
        if progress.end_epoch(metrics, objective, self._training):
            self._best_logs = self._logs()
            if objective.last_epochs is None:
                self._best = self._engine.weights()  # the last epoch's weights need no copy
        self._monitor.epoch(progress.epoch, metrics, seconds)
        return True

    def _plan(self, epoch: int) -> EpochPlan:
        training = self._training
        batches = batches_of(training, seed=self._task.seed, epoch=epoch, images=len(self._train_images))
        return EpochPlan(
            order=self._train_images[batches.order],
            starts=batches.starts,
            rates=learning_rates(
                training, epoch=self._progress.stage_epoch, steps=self._steps, scale=self._progress.rate_scale
            ),
            steps_before=epoch * self._steps,
            updates_before=self._progress.stage_epoch * self._steps,
            smoothing=training.label_smoothing,
            amounts=amounts_of(training.augmentation),
            seed=seed_of(self._task.seed),
            class_weights=self._class_weights,
            validation=self._validation,
        )

    def _chunk(self, plan: EpochPlan, last: int) -> bool:
        progress = self._progress
        first = progress.step
        started = time.perf_counter()
        totals = self._engine.train(
            plan, Totals(first, progress.loss_sum, progress.correct), last, self._monitor.should_stop
        )
        if totals is None:
            return False
        progress.step, progress.loss_sum, progress.correct = totals.step, totals.loss_sum, totals.correct
        self._more = totals.more
        images = max(1, int(plan.starts[totals.step] - plan.starts[first]))
        self._engine.pace_s = (time.perf_counter() - started) / images
        return True

    def _chunk_of(self, most: int) -> int:
        """Return how many steps fit into ``chunk_s``: at least one, at most ``most``."""
        step_s = (self._engine.pace_s or 0.0) * self._training.batch_size
        return max(1, min(most, int(self._chunk_s / step_s) if step_s else most))

    def _metrics(self, plan: EpochPlan) -> dict[str, float]:
        progress = self._progress
        seen = int(plan.starts[progress.step])
        metrics = {"loss": progress.loss_sum / seen}
        self._probabilities = None
        if not math.isnan(progress.correct):
            metrics |= {"accuracy": progress.correct / seen}
        more = dict(self._more)
        if math.isfinite(progress.loss_sum):
            found = self._evaluate(plan)
            self._probabilities = found.probabilities
            measured = all_metrics(
                self._validation_labels, found.probabilities, "val_", self._more_metrics, self._class_names
            )
            metrics |= {"val_loss": found.loss, **measured}
            more |= {f"val_{name}": value for name, value in found.more.items()}
        else:
            names = of_each_class(self._more_metrics, self._class_names)
            metrics |= dict.fromkeys((*VALIDATION_METRICS, *(f"val_{name}" for name in names)), math.nan)
        metrics |= {"learning_rate": more.get("learning_rate", float(plan.rates[progress.step - 1]))}
        return metrics | {name: value for name, value in more.items() if name not in metrics}

    def _logs(self) -> npt.NDArray[np.float16] | None:
        """Return the newest epoch's predictions as they are kept; None if they are not."""
        found = self._probabilities
        if found is None or not self._task.keeps_predictions or not fits(*found.shape):
            return None
        return logs_of(found)

    def _evaluate(self, plan: EpochPlan) -> Evaluation:
        found = self._engine.evaluate(plan)
        check_probabilities(found.probabilities, self._task.spec.build or "model.layers")
        return found

    def _check_reported(self, metrics: dict[str, float]) -> None:
        """Check that the objective, and what early stopping follows, are among the metrics of an epoch.

        Raises:
            InputError: It is missing.
        """
        stopping = self._training.early_stopping
        wanted = {"objective.metric": self._task.spec.objective.metric}
        if stopping is not None and stopping.monitor is not None:
            wanted["training.early_stopping.monitor"] = stopping.monitor
        for key, name in wanted.items():
            if name not in metrics and math.isfinite(metrics["loss"]):
                raise InputError(
                    f"{key}: {unknown('metric', name, list(metrics))}. Pass any other metric to model.compile, under "
                    "this name"
                )

    def _save_now_and_then(self) -> None:
        if self._ended:
            return
        if time.monotonic() - self._saved_at >= self._training.checkpoint_every_s:
            # Only the copy is made now; another thread computes the checksum and writes the file.
            self._monitor.checkpoint_later(partial(pack, *self._state()), self._progress.epoch)
            self._saved_at = time.monotonic()

    def _pack(self) -> bytes:
        return pack(*self._state())

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        """Return a copy of everything that a checkpoint contains."""
        arrays = dict(self._engine.state())
        arrays |= {f"best/{k:04d}": array for k, array in enumerate(self._best or ())}
        if self._best_logs is not None:
            arrays[_BEST_LOGS] = self._best_logs
        return {"identity": self._task.identity, "progress": self._progress.to_json()}, arrays

    def _interrupt(self, state: bytes) -> Outcome:
        self._monitor.checkpoint(state, self._progress.epoch)
        return self.outcome("interrupted")

    def _leave(self, decision: Decision) -> Outcome:
        """End the attempt after an epoch, as the monitor decided."""
        if decision == "prune":
            return self.outcome("pruned")
        self._monitor.checkpoint(self._pack(), self._progress.epoch)
        return self.outcome("paused")

    def _diverged(self, metrics: dict[str, float]) -> Outcome:
        return self.outcome(
            "failed",
            cause="diverged",
            message=f"epoch {self._progress.epoch}: the loss is {metrics['loss']}, on validation images "
            f"{metrics['val_loss']} (learning rate {metrics['learning_rate']:g})",
        )

    def outcome(self, state: OutcomeState, *, cause: str | None = None, message: str | None = None) -> Outcome:
        """Return the outcome of the trial with the epochs done so far."""
        progress, best = self._progress, self._best
        if state == "complete" and self._task.spec.objective.last_epochs is not None:
            best = self._engine.weights()
        return Outcome(
            state=state,
            epochs=progress.epoch,
            parameters=self._engine.parameters,
            history=tuple(progress.history),
            best_epoch=progress.best_epoch,
            value=progress.best_value,
            weights=best,
            predictions=self._predictions(),
            cause=cause,
            message=message,
        )

    def _predictions(self) -> KeptPredictions | None:
        logs, epoch = self._best_logs, self._progress.best_epoch
        if logs is None or epoch is None:
            return None
        return KeptPredictions(epoch, self._split, self._validation, self._validation_labels, self._class_names, logs)
