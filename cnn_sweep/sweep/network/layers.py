"""The layers of a network as data: ``model.layers`` of a sweep file with all references filled in.

Values in short form, such as ``kernel_size: 3``, are converted to the long form here, so that other code sees only one
form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from cnn_sweep.messages import near, unknown
from cnn_sweep.sweep.network.pretrained import pretrained
from cnn_sweep.validation import Count, Factor, Pair, Rate, Spec

if TYPE_CHECKING:
    from collections.abc import Sequence


Activation = Literal["linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softmax"]
Padding = Literal["valid", "same"]


class L2(Spec):
    """Weight penalty ``l2 * sum(w ** 2)``, added to the loss."""

    l2: Factor


class Base(Spec):
    """A model of ``keras.applications`` without its top, as the first layer; images have values from 0 to 255.

    ``trainable`` is true, false, or the name of the first layer that is trained.
    """

    SHORT = "name"
    kind: Literal["base"] = "base"
    name: str
    weights: str = "imagenet"  # imagenet, none (random), or a file relative to the sweep file
    trainable: bool | str = False
    extract: bool = False  # compute its outputs once and share them among trials

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in pretrained():
            raise ValueError(unknown("model", name, list(pretrained())))
        return name

    @model_validator(mode="after")
    def _can_be_trained(self) -> Base:
        names = pretrained()[self.name].layer_names
        if isinstance(self.trainable, str) and self.trainable not in names:
            raise ValueError(f"trainable: {unknown_layer_message(self.name, self.trainable, names)}")
        if self.extract and self.weights == "none":
            raise ValueError("outputs that all trials share (extract) need weights that all trials share, not none")
        if self.extract and self.trainable is not False:
            raise ValueError(
                "outputs that are computed once (extract) need a base that is not trained: trainable: false"
            )
        return self


def unknown_layer_message(base: str, name: str, names: Sequence[str]) -> str:
    """Return the message for a layer name that a base does not have."""
    shown = f"{', '.join(names[:3])}, ... {names[-1]}" if len(names) > 30 else ", ".join(names)
    return f"{base} has no layer {name!r} with weights{near(name, names)}; it has {shown}"


class Conv2D(Spec):
    """2-D convolution over (height, width, channels)."""

    kind: Literal["conv2d"] = "conv2d"
    filters: Count
    kernel_size: Pair
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    activation: Activation = "linear"
    kernel_regularizer: L2 | None = None


class SeparableConv2D(Spec):
    """Depthwise convolution followed by a pointwise one."""

    kind: Literal["separable_conv2d"] = "separable_conv2d"
    filters: Count
    kernel_size: Pair
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    activation: Activation = "linear"
    kernel_regularizer: L2 | None = None


class Pool(Spec):
    """Maximum or average over windows; ``strides`` defaults to the window's size."""

    SHORT = "size"
    kind: Literal["pool"] = "pool"
    # The key in the file is `kind`, but that name is taken by the field for the layer's name.
    FILE_KEYS: ClassVar[Mapping[str, str]] = {"pooling": "kind"}
    pooling: Literal["max", "average"] = "max"
    size: Pair = (2, 2)
    strides: Pair | None = None
    padding: Padding = "valid"


class GlobalPool(Spec):
    """Maximum or average over the whole map: (height, width, channels) to (channels,)."""

    SHORT = "pooling"
    FILE_KEYS: ClassVar[Mapping[str, str]] = {"pooling": "kind"}
    kind: Literal["global_pool"] = "global_pool"
    pooling: Literal["max", "average"] = "average"


class BatchNorm(Spec):
    """Batch normalisation over the last axis."""

    kind: Literal["batch_norm"] = "batch_norm"
    momentum: Annotated[float, Field(ge=0.0, le=1.0)] = 0.99
    epsilon: Annotated[float, Field(gt=0.0)] = 1e-3


class Dropout(Spec):
    """Sets each value to 0 with probability ``rate`` during training."""

    SHORT = "rate"
    kind: Literal["dropout"] = "dropout"
    rate: Rate


class SpatialDropout(Spec):
    """Sets each channel to 0 with probability ``rate`` during training."""

    SHORT = "rate"
    kind: Literal["spatial_dropout"] = "spatial_dropout"
    rate: Rate


class Dense(Spec):
    """Fully connected layer over the last axis."""

    SHORT = "units"
    kind: Literal["dense"] = "dense"
    units: Count
    activation: Activation = "linear"
    kernel_regularizer: L2 | None = None


class Flatten(Spec):
    """(height, width, channels) to (height * width * channels,)."""

    kind: Literal["flatten"] = "flatten"


class Activate(Spec):
    """An activation as a separate layer (``activation: relu``)."""

    SHORT = "activation"
    kind: Literal["activation"] = "activation"
    activation: Activation


class Output(Spec):
    """The last layer: dense, with a unit per class (``units=None``) or one sigmoid unit (``units=1``)."""

    SHORT = "activation"
    kind: Literal["output"] = "output"
    activation: Literal["softmax", "sigmoid"] = "softmax"
    units: Literal[1] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Output:
        if self.units == 1 and self.activation == "softmax":
            raise ValueError("softmax over one unit is always 1; use sigmoid, or leave units out")
        return self


Layer = Annotated[
    Base
    | Conv2D
    | SeparableConv2D
    | Pool
    | GlobalPool
    | BatchNorm
    | Dropout
    | SpatialDropout
    | Dense
    | Flatten
    | Activate
    | Output,
    Field(discriminator="kind"),
]
