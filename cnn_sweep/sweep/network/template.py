"""Compiles ``model.layers`` of a sweep file; resolving it fills in references and unrolls ``repeat``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from cnn_sweep.messages import listed, missing, show, unknown
from cnn_sweep.sweep.expressions.expression import ABSENT
from cnn_sweep.sweep.network import layers as network
from cnn_sweep.sweep.space.templates import (
    InvalidValuesError,
    Node,
    SpecTemplate,
    compile_node,
    compile_spec,
    references,
)
from cnn_sweep.validation import InvalidValue, long_form

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.network.layers import Layer
    from cnn_sweep.validation import Spec

MAX_ROUNDS: Final = 1_000
MAX_LAYERS: Final = 10_000
INDEX: Final = "index"  # `$index` is the round of the innermost repeat, from 0

# Name of each layer in the file, and its model.
LAYERS: Final[dict[str, type[Spec]]] = {
    "conv2d": network.Conv2D,
    "separable_conv2d": network.SeparableConv2D,
    "pool": network.Pool,
    "global_pool": network.GlobalPool,
    "batch_norm": network.BatchNorm,
    "dropout": network.Dropout,
    "spatial_dropout": network.SpatialDropout,
    "dense": network.Dense,
    "flatten": network.Flatten,
    "activation": network.Activate,
    "base": network.Base,
    "output": network.Output,
}
NAMES: Final = (*LAYERS, "repeat")
ACTIVATIONS: Final = get_args(network.Activation)


@dataclass(frozen=True)
class Repeat:
    """Layers that are repeated.

    Attributes:
        times: Number of rounds; if absent, the layers are absent, too.
        layers: The layers of one round.
        path: Path of keys to it.
    """

    times: Node
    layers: tuple[SpecTemplate | Repeat, ...]
    path: KeyPath

    def rounds(self, params: Mapping[str, Any]) -> int:
        """Return the number of rounds for a configuration.

        Raises:
            InvalidValuesError: The value is not a whole number from 0 to ``MAX_ROUNDS``.
        """
        times = self.times.fill(params)
        if times is ABSENT:
            return 0
        if isinstance(times, float) and times.is_integer():
            times = int(times)
        if isinstance(times, bool) or not isinstance(times, int) or not 0 <= times <= MAX_ROUNDS:
            message = f"must be a whole number from 0 to {MAX_ROUNDS:,}, not {show(times)}"
            raise InvalidValuesError([InvalidValue((*self.path, "times"), "times", times, message)])
        return times

    def canonical(self) -> dict[str, Any]:
        """Return the canonical form, which is the same for all ways to write the same layers."""
        return {"repeat": self.times.canonical(), "layers": _canonical(self.layers)}


@dataclass(frozen=True)
class NetworkTemplate:
    """All layers of a network, compiled.

    Attributes:
        layers: The layers in the order of the file.
    """

    layers: tuple[SpecTemplate | Repeat, ...]

    @property
    def names(self) -> frozenset[str]:
        """The parameters that the network refers to."""
        return frozenset(name for name, _ in network_references(self.layers))

    def resolve(self, params: Mapping[str, Any]) -> tuple[Layer, ...]:
        """Return the layers for a configuration, with repeats unrolled.

        Raises:
            InvalidValuesError: With all mistakes in all layers.
        """
        layers: list[Layer] = []
        invalid: list[InvalidValue] = []
        for template, values in _unrolled(self.layers, params, invalid):
            try:
                layer = template.resolve(values)
            except InvalidValuesError as error:
                invalid += error.invalid
                continue
            if layer is not ABSENT:
                layers.append(layer)
            if len(layers) > MAX_LAYERS:
                message = f"the network has more than {MAX_LAYERS:,} layers"
                raise InvalidValuesError([*invalid, InvalidValue(template.path, "layers", None, message)])
        if invalid:
            raise InvalidValuesError(invalid)
        return tuple(layers)

    def static_errors(self) -> Iterator[InvalidValue]:
        """Yield the mistakes that do not depend on parameters."""
        for template in flatten_layers(self.layers):
            yield from template.static_errors()

    def canonical(self) -> list[dict[str, Any]]:
        """Return the canonical form, which is the same for all ways to write the same layers."""
        return _canonical(self.layers)


def _canonical(layers: tuple[SpecTemplate | Repeat, ...]) -> list[dict[str, Any]]:
    return [
        layer.canonical() if isinstance(layer, Repeat) else {"layer": layer.model.__name__, **layer.canonical()}
        for layer in layers
    ]


def _unrolled(
    layers: tuple[SpecTemplate | Repeat, ...], params: Mapping[str, Any], invalid: list[InvalidValue]
) -> Iterator[tuple[SpecTemplate, Mapping[str, Any]]]:
    for layer in layers:
        if isinstance(layer, SpecTemplate):
            yield layer, params
            continue
        try:
            rounds = layer.rounds(params)
        except InvalidValuesError as error:
            invalid += error.invalid
            continue
        for index in range(rounds):
            yield from _unrolled(layer.layers, {**params, INDEX: index}, invalid)


def flatten_layers(layers: tuple[SpecTemplate | Repeat, ...]) -> Iterator[SpecTemplate]:
    """Yield each layer once, including those inside repeats."""
    for layer in layers:
        if isinstance(layer, Repeat):
            yield from flatten_layers(layer.layers)
        else:
            yield layer


def network_references(
    layers: tuple[SpecTemplate | Repeat, ...], *, inside: bool = False
) -> Iterator[tuple[str, KeyPath]]:
    """Yield each parameter that layers refer to, with its path; ``$index`` only outside repeats (a mistake)."""
    for layer in layers:
        node = layer.times if isinstance(layer, Repeat) else layer.node
        yield from (found for found in references(node) if found[0] != INDEX or not inside)
        if isinstance(layer, Repeat):
            yield from network_references(layer.layers, inside=True)


def compile_network(value: Any, path: KeyPath, invalid: list[InvalidValue]) -> NetworkTemplate:
    """Compile ``model.layers``.

    Args:
        value: The value in the file.
        path: Path of keys to it.
        invalid: Mistakes in names, keys, references and the order of the layers are added to it.
    """
    layers = _compile_layers(value, path, invalid)
    outputs = [layer for layer in flatten_layers(layers) if layer.model is network.Output]
    message = "only the last layer can be an output layer"
    invalid += [InvalidValue(one.path, "output", None, message) for one in outputs if one is not layers[-1]]
    bases = [layer for layer in flatten_layers(layers) if layer.model is network.Base]
    message = "only the first layer can be a base, which receives the images"
    invalid += [InvalidValue(one.path, "base", None, message) for one in bases if one is not layers[0]]
    if isinstance(value, list) and not outputs:
        invalid.append(InvalidValue(path, "output", None, "the last layer must be 'output', as in `- output: softmax`"))
    return NetworkTemplate(layers)


def _compile_layers(value: Any, path: KeyPath, invalid: list[InvalidValue]) -> tuple[SpecTemplate | Repeat, ...]:
    if not isinstance(value, list) or not value:
        invalid.append(InvalidValue(path, "list", None, f"must be a list of layers, not {show(value)}"))
        return ()
    layers = [_compile_layer(item, (*path, index), invalid) for index, item in enumerate(value)]
    return tuple(layer for layer in layers if layer is not None)


def _compile_layer(item: Any, path: KeyPath, invalid: list[InvalidValue]) -> SpecTemplate | Repeat | None:
    name, value = _name_and_value(item, path, invalid)
    if name is None:
        return None
    path = path if isinstance(item, str) else (*path, name)
    if name == "repeat":
        return _compile_repeat(value, path, invalid)
    if name not in LAYERS:
        invalid.append(InvalidValue(path, "layer", None, _unknown_layer(name)))
        return None
    model = LAYERS[name]
    value = {} if value is None else long_form(value, model)
    return compile_spec(value, path, invalid, model=model)


def _unknown_layer(name: str) -> str:
    """Return the message for an unknown layer; for an activation, say how to write one."""
    if name in ACTIVATIONS:
        of_output = " or output: " + name if name in ("softmax", "sigmoid") else ""
        return f"unknown layer {show(name)}; write activation: {name}{of_output}; valid: {listed(NAMES)}"
    return unknown("layer", name, NAMES)


def _name_and_value(item: Any, path: KeyPath, invalid: list[InvalidValue]) -> tuple[str | None, Any]:
    if isinstance(item, str):
        return item, None
    if isinstance(item, dict) and len(item) == 1:
        return next(iter(item.items()))
    if isinstance(item, dict) and item:
        message = (
            f"a layer is one name with its settings, but here are {len(item)} keys: {listed(item)}; "
            "indent settings below their layer, and begin each layer with '-'"
        )
    else:
        message = f"must be a layer, not {show(item)}; valid: {listed(NAMES)}"
    invalid.append(InvalidValue(path, "layer", None, message))
    return None, None


def _compile_repeat(value: Any, path: KeyPath, invalid: list[InvalidValue]) -> Repeat | None:
    keys = ("times", "layers")
    if not isinstance(value, dict):
        message = f"must be a mapping with the keys {listed(keys)}, not {show(value)}"
        invalid.append(InvalidValue(path, "repeat", None, message))
        return None
    others = [key for key in value if key not in keys]
    invalid += [InvalidValue((*path, key), "unknown", None, unknown("key", key, keys)) for key in others]
    absent = missing(keys, value)
    invalid += [InvalidValue((*path, key), "missing", None, f"the key {key!r} is missing") for key in absent]
    times = compile_node(value.get("times", 0), (*path, "times"), invalid)
    layers = _compile_layers(value["layers"], (*path, "layers"), invalid) if "layers" in value else ()
    return Repeat(times, layers, path)
