"""Export of trained trials as plain Keras models, which load without this package."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.filesystem import aside_of
from cnn_sweep.training.network.model import build_model, plain_model, to_probabilities
from cnn_sweep.training.network.precision import computing_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.data.dataset import Dataset
    from cnn_sweep.training.outcome import Outcome

_SMALLEST: Final = float(np.finfo(np.float32).tiny)  # a probability of zero has no logarithm


def export_model(  # noqa: PLR0913 - all of them by name
    spec: TrialSpec, outcome: Outcome, *, dataset: Dataset, path: Path, folder: Path, seed: int = 0
) -> None:
    """Write the network with the weights of its best epoch as a ``.keras`` file.

    It maps images as stored (pixel values 0..255 if the data are uint8) to probabilities.
    The file appears complete or not at all.

    Args:
        spec: The trial.
        outcome: What `Trainer.train` returned.
        dataset: The data on which the trial was trained.
        path: The file, ending in ``.keras``.
        folder: Folder of the sweep file, with the user's modules.
        seed: The trial's seed; matters if the user's build function draws random numbers.

    Raises:
        CnnSweepError: The outcome has no weights.
    """
    _write(_model(spec, outcome, dataset, folder, seed), path)


def _write(model: Any, path: Path) -> None:
    aside = aside_of(path, ".keras")
    try:
        model.save(aside)
        aside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def export_ensemble(folds: Sequence[Sequence[Path]], path: Path, temperature: float | None = None) -> None:
    """Write a model whose probabilities are the means of those of other models for the same images.

    The file appears complete or not at all, and loads without this package.

    Args:
        folds: ``.keras`` files whose probabilities are averaged, for each fold; files that are named twice weigh twice.
        path: The file, ending in ``.keras``.
        temperature: By which the logarithms of each fold's mean are divided before the folds are averaged.
    """
    files = dict.fromkeys(member for fold in folds for member in fold)
    models = {file: keras.models.load_model(file, compile=False) for file in files}
    for number, model in enumerate(models.values()):
        model.name = f"member_{number}"
    inputs = keras.Input(next(iter(models.values())).input_shape[1:], name="image")
    outputs = {file: model(inputs) for file, model in models.items()}
    means = [_mean([outputs[member] for member in fold]) for fold in folds]
    if temperature is not None:
        means = [_calibrated(mean, temperature) for mean in means]
    _write(keras.Model(inputs, _mean(means)), path)


def _mean(outputs: Sequence[Any]) -> Any:
    return keras.layers.Average(dtype="float32")(outputs) if len(outputs) > 1 else outputs[0]


def _calibrated(probabilities: Any, temperature: float) -> Any:
    """Return probabilities at a temperature: the softmax of their logarithms divided by it (Guo et al. 2017).

    A single unit is the probability of the second of two classes.
    """
    given = keras.ops.cast(probabilities, "float32")
    is_single = given.shape[-1] == 1
    both = keras.ops.concatenate([1.0 - given, given], axis=-1) if is_single else given
    scores = keras.ops.log(keras.ops.maximum(both, _SMALLEST)) / temperature
    scaled = keras.layers.Activation("softmax", dtype="float32")(scores)
    return scaled[:, 1:] if is_single else scaled


def save_h5(model: Any, path: Path) -> None:
    """Write a model in Keras's legacy HDF5 format, for programs that read no other format."""
    # Suppresses the warning that the format is old: the user requested it.
    logging.getLogger("absl").setLevel(logging.ERROR)
    model.save(path)


def _model(spec: TrialSpec, outcome: Outcome, dataset: Dataset, folder: Path, seed: int) -> Any:
    if outcome.model is not None:
        return outcome.model
    if outcome.weights is None:
        raise CnnSweepError("no epoch of the trial has weights to export")
    if spec.layers is not None:
        with computing_in(spec.training):
            model = plain_model(spec.layers, dataset.info, rescale=dataset.rescale)
        model.set_weights(outcome.weights)
        return model
    with computing_in(spec.training):
        network = build_model(spec, seed, dataset.info, folder)
    network.set_weights(outcome.weights)
    activation = to_probabilities(network) if spec.training is not None and spec.training.engine == "fit" else None
    # A file with the optimizer of a nested model cannot be loaded, and predictions do not need it.
    network.compiled, network.optimizer = False, None
    inputs = keras.Input(dataset.info.image_shape, name="image")
    outputs = network(keras.layers.Rescaling(dataset.rescale)(inputs))
    if activation not in (None, keras.activations.linear):
        outputs = keras.layers.Activation(activation, dtype="float32")(outputs)
    return keras.Model(inputs, outputs)
