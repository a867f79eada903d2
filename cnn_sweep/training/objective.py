"""Trials that a function of the user's does as a whole: ``objective: {function: "module:function"}``."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras

from cnn_sweep.errors import InputError
from cnn_sweep.training.custom import load_function
from cnn_sweep.training.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cnn_sweep.sweep.trial import ObjectiveSpec, TrialSpec
    from cnn_sweep.training.data.dataset import Dataset
    from cnn_sweep.training.outcome import Monitor


class Context:
    """What an objective function gets.

    Attributes:
        params: The hyperparameters by name; inactive ones are absent.
        seed: The trial's seed.
        data: Training and validation images as stored; ``data.rescale`` is the factor for pixel values.
        history: What was reported so far.
    """

    def __init__(self, spec: TrialSpec, seed: int, dataset: Dataset, monitor: Monitor) -> None:
        self.params: dict[str, Any] = dict(spec.params)
        self.seed = seed
        self.data = dataset
        self.history: list[dict[str, float]] = []
        self._objective: ObjectiveSpec = spec.objective
        self._monitor = monitor
        self._reported_at = time.perf_counter()
        self._asked_to_stop = False

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report the metrics of an epoch; the objective must be among them.

        Args:
            epoch: 1, 2, 3, ...
            metrics: Numbers by name.

        Raises:
            InputError: The objective is missing, or the epoch is not the next one.
        """
        function, wanted = self._objective.function, self._objective.metric
        if wanted not in metrics:
            names = ", ".join(sorted(metrics)) or "nothing"
            raise InputError(f"{function} reported {names}, but the objective is {wanted!r}")
        if epoch != len(self.history) + 1:
            raise InputError(
                f"{function} reported epoch {epoch}, but the next one is {len(self.history) + 1}"
            )
        self.history.append({name: float(value) for name, value in metrics.items()})
        now = time.perf_counter()
        self._monitor.epoch(epoch, self.history[-1], now - self._reported_at)
        self._reported_at = now

    def should_stop(self) -> bool:
        """Tell whether the function should return soon; its trial then counts as interrupted."""
        self._asked_to_stop = self._asked_to_stop or self._monitor.should_stop()
        return self._asked_to_stop

    def outcome(self, model: Any) -> Outcome:
        """Return what the reports amount to."""
        epoch, value = self._best()
        state: Any = "interrupted" if self._asked_to_stop else "complete"
        cause: dict[str, Any] = {"state": state}
        if state == "complete" and epoch is None:
            message = f"{self._objective.function} reported no finite {self._objective.metric}"
            cause = {"state": "failed", "cause": "diverged", "message": message}
        return Outcome(
            epochs=len(self.history),
            parameters=None if model is None else int(model.count_params()),
            history=tuple(self.history),
            best_epoch=epoch,
            value=value,
            model=model,
            **cause,
        )

    def _best(self) -> tuple[int | None, float | None]:
        best: tuple[int | None, float | None] = (None, None)
        for epoch, metrics in enumerate(self.history, start=1):
            value = metrics[self._objective.metric]
            if math.isfinite(value) and (best[1] is None or self._objective.better(value, best[1])):
                best = (epoch, value)
        return best


def run_objective(spec: TrialSpec, seed: int, *, dataset: Dataset, monitor: Monitor, folder: Path) -> Outcome:
    """Call the user's ``function(context)``.

    It may return None, a ``keras.Model`` that is to be exported, or, where it reported nothing, the objective.

    Raises:
        InputError: There is no such function, or it returns something else.
    """
    reference = spec.objective.function or ""
    function = load_function(reference, folder)
    context = Context(spec, seed, dataset, monitor)
    keras.utils.set_random_seed(seed)
    result = function(context)
    if isinstance(result, int | float) and not context.history:
        context.report(1, {spec.objective.metric: float(result)})
        result = None
    if result is not None and not isinstance(result, keras.Model):
        raise InputError(
            f"{reference} must return None, a keras.Model or (having reported nothing) a number, "
            f"but returned {type(result).__name__}"
        )
    return context.outcome(result)
