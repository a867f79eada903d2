"""Trials that consist of one call of the user's objective function: ``objective: {function: "module:function"}``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import keras

from cnn_sweep.errors import InputError
from cnn_sweep.messages import show
from cnn_sweep.training.network.user_functions import load_function
from cnn_sweep.training.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cnn_sweep.sweep.spec.trial import ObjectiveSpec, TrialSpec
    from cnn_sweep.training.data.dataset import Dataset
    from cnn_sweep.training.outcome import Monitor, OutcomeState


class Context:
    """The argument of an objective function.

    Attributes:
        params: The hyperparameters by name; inactive ones are absent.
        seed: The trial's seed.
        data: Training and validation images as stored; ``data.rescale`` is the factor for pixel values.
        history: Metrics reported so far, one dictionary per epoch.
        asked_to_stop: Whether `should_stop` has returned True.
        pruned: Whether the study's pruner has stopped the trial.
    """

    def __init__(self, spec: TrialSpec, seed: int, dataset: Dataset, monitor: Monitor) -> None:
        self.params: dict[str, Any] = dict(spec.params)
        self.seed = seed
        self.data = dataset
        self.history: list[dict[str, float]] = []
        self._objective: ObjectiveSpec = spec.objective
        self._monitor = monitor
        self._reported_at = time.perf_counter()
        self.asked_to_stop = False
        self.pruned = False

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report the metrics of an epoch; the objective must be among them.

        Args:
            epoch: 1, 2, 3, ...
            metrics: Numbers by name.

        Raises:
            InputError: The objective is missing, a metric is not a number, or the epoch is not the next one.
        """
        function, wanted = self._objective.function, self._objective.metric
        if wanted not in metrics:
            names = ", ".join(sorted(metrics)) or "nothing"
            raise InputError(f"{function} reported {names}, but the objective is {wanted!r}")
        if epoch != len(self.history) + 1:
            raise InputError(f"{function} reported epoch {epoch}, but the next one is {len(self.history) + 1}")
        self.history.append({name: self._number(name, value) for name, value in metrics.items()})
        now = time.perf_counter()
        self._monitor.epoch(epoch, self.history[-1], now - self._reported_at)
        self._reported_at = now
        self.pruned = self.pruned or self._monitor.decision() == "prune"

    def _number(self, name: str, value: Any) -> float:
        number = number_in(value)
        if number is None:
            # Python refuses to print very long integers.
            what = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else show(value)
            raise InputError(
                f"{self._objective.function} reported {name} = {what}; a metric is one number, "
                "of Python, NumPy or TensorFlow, that a float can hold"
            )
        return number

    def should_stop(self) -> bool:
        """Return whether the function should return soon; its trial then counts as interrupted, or as pruned."""
        if self.pruned:
            return True
        self.asked_to_stop = self.asked_to_stop or self._monitor.should_stop()
        return self.asked_to_stop

    def best(self) -> tuple[int | None, float | None]:
        """Return the epoch that ``objective.value`` chooses, and the trial's value; (None, None) if there is none."""
        values = {epoch: metrics[self._objective.metric] for epoch, metrics in enumerate(self.history, start=1)}
        return self._objective.result(values) or (None, None)


def number_in(value: Any) -> float | None:
    """Return a Python number, or a zero-dimensional array or tensor, as a float; None for anything else."""
    is_scalar = hasattr(value, "__float__") and not tuple(getattr(value, "shape", ()))
    if not is_scalar or isinstance(value, str) or "complex" in str(getattr(value, "dtype", "")):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


class UserTrial:
    """A trial that is one call of the user's ``function(context)``.

    The function may return None; a ``keras.Model`` to export unchanged, which takes images as stored; or the objective,
    if it reported nothing.

    Raises:
        InputError: There is no such function.
    """

    def __init__(self, spec: TrialSpec, seed: int, *, dataset: Dataset, monitor: Monitor, folder: Path) -> None:
        self._objective = spec.objective
        self._function = load_function(spec.objective.function or "", folder)
        self._context = Context(spec, seed, dataset, monitor)
        self._model: Any = None

    def go(self) -> Outcome:
        """Call the function.

        Raises:
            InputError: The function returned anything else, or reported invalid metrics.
        """
        keras.utils.set_random_seed(self._context.seed)
        result = self._function(self._context)
        if isinstance(result, keras.Model):
            self._model = result
        elif hasattr(result, "__float__") and not self._context.history:
            self._context.report(1, {self._objective.metric: result})
        elif result is not None:
            raise InputError(
                f"{self._objective.function} must return None, a keras.Model or (having reported nothing) a number, "
                f"but returned {type(result).__name__}"
            )
        if self._context.pruned:
            return self.outcome("pruned")
        if self._context.asked_to_stop:
            return self.outcome("interrupted")
        return self.outcome("complete")

    def outcome(self, state: OutcomeState, *, cause: str | None = None, message: str | None = None) -> Outcome:
        """Return the outcome of the trial with the metrics reported so far."""
        best_epoch, value = self._context.best()
        return Outcome(
            state=state,
            cause=cause,
            message=message,
            epochs=len(self._context.history),
            parameters=None if self._model is None else int(self._model.count_params()),
            history=tuple(self._context.history),
            best_epoch=best_epoch,
            value=value,
            model=self._model,
        )
