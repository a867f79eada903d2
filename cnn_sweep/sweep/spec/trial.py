"""One trial as data: a sweep file with all references filled in, ready to be trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticKnownError

from cnn_sweep.messages import show
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.network.layers import Base, Layer, unknown_layer_message
from cnn_sweep.sweep.network.pretrained import pretrained
from cnn_sweep.sweep.spec.training import TrainingSpec
from cnn_sweep.validation import Count, Spec, added_later


def _direction(value: Any) -> Direction:
    """Convert the file's word, because a strict model accepts only members of the enum."""
    if value in tuple(Direction):
        return Direction(value)
    raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, map(str, Direction)))})


class MeanLastSpec(Spec):
    """A trial's value is the mean of the objective over its last epochs."""

    mean_last: Count  # number of epochs; all if a trial has fewer


def _best_last_or_mean(value: Any) -> Any:
    if value in ("best", "last") or isinstance(value, Mapping | MeanLastSpec):
        return value
    raise ValueError(f"must be best, last, or {{mean_last: 5}} for the mean of the last 5 epochs, not {show(value)}")


TrialValue = Annotated[
    Annotated[Literal["best", "last"], Tag("named")] | Annotated[MeanLastSpec, Tag("mean")],
    Discriminator(lambda value: "named" if isinstance(value, str) else "mean"),
    BeforeValidator(_best_last_or_mean),
]


class ObjectiveSpec(Spec):
    """An objective: a metric of the trainer, or one that the user's function reports."""

    metric: str = "val_accuracy"
    direction: Annotated[Direction, BeforeValidator(_direction)] = Direction.MAXIMIZE
    function: str | None = None  # "module:function"
    value: TrialValue = added_later("best")  # the epochs that a trial is judged by

    @property
    def last_epochs(self) -> int | None:
        """Number of last epochs whose mean is a trial's value; None if the value is that of its best epoch."""
        if isinstance(self.value, MeanLastSpec):
            return self.value.mean_last
        return 1 if self.value == "last" else None

    def result(self, values: Mapping[int, float | None]) -> tuple[int, float] | None:
        """Return the epoch whose weights are a trial's model, and the trial's value; None if it has no value.

        Of several best epochs the earliest counts. A mean over the last epochs needs a value in each of them: a network
        that ends in NaN has none.

        Args:
            values: The objective by epoch; None, NaN and infinity are no values.
        """
        last = self.last_epochs
        known = {epoch: v for epoch, v in values.items() if v is not None and math.isfinite(v)}
        if last is None:
            return min(known.items(), key=lambda one: (self.direction.key(one[1]), one[0]), default=None)
        newest = sorted(values)[-last:]
        if not newest or any(epoch not in known for epoch in newest):
            return None
        return newest[-1], fmean(known[epoch] for epoch in newest)


class TrialSpec(Spec):
    """A configuration of a sweep with all references filled in.

    Attributes:
        params: The hyperparameters; inactive ones are absent.
        layers: The network, with repeats unrolled; None if ``build`` or an objective function makes it.
        build: ``module:function``, called as ``build(params, image_shape, classes)``, or None.
        training: How it is trained; None if ``objective.function`` does everything.
        objective: What is optimised.
    """

    params: dict[str, Any]
    layers: tuple[Layer, ...] | None = None
    build: str | None = None
    training: TrainingSpec | None = None
    objective: ObjectiveSpec = ObjectiveSpec()


def training_stages(spec: TrialSpec) -> tuple[TrialSpec, ...]:
    """Return the one or two stages of a trial; the second one starts with the weights of the first.

    The stages differ only in the layers of the base that are trained, the number of epochs and the learning rate.
    """
    training = spec.training
    if training is None or training.fine_tune is None or not spec.layers:
        return (spec,)
    tune = training.fine_tune
    alone = training.model_copy(update={"fine_tune": None})
    optimizer = training.optimizer.model_copy(update={"learning_rate": tune.learning_rate})
    tuned = alone.model_copy(update={"epochs": tune.epochs, "optimizer": optimizer})
    base = spec.layers[0].model_copy(update={"trainable": tune.from_layer})
    return (
        spec.model_copy(update={"training": alone}),
        spec.model_copy(update={"training": tuned, "layers": (base, *spec.layers[1:])}),
    )


def find_conflict(spec: TrialSpec) -> str | None:
    """Return a message if settings of a trial exclude each other; otherwise None."""
    training, base = spec.training, spec.layers[0] if spec.layers else None
    tune = training.fine_tune if training else None
    if tune is not None:
        if not isinstance(base, Base):
            return "training.fine_tune needs a network whose first layer is a base"
        if base.trainable is not False or base.extract:
            reason = "training.fine_tune begins with a base that is neither trained nor extracted"
            return f"{reason}; leave out trainable and extract"
        names = pretrained()[base.name].layer_names
        if isinstance(tune.from_layer, str) and tune.from_layer not in names:
            return f"training.fine_tune.from: {unknown_layer_message(base.name, tune.from_layer, names)}"
    if isinstance(base, Base) and base.extract and training is not None:
        return _conflict_of_extraction(training)
    return None


def _conflict_of_extraction(training: TrainingSpec) -> str | None:
    if training.engine == "fit":
        return "base: extract is for the engine graph; leave out training.engine, or extract"
    if training.augmentation is not None:
        return (
            "base: extract computes the base's outputs once, so images cannot change from epoch to epoch; "
            "leave out training.augmentation, or extract"
        )
    return None
