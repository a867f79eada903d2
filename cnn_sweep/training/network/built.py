"""Networks that a user's ``build`` function returns, and how trials share the graph of one.

Two of them can share a graph if Keras describes them by the same configuration, apart from names, initial weights, and
the rates and seeds of dropout; these are data of the graph. A configuration describes only what is Keras's own, so a
network with any code of the user's in it is traced for each trial.
"""

from __future__ import annotations

import json
import types
import warnings
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from cnn_sweep.training.network.dropout import KerasDropout, Rates, has_swappable_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

# What Keras raises for an object that it cannot describe or copy.
_UNKNOWN = (TypeError, ValueError, NotImplementedError, AttributeError, KeyError, RuntimeError, OSError)
_OWN_PACKAGES = {"builtins", "inspect", "keras", "tensorflow"}  # where attributes of Keras's layers come from


class BuiltNetwork:
    """The network of a user's ``build`` function.

    Attributes:
        model: A Keras model from rescaled images to probabilities.
        changing: Its variables that a checkpoint must hold, with their numbers in the model that was built.
    """

    def __init__(self, model: Any, rates: Rates | None = None) -> None:
        self.model = model
        self.changing = list(enumerate(model.variables))
        self._rates = rates

    def at_step(self, step: Any) -> None:
        """Do nothing: Keras's layers count their draws themselves."""

    def become(self, built: Any) -> None:
        """Take over weights, random states and dropout rates of another model of the same `form`."""
        mine, theirs = list(_dropouts(self.model)), list(_dropouts(built))
        if self._rates is not None:
            self._rates.reset([layer.rate for layer in theirs])
        # Keras gives a layer without a rate no random state.
        unused = {id(one.seed_generator.state) for one, other in zip(mine, theirs, strict=True) if other.rate == 0}
        self.changing = list(enumerate(one for one in self.model.variables if id(one) not in unused))
        for (_, variable), value in zip(self.changing, built.variables, strict=True):
            variable.assign(value)


def shared_network(model: Any) -> BuiltNetwork | None:
    """Return a copy of a model whose dropout rates can change; `become` gives it the weights of a trial.

    Returns:
        None if Keras cannot copy the model faithfully.
    """
    rates, index = Rates(len(list(_dropouts(model)))), {id(layer): k for k, layer in enumerate(_dropouts(model))}

    def copy(layer: Any) -> Any:
        if id(layer) in index:
            return KerasDropout(layer, rates, index[id(layer)])
        config = layer.get_config()
        weights = {name: "zeros" for name, value in config.items() if name.endswith("_initializer") and value}
        return type(layer).from_config({**config, **weights})

    for part in (model, *_layers(model)):
        if getattr(part, "compiled", False):
            part.compiled = False  # the graph has its own optimizer and loss, and others may not be copied
    try:
        with warnings.catch_warnings(action="ignore"):  # about lambdas of initializers
            twin = keras.models.clone_model(model, clone_function=copy, recursive=True)
    except _UNKNOWN:
        return None
    # Keras does not copy a model's own `trainable`, for instance.
    is_faithful = _names(model) == _names(twin) and _state(model) == _state(twin)
    return BuiltNetwork(twin, rates) if is_faithful else None


def form(model: Any, *, fixed_rates: bool = False) -> str | None:
    """Return a description that is equal for two models only if they can share a graph.

    Args:
        model: The model.
        fixed_rates: Whether dropout rates are constants of the graph.

    Returns:
        None for a model that can share no graph, because something in it is not Keras's own.
    """
    if not (_is_stock(model) and all(_is_stock(part) for part in _parts(model))):
        return None
    free = {"seed"} if fixed_rates else {"seed", "rate"}
    return _text(lambda: {"model": _of_model(model.get_config(), free), **_state(model)})


def compiled_form(model: Any) -> str | None:
    """Return a description that is equal for two compiled models only if ``model.fit`` can train one as the other.

    Returns:
        None for a model in which, or in whose loss, metrics or optimizer, something is not Keras's own.
    """
    optimizer, described = model.optimizer, form(model, fixed_rates=True)
    if described is None or hasattr(optimizer, "_exclude_from_weight_decay"):  # in no configuration
        return None

    def compiled() -> dict[str, Any]:
        settings = keras.saving.serialize_keras_object(optimizer)
        free = {"name", "learning_rate"} if isinstance(optimizer.learning_rate, keras.Variable) else {"name"}
        settings["config"] = _without(settings["config"], free)
        rest = _without(model.get_compile_config(), {"optimizer"})
        return {"optimizer": settings, "rest": rest, "eager": bool(model.run_eagerly), "model": described}

    return _text(compiled)


