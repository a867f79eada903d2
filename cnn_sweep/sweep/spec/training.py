"""The section ``training`` of a sweep file: how one trial is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator

from cnn_sweep.errors import SettingError
from cnn_sweep.messages import show, unknown
from cnn_sweep.sweep.spec.metrics import CLASS_METRICS, METRICS, MORE_METRICS, find_metric
from cnn_sweep.validation import Count, Factor, Spec, added_later

if TYPE_CHECKING:
    from cnn_sweep.sweep.network.shapes import ImageInfo

MAX_THREADS = 4_096  # of a worker
OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw", "adagrad", "adadelta", "nadam"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Steps = Annotated[int, Field(ge=1, le=10_000_000)]


class OptimizerSpec(Spec):
    """An optimizer, with Keras's names and defaults. Settings that an optimizer does not use are ignored."""

    SHORT = "name"

    name: OptimizerName = "adam"
    learning_rate: Annotated[float, Field(gt=0.0)] | None = None  # None: Keras's default for that optimizer
    momentum: Decay = 0.0  # sgd, rmsprop
    nesterov: bool = False  # sgd
    rho: Decay | None = None  # rmsprop (0.9), adadelta (0.95)
    beta_1: Decay = 0.9  # adam, adamw, nadam
    beta_2: Decay = 0.999
    epsilon: Annotated[float, Field(gt=0.0)] = 1e-7
    weight_decay: Factor | None = None  # decoupled; adamw's default is 0.004
    clip_norm: Annotated[float, Field(gt=0.0)] | None = None  # largest norm of the whole gradient


class ScheduleSpec(Spec):
    """How the learning rate changes; times are in epochs.

    constant: lr. exponential: lr * rate ** (epoch / every). step: lr * rate ** floor(epoch / every).
    cosine: from lr to lr * floor over all epochs. plateau: lr * rate when the monitored metric has not
    improved for ``patience`` epochs, never below lr * floor. ``epoch`` is a real number that grows step by
    step.
    """

    SHORT = "kind"

    kind: Literal["constant", "exponential", "cosine", "step", "plateau"] = "constant"
    rate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    every: Annotated[float, Field(gt=0.0)] = 1.0
    patience: Count = 5
    floor: Fraction = 0.0
    warmup_epochs: Factor = 0.0  # linear from 0


class EarlyStoppingSpec(Spec):
    """Stop when a metric has not improved by ``min_delta`` for ``patience`` epochs."""

    patience: Count
    min_delta: Factor = 0.0
    monitor: str | None = added_later(None)  # the metric, such as val_loss; None: the objective


class AugmentationSpec(Spec):
    """Random changes to training images, as in Keras's ``ImageDataGenerator``.

    Each amount is the largest change, in either direction; 0 and false leave images unchanged.
    """

    rotation: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0  # degrees
    width_shift: Fraction = 0.0  # share of the width
    height_shift: Fraction = 0.0  # share of the height
    shear: Annotated[float, Field(ge=0.0, lt=90.0)] = 0.0  # degrees
    zoom: Fraction = 0.0  # height and width each times 1 - zoom to 1 + zoom
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness: Share = 0.0  # pixel values times 1 - brightness to 1 + brightness
    contrast: Share = 0.0  # distance from the channel's mean, likewise
    fill: Literal["nearest", "reflect", "constant"] = "nearest"  # beyond the edge: its pixels, a mirror, 0


def _weights_or_balanced(value: Any) -> Any:
    if isinstance(value, Mapping) or value == "balanced":
        return value
    raise ValueError(f"must be balanced, or a mapping from class names to weights, not {value!r}")


ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("balanced")]
    | Annotated[dict[str, Annotated[float, Field(gt=0.0)]], Tag("weights")],
    Discriminator(lambda value: "balanced" if value == "balanced" else "weights"),
    BeforeValidator(_weights_or_balanced),
]


class FineTuneSpec(Spec):
    """A second stage of training, in which layers of the base are trained, too."""

    FILE_KEYS: ClassVar[Mapping[str, str]] = {"from_layer": "from"}
    epochs: Count  # in addition to those of the first stage
    from_layer: bool | str  # first layer of the base that is trained; true: all
    learning_rate: Annotated[float, Field(gt=0.0)]

    @field_validator("from_layer")
    @classmethod
    def _is_a_layer(cls, value: bool | str) -> bool | str:  # noqa: FBT001 - as the file has it
        if value is False:
            raise ValueError("must be the name of a layer of the base, or true for all, not false")
        return value


def _metric_names(value: Any) -> Any:
    """Read the names of metrics, with or without ``val_``."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must be a list of metrics such as [kappa, recall], not {show(value)}")
    always = {one.name for one in METRICS}
    found = dict.fromkeys(name.removeprefix("val_") for name in names)
    for name in found:
        if name not in CLASS_METRICS and find_metric(name) is None:
            more = (*(one.name for one in MORE_METRICS), *CLASS_METRICS, "top_5_accuracy", "recall_CLASS")
            raise ValueError(unknown("metric", name, more))
    return tuple(name for name in found if name not in always)  # every trial reports those


MetricNames = Annotated[tuple[str, ...], BeforeValidator(_metric_names, json_schema_input_type=str | tuple[str, ...])]


class TrainingSpec(Spec):
    """How one trial is trained."""

    epochs: Count
    batch_size: Count = 32
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    loss: Literal["auto", "binary_crossentropy", "categorical_crossentropy"] = "auto"
    label_smoothing: Fraction = 0.0
    early_stopping: EarlyStoppingSpec | None = None
    engine: Literal["graph", "fit"] = "graph"
    checkpoint_every_s: Factor = 20.0  # seconds of training between checkpoints; 0: after every epoch
    augmentation: AugmentationSpec | None = added_later(None)
    precision: Precision = added_later("float32")  # of the computations in layers; weights, output, loss: float32
    class_weights: ClassWeights | None = added_later(None)  # weights in the training loss; 1 for other classes
    steps_per_epoch: Steps | None = added_later(None)  # None: one pass over the training images
    validation_steps: Count | None = added_later(None)  # batches of validation images; None: all images
    fine_tune: FineTuneSpec | None = added_later(None)
    metrics: MetricNames = added_later(())  # in addition to those that every trial reports
    threads: Annotated[int, Field(ge=1, le=MAX_THREADS)] | None = added_later(
        None
    )  # threads per worker, for the whole study, so not a hyperparameter; None: the first run decides

    @property
    def all_epochs(self) -> int:
        """Epochs of all stages."""
        return self.epochs + (self.fine_tune.epochs if self.fine_tune else 0)


def check_class_names(names: Iterable[str], info: ImageInfo) -> None:
    """Check that the data have these classes.

    Raises:
        SettingError: A class is missing.
    """
    for name in names:
        if name not in info.class_names:
            raise SettingError(unknown("class", name, info.class_names), ("training", "class_weights", name))
