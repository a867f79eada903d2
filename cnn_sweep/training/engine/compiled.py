"""What a model of the user's was compiled with, where the trial trains with something else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnn_sweep.training.engine.losses import loss_name, output_units
from cnn_sweep.training.engine.schedules import base_rate

if TYPE_CHECKING:
    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.training import TrainingSpec


def compile_note(model: Any, training: TrainingSpec, info: ImageInfo, made_by: str) -> str | None:
    """Say which of a model's own settings and the sweep file's are used, where both are given and differ.

    Args:
        model: As the user's function returned it.
        training: The trial's settings.
        info: The images.
        made_by: The function, as the sweep file names it.

    Returns:
        A sentence for people; None where nothing is lost.
    """
    if not model.compiled:
        return None
    keeps = training.engine == "fit"
    loss = training.loss if keeps else loss_name(training, model, output_units(model, info))
    rate = base_rate(training.optimizer)
    own, file = _of_model(model), {"optimizer": training.optimizer.name, "learning rate": rate, "loss": loss}
    # Defaults that nobody wrote are no loss.
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
    """Return the settings that a model was compiled with; None for those that it has in a form of its own."""
    optimizer, loss = model.optimizer, model.loss
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # that of a scaled loss
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
        return math.isclose(own, file, rel_tol=1e-5)  # the model's is in 32 bits
    return own is None or own == file


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