def _text(describe: Callable[[], dict[str, Any]]) -> str | None:
    """Return a configuration as text; None if something in it is not Keras's, or unknown to Keras."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about lambdas, which are refused here
            described = describe()
            return json.dumps(described, sort_keys=True) if _is_all_keras(described) else None
    except _UNKNOWN:
        return None


def _without(config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


def _parts(model: Any) -> Iterator[Any]:
    """Yield all operations of a model, and the layers inside others, such as in a wrapper."""
    for part in model.operations if hasattr(model, "operations") else model.layers:
        yield part
        if isinstance(part, keras.Model):
            yield from _parts(part)
        elif isinstance(part, keras.Layer):
            yield from part._flatten_layers(include_self=False)  # noqa: SLF001 - nothing public finds them


def _is_stock(part: Any) -> bool:
    """Return whether a layer or operation is Keras's, with nothing in it that is not.

    A function of the user's may depend on anything, although Keras describes it by its name. A tensor, such as the mean
    that a `Normalization` was adapted to, is a constant of the graph.
    """
    if type(part).__module__.partition(".")[0] != "keras" or isinstance(part, keras.layers.Lambda):
        return False
    if isinstance(part, keras.Model):
        return type(part).__name__ in {"Functional", "Sequential"} and "call" not in vars(part)
    return "call" not in vars(part) and all(
        name.endswith("_initializer") or _is_own(value)  # initial weights are data of the graph
        for name, value in vars(part).items()
    )


def _is_own(value: Any) -> bool:
    if isinstance(value, tf.Tensor | np.ndarray):
        return False
    value = getattr(value, "__func__", value)
    origin = value if isinstance(value, type | types.FunctionType) else type(value)
    return origin.__module__.partition(".")[0] in _OWN_PACKAGES


def _is_all_keras(node: Any) -> bool:
    """Return whether all objects in a configuration are of Keras's classes."""
    if isinstance(node, list | tuple):
        return all(_is_all_keras(one) for one in node)
    if not isinstance(node, dict):
        return True
    if node.get("class_name") == "__lambda__" or str(node.get("module") or "keras").partition(".")[0] != "keras":
        return False
    return all(_is_all_keras(one) for one in node.values())


def _of_model(config: Mapping[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Return the configuration of a model, with the places of layers instead of their names.

    Args:
        config: From Keras.
        free: Settings of dropout that are data of the graph.
    """
    places = {_name(entry): place for place, entry in enumerate(config["layers"])}
    ends = {key: _placed(config.get(key), places) for key in ("input_layers", "output_layers")}
    layers = [_of_layer(entry, places, free) for entry in config["layers"]]
    return _without(config, {"name"}) | ends | {"layers": layers}


def _of_layer(entry: Mapping[str, Any], places: Mapping[str, int], free: Collection[str]) -> dict[str, Any]:
    config = {
        name: value for name, value in entry["config"].items() if name != "name" and not name.endswith("_initializer")
    }
    if entry["class_name"] in {"Dropout", "SpatialDropout2D"}:
        config = _without(config, free)
    elif "layers" in config:
        config = _of_model(entry["config"], free)
    kept = {key: entry.get(key) for key in ("module", "class_name", "build_config")}
    return kept | {"config": config, "inbound_nodes": _placed(entry.get("inbound_nodes"), places)}


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["config"]["name"])


def _placed(node: Any, places: Mapping[str, int]) -> Any:
    """Return references to tensors, (layer, node, number), with the layer's place instead of its name."""
    if isinstance(node, dict):
        return {key: _placed(value, places) for key, value in node.items()}
    if not isinstance(node, list | tuple):
        return node
    match node:
        case [str(name), int(), int()] if name in places:
            return [places[name], *node[1:]]
        case _:
            return [_placed(one, places) for one in node]


def _state(model: Any) -> dict[str, Any]:
    """Return what the graph depends on in each weight of a model, and which layers are in it more than once."""
    trained = {id(variable) for variable in model.trainable_variables}
    numbers: dict[int, int] = {}
    return {
        "weights": [
            [list(variable.shape), str(variable.dtype), id(variable) in trained, _penalty(variable)]
            for variable in model.weights
        ],
        "places": [numbers.setdefault(id(layer), len(numbers)) for layer in _places(model)],
    }


def _names(model: Any) -> list[str]:
    """Return the names of a model's layers in order; Keras gives inputs new ones in a copy."""
    return [layer.name for layer in _layers(model) if not isinstance(layer, keras.layers.InputLayer)]


def _penalty(variable: Any) -> Any:
    regularizer = getattr(variable, "regularizer", None)
    return None if regularizer is None else keras.regularizers.serialize(regularizer)


def _dropouts(model: Any) -> Iterator[Any]:
    """Yield the dropout layers of a model whose rates are data of its graph."""
    return (layer for layer in _layers(model) if isinstance(layer, KerasDropout) or has_swappable_rate(layer))


def _layers(model: Any) -> Iterator[Any]:
    """Yield each layer of a model and of the models in it, once."""
    return iter({id(layer): layer for layer in _places(model)}.values())


def _places(model: Any) -> Iterator[Any]:
    """Yield the layers of a model and of the models in it, at each place where they are."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _places(layer)
