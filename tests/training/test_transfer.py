"""Pretrained bases in networks: Keras's own models and preprocessing, frozen or not, resumed exactly."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from helpers.outcomes import assert_equal, resumed

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.sweep.network.layers import Base
from cnn_sweep.sweep.sweep import Sweep


def network(base, **settings):
    """Return a base under a small head."""
    head = ({"kind": "global_pool"}, {"kind": "dense", "units": 4, "activation": "relu"}, {"kind": "output"})
    return ({"kind": "base", "name": base, "weights": "none", **settings}, *head)


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV2", "DenseNet121", "EfficientNetB0", "ConvNeXtTiny"])
def test_preprocessing_is_that_of_the_model(name):
    """Images of 0..255 reach a base as its own preprocess_input gives them."""
    import importlib

    import keras

    from cnn_sweep.training.network.transfer import apply_base

    modules = {"VGG16": "vgg16", "MobileNetV2": "mobilenet_v2", "DenseNet121": "densenet", "ConvNeXtTiny": "convnext"}
    module = importlib.import_module(f"keras.applications.{modules.get(name, 'efficientnet')}")
    inputs = keras.Input((4, 5, 3))
    outputs = apply_base(lambda images: images, Base(name=name), inputs)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.float32)
    ours = pixels if outputs is inputs else keras.Model(inputs, outputs)(pixels).numpy()
    np.testing.assert_allclose(ours, module.preprocess_input(pixels.copy()), atol=2e-5)


LOAD = """
import sys
import numpy as np, keras
model = keras.models.load_model(sys.argv[1])
images = np.load(sys.argv[2]).astype(np.float32)
assert not [name for name in sys.modules if name.startswith("cnn_sweep")]
np.save(sys.argv[3], model.predict(images, verbose=0))
"""


def test_vgg16_trains_and_its_export_is_plain_keras(spec, recorder, tmp_path):
    """From stored pixels to probabilities the exported file gives what Keras gives that knows nothing of us."""
    import keras

    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.training.data.dataset import Dataset, Split
    from cnn_sweep.training.network.export import export_model
    from cnn_sweep.training.trial.trainer import Trainer

    random = np.random.default_rng(0)
    y = (np.arange(16) % 2).astype(np.int32)
    x = (random.integers(0, 120, (16, 32, 32, 3)) + 100 * y[:, None, None, None]).astype(np.uint8)
    dataset = Dataset(
        splits={"train": Split(x, y), "validation": Split(x[:6], y[:6])},
        info=ImageInfo(image_shape=(32, 32, 3), class_names=("cat", "dog")),
        rescale=1 / 255,
        fingerprint="made",
    )
    trial = spec(network("VGG16", trainable="block5_conv3"), epochs=1)
    outcome = Trainer(dataset).train(trial, 0, recorder())
    assert outcome.state == "complete", outcome.message
    assert outcome.parameters == 14_714_688 + 513 * 4 + 5 * 2
    path = tmp_path / "model.keras"
    export_model(trial, outcome, dataset=dataset, path=path, folder=tmp_path)
    np.save(tmp_path / "x.npy", x[:3])
    subprocess.run([sys.executable, "-c", LOAD, path, tmp_path / "x.npy", tmp_path / "y.npy"], check=True, timeout=120)

    vgg = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    vgg.set_weights(outcome.weights[:26])
    pooled = keras.ops.mean(vgg(keras.applications.vgg16.preprocess_input(x[:3].astype(np.float32))), axis=(1, 2))
    hidden = keras.ops.relu(pooled @ outcome.weights[26] + outcome.weights[27])
    wanted = keras.ops.softmax(hidden @ outcome.weights[28] + outcome.weights[29])
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), np.asarray(wanted), atol=1e-5)


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_what_is_frozen_stays_as_it_was(engine, tiny_base, spec, dataset, recorder):
    """A frozen layer's kernels and moving averages keep their bits; those from the named layer on move."""
    from cnn_sweep.training.trial.trainer import Trainer

    trainer = Trainer(dataset)
    moved = {}
    for trainable in (False, "conv2", True) if engine == "graph" else ("conv2",):  # `fit` compiles each of them twice
        trial = spec(network(tiny_base, trainable=trainable), epochs=1, engine=engine)
        still = trial.training.optimizer.model_copy(update={"name": "sgd", "learning_rate": 1e-30})
        start = trial.model_copy(update={"training": trial.training.model_copy(update={"optimizer": still})})
        outcome = trainer.train(trial, 0, recorder())
        begun = trainer.train(start, 0, recorder())
        pairs = zip(outcome.weights, begun.weights, strict=True)
        moved[trainable] = [bool((one != other).any()) for one, other in pairs]
    base = {trainable: flags[:12] for trainable, flags in moved.items()}
    assert base["conv2"][:6] == [False] * 6
    assert base["conv2"][6:8] == [True, True]
    if engine == "graph":
        assert base[False] == [False] * 12
        assert base[True][:2] == [True, True]
    assert all(flags[12] for flags in moved.values())


@pytest.mark.parametrize("trainable", [False, "conv2", True])
def test_networks_on_bases_resume_exactly(trainable, tiny_base, spec, dataset, recorder):
    """Interrupted trials on a base end with the bits of undisturbed ones, whatever the process did before."""
    from cnn_sweep.training.trial.trainer import Trainer

    trial = spec(network(tiny_base, trainable=trainable), epochs=2, augmentation={"rotation": 10})
    whole = Trainer(dataset).train(trial, 5, recorder())
    trainer = Trainer(dataset, chunk_s=0.0)
    trainer.train(trial, 6, recorder())
    assert_equal(resumed(trainer, trial, 5, polls=4, attempts=200), whole)
    assert trainer.misses == 1


