"""The key of a compiled graph, which trials with the same key share. Schedulers need it, so no TensorFlow here.

The key covers settings that change operations or shapes. Settings that change only numbers (rates, factors, seeds,
batch size, schedule) are inputs of the graph and not part of the key.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_sweep.sweep.network.layers import Layer
    from cnn_sweep.sweep.spec.training import TrainingSpec
    from cnn_sweep.sweep.spec.trial import TrialSpec


def graph_key(spec: TrialSpec) -> str:
    """Return a key that is equal for two trials on one data set if and only if they can share a graph.

    Networks that a user's function builds are known only when they are built (see `built_key`). Here, trials whose
    hyperparameters differ only in fractions have the same key: those are rates and factors more often than shapes.
    Each configuration of another engine has its own key.
    """
    if spec.training is None or spec.training.engine != "graph" or (spec.layers is None and spec.build is None):
        return "own:" + _digest(spec.model_dump(mode="json"))
    if spec.layers is None:
        params = {name: value for name, value in spec.params.items() if not isinstance(value, float)}
        return "build:" + _digest({"build": spec.build, "params": params, **_operations(spec.training)})
    return "graph:" + _digest({"layers": [_shape_of(layer) for layer in spec.layers], **_operations(spec.training)})


def built_key(form: str, training: TrainingSpec) -> str:
    """Return the key of a network that a user's function built.

    Args:
        form: What its graph computes, from `cnn_sweep.training.network.built.form`.
        training: The trial's settings.
    """
    return "built:" + _digest({"form": form, **_operations(training)})


def _shape_of(layer: Layer) -> dict[str, Any]:
    """Return a layer without the settings that are variables of the graph."""
    described = layer.model_dump(mode="json")
    described.pop("rate", None)
    if described.get("kernel_regularizer") is not None:
        described["kernel_regularizer"] = "l2"
    return described


def _operations(training: TrainingSpec) -> dict[str, Any]:
    """Return the settings of training that determine the operations of a step."""
    optimizer = training.optimizer
    return {
        "optimizer": optimizer.name,
        "nesterov": optimizer.name == "sgd" and optimizer.nesterov,
        "decays": optimizer.name == "adamw" or optimizer.weight_decay is not None,
        "clips": optimizer.clip_norm is not None,
        "loss": training.loss,
        "precision": training.precision,
        "fill": training.augmentation.fill if training.augmentation else None,
    }


def _digest(description: dict[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
