"""One trial as data: a sweep file with all references filled in, ready to be trained."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticKnownError

from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.network.layers import Base, Layer, unknown_layer_message
from cnn_sweep.sweep.network.pretrained import pretrained
from cnn_sweep.sweep.spec.training import TrainingSpec
from cnn_sweep.validation import Spec


def _direction(value: Any) -> Direction:
    """Convert the file's word, because a strict model accepts only members of the enum."""
    if value in tuple(Direction):
        return Direction(value)
    raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, map(str, Direction)))})


class ObjectiveSpec(Spec):
    """An objective: a metric of the trainer, or one that the user's function reports."""

    metric: str = "val_accuracy"
    direction: Annotated[Direction, BeforeValidator(_direction)] = Direction.MAXIMIZE
    function: str | None = None  # "module:function"


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
