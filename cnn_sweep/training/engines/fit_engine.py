"""The engine ``fit``: Keras's own training loop, for models with their own ``train_step`` or compiled settings."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from cnn_sweep.errors import InputError
from cnn_sweep.training.engines.augment import Augmentation, top_of
from cnn_sweep.training.engines.engine import Evaluation, Totals
from cnn_sweep.training.engines.losses import loss_name, output_units
from cnn_sweep.training.engines.schedules import base_rate
from cnn_sweep.training.network.built import compiled_form
from cnn_sweep.training.network.model import to_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.training import OptimizerSpec, TrainingSpec
    from cnn_sweep.training.data.dataset import Dataset, Split
    from cnn_sweep.training.engines.engine import Arrays, EpochPlan
    from cnn_sweep.training.outcome import Weights

    Example = tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]  # images and labels of a step

_ASK_EVERY_S = 1.0
_EVALUATION_BATCH = 32  # Keras's default


class FitEngine:
    """A Keras model trained with ``model.fit``; see `cnn_sweep.training.engines.engine.Engine`.

    A compiled model keeps its optimizer, loss and metrics; its labels are then one-hot, or integers if its loss is
    sparse.

    Args:
        model: From rescaled images to probabilities.
        training: Optimizer and loss, used if the model is not compiled.
        dataset: Training and validation images.
        scale: Factor by which stored pixel values are multiplied.
    """

    divisible = False

    def __init__(self, model: Any, training: TrainingSpec, dataset: Dataset, *, scale: float) -> None:
        self._model = model
        self._sets_rate = not model.compiled
        self._units = units = output_units(model, dataset.info)
        if not model.compiled:
            loss = keras_loss(training, loss_name(training, model, units))
            model.compile(optimizer=keras_optimizer(training.optimizer), loss=loss, metrics=["accuracy"])
        model.optimizer.build(model.trainable_variables)
        self.parameters = int(model.count_params())
        self.pace_s: float | None = None
        self._columns = None if "sparse" in _name(model.loss) else units
        if dataset.validation is None:
            raise ValueError("the data set has no validation images")
        self._train, self._validation = dataset.train, dataset.validation
        self._rescale = np.float32(scale)
        fill = training.augmentation.fill if training.augmentation else None
        self._augmentation = Augmentation(fill, top_of(dataset.train.x)) if fill else None

    def form(self) -> str | None:
        """Return a description that is equal for two engines of one data set only if one can replace the other.

        `restore` then gives one the `state` of the other. None if an engine can replace no other.
        """
        described = compiled_form(self._model)
        return None if described is None else f"fit {self._sets_rate} {self._rescale} {described}"

    def train(self, plan: EpochPlan, so_far: Totals, last: int, should_stop: Callable[[], bool]) -> Totals | None:
        """Train a whole epoch; return None if it was stopped before its end."""
        watch = _Watch(should_stop, plan.rates if self._sets_rate else None)
        weights = None if (plan.class_weights == 1).all() else dict(enumerate(plan.class_weights.tolist()))
        history = self._model.fit(
            _Steps(lambda step: self._batch(plan, step), len(plan.starts) - 1),
            class_weight=weights,
            shuffle=False,
            epochs=1,
            verbose=0,
            callbacks=[watch],
        )
        if watch.stopped and watch.steps < last:
            return None
        logs = self._numbers({name: values[-1] for name, values in history.history.items()}, "train_step")
        if not self._sets_rate:
            logs["learning_rate"] = float(self._model.optimizer.learning_rate)
        size = len(plan.order)
        return Totals(
            step=so_far.step + watch.steps,
            loss_sum=logs["loss"] * size,
            correct=self._accuracy(logs) * size,
            more=logs,
        )

    def _numbers(self, logs: dict[str, Any], step: str) -> dict[str, float]:
        """Return the metrics of an epoch that are single numbers.

        Raises:
            InputError: The loss is missing.
        """
        numbers = {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
        if "loss" in numbers:
            return numbers
        raise InputError(
            f"{step} of {type(self._model).__name__} must report its loss as 'loss', "
            f"but reported {', '.join(sorted(numbers)) or 'nothing'}"
        )

    def _accuracy(self, logs: dict[str, float]) -> float:
        """Return the accuracy, under any of the names that compiled models use; NaN if there is none."""
        kinds: tuple[Any, ...] = (keras.metrics.CategoricalAccuracy, keras.metrics.SparseCategoricalAccuracy)
        if self._units == 1:
            kinds = (*kinds, keras.metrics.BinaryAccuracy)
        compiled = [m for metric in self._model.metrics for m in getattr(metric, "metrics", [metric])]
        names = ["accuracy", "acc", *(metric.name for metric in compiled if isinstance(metric, kinds))]
        return next((logs[name] for name in names if name in logs), math.nan)

    def _batch(self, plan: EpochPlan, step: int) -> Example:
        index = plan.order[plan.starts[step] : plan.starts[step + 1]]
        images = self._train.x[index].astype(np.float32)
        if self._augmentation is not None:
            seed = tf.constant([plan.seed, plan.steps_before + step], tf.int64)
            images = self._augmentation.apply(tf.constant(images), tf.constant(plan.amounts), seed).numpy()
        return images * self._rescale, _labels(self._train, index, self._columns)

    def evaluate(self, plan: EpochPlan) -> Evaluation:
        """Evaluate the plan's validation images."""

        def batch(step: int) -> Example:
            index = plan.validation[step * _EVALUATION_BATCH : (step + 1) * _EVALUATION_BATCH]
            images = self._validation.x[index].astype(np.float32) * self._rescale
            return images, _labels(self._validation, index, self._columns)

        steps = _Steps(batch, -(-len(plan.validation) // _EVALUATION_BATCH))
        logs = self._numbers(self._model.evaluate(steps, verbose=0, return_dict=True), "test_step")
        made = to_probabilities(self._model)(self._model.predict(steps, verbose=0))
        return Evaluation(logs["loss"], np.asarray(made, np.float32), logs)

    def weights(self) -> Weights:
        """Return a copy of the model's weights."""
        return tuple(self._model.get_weights())

    def set_weights(self, weights: Weights) -> None:
        """Set the weights, in the order of `weights`."""
        self._model.set_weights(list(weights))

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return a copy of all variables: weights, random states, optimizer."""
        return {name: np.array(variable.value.numpy()) for name, variable in self._variables()}

    def restore(self, state: Arrays) -> None:
        """Set all variables."""
        for name, variable in self._variables():
            variable.assign(state[name])

    def _variables(self) -> list[tuple[str, Any]]:
        model = [(f"model/{k:04d}", variable) for k, variable in enumerate(self._model.variables)]
        optimizer = enumerate(self._model.optimizer.variables)
        return model + [(f"optimizer/{k:04d}", variable) for k, variable in optimizer]


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the learning rate of each step, and stops the epoch on request."""

    def __init__(self, should_stop: Callable[[], bool], rates: npt.NDArray[np.float32] | None) -> None:
        super().__init__()
        self._should_stop = should_stop
        self._rates = rates
        self._asked_at = time.monotonic()
        self.steps = 0
        self.stopped = False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras's signature
        """Set the learning rate."""
        if self._rates is not None:
            self.model.optimizer.learning_rate.assign(self._rates[batch])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras's signature
        """End the epoch if the trial should stop."""
        self.steps += 1
        if time.monotonic() - self._asked_at >= _ASK_EVERY_S:
            self._asked_at = time.monotonic()
            if self._should_stop():
                self.stopped = True
                self.model.stop_training = True


def keras_optimizer(spec: OptimizerSpec) -> Any:
    """Return the Keras optimizer for the settings in a sweep file."""
    names = {
        "sgd": ("momentum", "nesterov"),
        "rmsprop": ("rho", "momentum", "epsilon"),
        "adam": ("beta_1", "beta_2", "epsilon"),
        "adamw": ("beta_1", "beta_2", "epsilon"),
        "adagrad": ("epsilon",),
        "adadelta": ("rho", "epsilon"),
        "nadam": ("beta_1", "beta_2", "epsilon"),
    }[spec.name]
    settings = {name: getattr(spec, name) for name in (*names, "weight_decay")}
    settings = {name: value for name, value in settings.items() if value is not None}
    made: Any = keras.optimizers.get(
        {"class_name": spec.name, "config": {"learning_rate": base_rate(spec), **settings}}
    )
    made.global_clipnorm = spec.clip_norm
    return made


def keras_loss(training: TrainingSpec, name: str) -> Any:
    """Return the named Keras loss for one-hot labels, with the sweep file's label smoothing."""
    binary = name == "binary_crossentropy"
    kind = keras.losses.BinaryCrossentropy if binary else keras.losses.CategoricalCrossentropy
    return kind(label_smoothing=training.label_smoothing)


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else str(getattr(loss, "name", getattr(loss, "__name__", "")))


class _Steps(keras.utils.PyDataset):  # type: ignore[misc]
    """Makes batches on demand, so that memory holds no second copy of the images."""

    def __init__(self, batch: Callable[[int], Example], count: int) -> None:
        super().__init__()
        self._batch = batch
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, step: int) -> Example:
        return self._batch(step)


def _labels(split: Split, index: npt.NDArray[np.int32], units: int | None) -> npt.NDArray[np.generic]:
    """Return labels, one-hot if ``units`` is given, otherwise integers."""
    labels = split.y[index]
    if units == 1:
        return labels.astype(np.float32)[:, np.newaxis]
    return labels if units is None else np.eye(units, dtype=np.float32)[labels]


def compile_note(model: Any, training: TrainingSpec, info: ImageInfo, made_by: str) -> str | None:
    """Describe which settings are used if a compiled model and the sweep file disagree.

    Args:
        model: The model that the user's function returned.
        training: The trial's settings.
        info: The images.
        made_by: The function's name in the sweep file.

    Returns:
        A sentence for the user; None if they agree.
    """
    if not model.compiled:
        return None
    keeps = training.engine == "fit"
    loss = training.loss if keeps else loss_name(training, model, output_units(model, info))
    rate = base_rate(training.optimizer)
    own, file = _of_model(model), {"optimizer": training.optimizer.name, "learning rate": rate, "loss": loss}
    # Only settings that the user wrote can conflict, not defaults.
    asked = {"optimizer", "learning rate"} if "optimizer" in training.model_fields_set else set()
    asked |= {"loss"} if "loss" in training.model_fields_set and training.loss != "auto" else set()
    differ = [name for name in file if not _same(own[name], file[name]) and (name in asked or not keeps)]
    if not differ:
        return None
    compiled = ", ".join(f"{name} {_shown(own[name])}" for name in differ)
    written = ", ".join(f"{name} {_shown(file[name])}" for name in differ)
    if keeps:
        return (
            f"{made_by} compiles its model with {compiled}, and `engine: fit` trains with that: the sweep file's "
            f"{written} is not used. To use it, do not compile the model, or compile it with values from `params`"
        )
    return (
        f"{made_by} compiles its model with {compiled}, which is not used: trials are trained with {written}, "
        "from `training` in the sweep file and its defaults. To train as compiled, write training: {engine: fit}"
    )


def _of_model(model: Any) -> dict[str, Any]:
    """Return the settings that a model was compiled with; None for any that cannot be compared."""
    optimizer, loss = model.optimizer, model.loss
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # unwraps a loss-scaling optimizer
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", None))
    return {
        "optimizer": None if optimizer is None else type(optimizer).__name__.lower(),
        "learning rate": _rate(optimizer),
        "loss": None if name is None else str(name).removeprefix("sparse_"),
    }


def _rate(optimizer: Any) -> float | None:
    try:
        return float(optimizer.learning_rate)
    except (AttributeError, TypeError, ValueError):
        return None


def _same(own: Any, file: Any) -> bool:
    if isinstance(own, float):
        return math.isclose(own, file, rel_tol=1e-5)  # the model stores it as float32
    return own is None or own == file


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