def test_frozen_weights_are_not_in_checkpoints(tiny_base, spec, dataset, recorder):
    """What does not change is not written every few seconds."""
    from cnn_sweep.training.trial.checkpoint import unpack
    from cnn_sweep.training.trial.trainer import Trainer

    sizes = {}
    for trainable in (False, True):
        monitor = recorder(stop_after_polls=2)
        Trainer(dataset, chunk_s=0.0).train(spec(network(tiny_base, trainable=trainable)), 0, monitor)
        _, arrays = unpack(monitor.checkpoints[-1][0])
        sizes[trainable] = sum(array.size for name, array in arrays.items() if name.startswith("model/"))
    assert sizes[True] - sizes[False] == 4 * 9 + 4 + 16 + 296 + 32


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.usefixtures("tiny_base")
def test_weights_of_the_users_own(suffix, spec, dataset, recorder, tmp_path):
    """A base may begin with a file's weights; a file that does not fit, or is not there, is told."""
    import keras

    from cnn_sweep.training.trial.trainer import Trainer

    model = keras.applications.Tiny(include_top=False, weights=None, input_shape=(6, 6, 1), name="own")
    file = tmp_path / f"own{suffix}"
    model.save(file) if suffix == ".keras" else model.save_weights(file)
    trial = spec(network("Tiny", weights=str(file)), epochs=1)
    outcome = Trainer(dataset).train(trial, 0, recorder())
    for mine, theirs in zip(outcome.weights[:12], model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save(file) if suffix == ".keras" else other.save_weights(file)
    with pytest.raises(InputError, match="not weights of Tiny"):
        Trainer(dataset).train(trial, 0, recorder())
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        Trainer(dataset).train(trial, 0, recorder())


TEXT = """
study: dogs
data: {source: digits}
model: {layers: [{base: {name: $base}}, flatten, output]}
space: {base: [VGG16, ResNet50]}
training: {epochs: 1}
"""


def test_pretrained_weights_are_fetched_beforehand(monkeypatch, tmp_path):
    """A login node fetches each file once; where one is missing, the message names it and the command."""
    from cnn_sweep.training.network import base_weights

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(EnvironmentFault, match=r"vgg16_weights.*notop\.h5 does not exist.*cnn-sweep data prepare"):
        base_weights.require_weights(Base(name="VGG16"))
    fetched = []

    def download(name):
        fetched.append(name)
        file = base_weights.weights_file(Base(name=name))
        file.parent.mkdir(exist_ok=True)
        file.touch()

    monkeypatch.setattr(base_weights, "_download", download)
    for _ in range(2):
        files = base_weights.fetch_weights(Sweep.parse(TEXT))
    assert fetched == ["VGG16", "ResNet50"]
    assert all(file.parent == tmp_path / "models" for file in files)


def extracting(file, tiny_base, *, extract=True, **training):
    """Return a trial on a base whose weights are in a file."""
    from cnn_sweep.sweep.spec.trial import TrialSpec

    layers = network(tiny_base, weights=str(file), extract=extract)
    return TrialSpec(params={}, layers=layers, training={"epochs": 3, "batch_size": 8, **training})


def test_extracted_outputs_train_the_same_head(tiny_base, dataset, recorder, tmp_path, monkeypatch):
    """Outputs are computed once; a head on them learns what it learns on the base, and resumes exactly."""
    import keras

    from cnn_sweep.training.engines import features
    from cnn_sweep.training.evaluation.evaluate import predict
    from cnn_sweep.training.network.export import export_model
    from cnn_sweep.training.trial.trainer import Trainer

    file, root = tmp_path / "own.weights.h5", tmp_path / "data"
    keras.applications.Tiny(include_top=False, weights=None, input_shape=(6, 6, 1), name="own").save_weights(file)
    trial = extracting(file, tiny_base)
    trainer = Trainer(dataset, prepared=root, chunk_s=0.0)
    outcome = trainer.train(trial, 5, recorder())
    whole = Trainer(dataset).train(extracting(file, tiny_base, extract=False), 5, recorder())
    for mine, theirs in zip(outcome.history, whole.history, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    assert outcome.parameters == whole.parameters
    assert len(list(root.iterdir())) == 1
    # Another worker, and other trials, find them made.
    monkeypatch.setattr(features, "_compute", None)
    assert_equal(resumed(Trainer(dataset, prepared=root, chunk_s=0.0), trial, 5, polls=4, attempts=200), outcome)
    assert_equal(trainer.train(trial, 5, recorder()), outcome)
    path = tmp_path / "model.keras"
    export_model(trial, outcome, dataset=dataset, path=path, folder=tmp_path)
    hits = (predict(path, dataset.validation.x).argmax(axis=1) == dataset.validation.y).mean()
    assert hits == pytest.approx(outcome.history[outcome.best_epoch - 1]["val_accuracy"])


def test_what_excludes_extraction_is_told(tiny_base, dataset, recorder, tmp_path):
    """Images that change from epoch to epoch have no outputs to keep; nor has a base with random weights."""
    from cnn_sweep.training.trial.trainer import Trainer

    with pytest.raises(InputError, match="extract computes the base's outputs once"):
        Trainer(dataset).train(extracting(tmp_path, tiny_base, augmentation={"zoom": 0.1}), 0, recorder())
    with pytest.raises(ValueError, match="need weights that all trials share"):
        extracting("none", tiny_base)
