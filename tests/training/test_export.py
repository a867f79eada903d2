"""Exported models are plain Keras models that predict what the trial's network predicted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cnn_sweep.errors import CnnSweepError, EnvironmentFault, InputError
from cnn_sweep.sweep.spec.trial import TrialSpec

LAYERS = (
    {"kind": "conv2d", "filters": 4, "kernel_size": 3, "kernel_regularizer": {"l2": 0.1}},
    {"kind": "batch_norm"},
    {"kind": "activation", "activation": "silu"},
    {"kind": "spatial_dropout", "rate": 0.1},
    {"kind": "separable_conv2d", "filters": 5, "kernel_size": 2, "kernel_regularizer": {"l2": 0.1}},
    {"kind": "pool", "pooling": "average", "size": 2, "padding": "same"},
    {"kind": "flatten"},
    {"kind": "dropout", "rate": 0.5},
    {"kind": "output"},
)
ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cnn_sweep":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


@pytest.fixture(scope="module")
def exported(dataset, recorder, tmp_path_factory):
    """A trained trial, its outcome and its file."""
    from cnn_sweep.training.network.export import export_model
    from cnn_sweep.training.trial.trainer import Trainer

    trial = TrialSpec(params={}, layers=LAYERS, training={"epochs": 3, "label_smoothing": 0.1})
    outcome = Trainer(dataset).train(trial, 0, recorder())
    path = tmp_path_factory.mktemp("models") / "17.keras"
    export_model(trial, outcome, dataset=dataset, path=path, folder=path.parent, seed=0)
    return trial, outcome, path


def test_the_file_holds_the_best_epoch(exported, dataset):
    """Validation metrics of the exported model are those that the trainer reported for its best epoch."""
    from cnn_sweep.training.evaluation.evaluate import evaluate

    trial, outcome, path = exported
    reported = outcome.history[outcome.best_epoch - 1]
    found = evaluate(path, dataset, split="validation", training=trial.training)
    for name in ("loss", "accuracy", "auc", "macro_f1"):
        assert found[f"validation_{name}"] == pytest.approx(reported[f"val_{name}"], abs=1e-6)
    assert [p.name for p in path.parent.iterdir()] == ["17.keras"]


def test_it_loads_where_this_package_is_not_installed(exported, dataset, tmp_path):
    """A process that cannot import cnn_sweep gets the same probabilities from raw pixels."""
    from cnn_sweep.training.evaluation.evaluate import predict

    _, _, path = exported
    images = dataset.splits["test"].x
    np.save(tmp_path / "images.npy", images)
    files = [str(path), str(tmp_path / "images.npy"), str(tmp_path / "out.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *files], check=True, timeout=120, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), predict(path, images), atol=1e-6)


def test_the_test_set_is_evaluated_by_name(exported, dataset):
    """Metrics of a split bear its name; a split that is not loaded is the caller's mistake."""
    from cnn_sweep.training.evaluation.evaluate import evaluate

    _, _, path = exported
    metrics = evaluate(path, dataset)
    assert list(metrics) == ["test_loss", "test_accuracy", "test_auc", "test_macro_f1"]
    sealed = type(dataset)(
        {k: v for k, v in dataset.splits.items() if k != "test"},
        dataset.info,
        dataset.rescale,
        dataset.fingerprint,
    )
    with pytest.raises(InputError, match="has no test images; it has train, validation"):
        evaluate(path, sealed)


BUILT = """
import keras

def build(params, image_shape, classes):
    x = keras.Input(image_shape)
    y = keras.layers.Dense(classes, activation=params["activation"])(keras.layers.Flatten()(x))
    model = keras.Model(x, y)
    if params["activation"] is None:
        model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return model
"""


@pytest.mark.parametrize(("activation", "engine"), [("softmax", "graph"), ("sigmoid", "graph"), (None, "fit")])
def test_a_built_model_is_exported_with_its_rescaling(activation, engine, dataset, recorder, tmp_path):
    """The file takes raw pixels, gives probabilities also where the network gives logits, and has the trial's loss."""
    from cnn_sweep.training.evaluation.evaluate import measure, predict
    from cnn_sweep.training.network.export import export_model
    from cnn_sweep.training.trial.trainer import Trainer

    (tmp_path / "exported_network.py").write_text(BUILT, encoding="utf-8")
    training = {"epochs": 2, "engine": engine, "label_smoothing": 0.0 if engine == "fit" else 0.1}
    trial = TrialSpec(params={"activation": activation}, build="exported_network:build", training=training)
    outcome = Trainer(dataset, folder=tmp_path).train(trial, 0, recorder())
    assert outcome.state == "complete", outcome.message
    path = tmp_path / "3.keras"
    export_model(trial, outcome, dataset=dataset, path=path, folder=tmp_path, seed=0)
    found = measure(path, dataset, split="validation", training=trial.training)
    reported = outcome.history[outcome.best_epoch - 1]
    for name in ("loss", "accuracy", "auc"):
        assert found.metrics[f"validation_{name}"] == pytest.approx(reported[f"val_{name}"], abs=1e-6)
    assert found.losses.mean() == pytest.approx(reported["val_loss"], abs=1e-6)
    probabilities = predict(path, dataset.splits["test"].x)
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    if activation != "sigmoid":
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_what_cannot_be_exported_or_loaded_is_named(exported, dataset, tmp_path):
    """A trial without weights and a file that is not a model give different messages."""
    from cnn_sweep.training.evaluation.evaluate import load_model
    from cnn_sweep.training.network.export import export_model
    from cnn_sweep.training.outcome import Outcome

    trial, _, path = exported
    with pytest.raises(CnnSweepError, match="no epoch of the trial has weights"):
        export_model(trial, Outcome("failed"), dataset=dataset, path=tmp_path / "m.keras", folder=tmp_path)
    (tmp_path / "torn.keras").write_bytes(path.read_bytes()[:100])
    for name in ("torn.keras", "missing.keras"):
        with pytest.raises(EnvironmentFault, match=name):
            load_model(tmp_path / name)
