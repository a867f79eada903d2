"""Models that are made of a study's trials: ensembles, calibrated models, and networks trained with all images."""

from __future__ import annotations

import json
from itertools import pairwise

import keras
import numpy as np
import pytest
from helpers import kept

from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.execution.models import client as models
from cnn_sweep.execution.models.mixture import Mixture
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.report.models.calibration import calibration_of
from cnn_sweep.report.models.mixtures import MixtureOptions, mixture_of
from cnn_sweep.report.models.requested_images import prepared_data
from cnn_sweep.report.models.validated import validated
from cnn_sweep.store import queries
from cnn_sweep.study import Study
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.network.export import export_ensemble

SWEEP = """
study: plain
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3, activation: relu, kernel_regularizer: {l2: 0.01}}
    - flatten
    - output: softmax
space: {filters: [2, 3]}
models: {keep: 2}
training: {epochs: 3, batch_size: 64, optimizer: {name: adam, learning_rate: 0.01}}
"""
FOLDED = SWEEP.replace("plain", "folded").replace("validation: 0.2", "folds: 2").replace("[2, 3]", "[2]")


@pytest.fixture(scope="module")
def plain(here):
    """A study of two trials."""
    here.train(Sweep.parse(SWEEP))
    return StudyFolder.open(here.results, "plain")


@pytest.fixture(scope="module")
def folded(here):
    """A study of one configuration in two folds."""
    here.train(Sweep.parse(FOLDED))
    return StudyFolder.open(here.results, "folded")


def _predict(file, images):
    return keras.models.load_model(file, compile=False).predict(images, verbose=0)


def _at(probabilities, temperature):
    powers = probabilities.astype(float) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def _tests(here, study):
    return queries.list_tests(Study.open(here.results, study).store, study)


def test_an_ensemble_is_one_model(plain, here, tmp_path):
    """Its probabilities are the mean of its members', each as often as it was chosen."""
    rows = here.table("ensemble", "plain", "--size", 3, "--output", tmp_path / "mean.keras")
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1)
    validation = load(prepared_data(here.results, "plain")).validation
    expected = sum(
        float(row["weight"])
        * models.predict_split(
            here.results, "plain", "validation", trial=int(row["member"].removeprefix("trial "))
        ).probabilities
        for row in rows
    )
    np.testing.assert_allclose(_predict(tmp_path / "mean.keras", validation.x), expected, atol=1e-6)
    several = Mixture(folds=((0, 0, 1),), is_ensemble=True)
    assert str(several) == "ensemble of trials 0 (2 times), 1"
    assert str(Mixture(folds=((4, 4), (7, 7)), is_ensemble=True)) == "ensemble of trials 4, 7"
    models.save_model(here.results, "plain", tmp_path / "weighted.h5", mixture=several)
    one, other = (models.predict_split(here.results, "plain", "validation", trial=n).probabilities for n in (0, 1))
    np.testing.assert_allclose(_predict(tmp_path / "weighted.h5", validation.x), (2 * one + other) / 3, atol=1e-6)


def test_a_calibrated_model_has_the_temperature_in_it(plain, here, tmp_path):
    """Its outputs are the kept predictions at the temperature that `calibration` names, and sum to 1."""
    here("model", "plain", "--calibrated", "--output", tmp_path / "calibrated.keras")
    (own,) = validated(here.results, "plain", [None])
    temperature = calibration_of(own).temperature
    assert f"temperature {temperature:.3g}" in here("calibration", "plain")
    images = load(prepared_data(here.results, "plain")).validation.x
    exact = models.predict_split(here.results, "plain", "validation").probabilities
    found = _predict(tmp_path / "calibrated.keras", images)
    np.testing.assert_allclose(found, _at(exact, temperature), atol=1e-6)
    np.testing.assert_allclose(found, _at(own.probabilities, temperature), atol=1e-3)  # kept in 16 bits
    np.testing.assert_array_equal(found.argmax(axis=1), exact.argmax(axis=1))


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_a_sigmoid_is_calibrated_like_two_classes(tmp_path, temperature):
    """A single unit is the probability of the second class: that of its logit divided by the temperature."""
    inputs = keras.Input((1,))
    keras.Model(inputs, keras.layers.Activation("sigmoid")(inputs)).save(tmp_path / "sigmoid.keras")
    export_ensemble([[tmp_path / "sigmoid.keras"]], tmp_path / "scaled.keras", temperature)
    logits = np.linspace(-8, 8, 33, dtype=np.float32)[:, None]
    expected = 1 / (1 + np.exp(-logits.astype(float) / temperature))
    np.testing.assert_allclose(_predict(tmp_path / "scaled.keras", logits), expected, rtol=1e-3)
    outputs = _predict(tmp_path / "scaled.keras", np.array([[-200.0], [200.0]], np.float32))
    np.testing.assert_allclose(outputs, [[0], [1]], atol=1e-6)


def test_finalize_measures_an_ensemble(plain, here, tmp_path):
    """Its score is that of the exported model on the test images; it is no trial's score, and trials keep none."""
    shown = here("finalize", "plain", "--ensemble", "--size", 2, "--calibrated")
    here("ensemble", "plain", "--size", 2, "--calibrated", "--output", tmp_path / "mean.keras")
    (row,) = _tests(here, "plain")
    assert row["model"] == "calibrated ensemble"
    assert len(row["networks"]) == 2
    test = load(prepared_data(here.results, "plain"), splits=("test",)).splits["test"]
    probabilities = _predict(tmp_path / "mean.keras", test.x)
    assert row["metrics"]["test_accuracy"] == np.mean(probabilities.argmax(axis=1) == test.y)
    assert f"test_accuracy {row['metrics']['test_accuracy']:.4f}, 95% interval" in shown
    loss = -np.log(probabilities[np.arange(len(test.y)), test.y]).mean()
    assert 0 < row["metrics"]["test_loss"] - loss < 0.1  # the mean of the members' penalties
    assert not [name for name in Study.open(here.results, "plain").leaderboard_table().columns if "test_" in name]
    assert "calibrated ensemble of trial" in shown


def test_a_temperature_scales_each_fold_before_the_mean(folded, here, tmp_path):
    """It was fitted to predictions of single networks, so it scales each network's, not those of their mean."""
    here("model", "folded", "--calibrated", "--output", tmp_path / "calibrated.keras")
    temperature = mixture_of(here.results, "folded", MixtureOptions(calibrated=True)).temperature
    images = load(prepared_data(here.results, "folded")).train.x[:40]
    alone = []
    for trial in range(2):
        here("model", "folded", "--trial", trial, "--output", tmp_path / f"{trial}.keras")
        alone.append(_at(_predict(tmp_path / f"{trial}.keras", images), temperature))
    np.testing.assert_allclose(_predict(tmp_path / "calibrated.keras", images), np.mean(alone, axis=0), atol=1e-6)


def test_a_configuration_is_trained_again_with_all_images(folded, here, monkeypatch, capfd):
    """`finalize --refit` trains it once, for the median of the folds' best epochs, and measures that network."""
    from cnn_sweep.training.trial.trainer import Trainer

    trained = []
    train = Trainer.train

    def noted(self, *arguments, **keywords):
        outcome = train(self, *arguments, **keywords)
        trained.append((len(self._dataset.train.y), self._dataset.folds, outcome))
        return outcome

    monkeypatch.setattr(Trainer, "train", noted)
    shown = here("finalize", "folded", "--refit")
    ((images, folds, outcome),) = trained
    assert folds is None
    assert images == len(load(prepared_data(here.results, "folded")).train.y)
    best = sorted(row["best_epoch"] for row in Study.open(here.results, "folded").leaderboard_table().rows)
    assert outcome.epochs == len(outcome.history) == best[1]
    assert f"refit of trial 0 ({best[1]} epochs with all images but those of the test set): test_accuracy" in shown
    (row,) = _tests(here, "folded")
    assert (row["model"], row["epochs"], row["networks"]) == ("refit", best[1], [0])
    file = folded.paths.refit(0, best[1])
    for given, expected in zip(
        keras.models.load_model(file, compile=False).get_weights(), outcome.weights, strict=True
    ):
        np.testing.assert_array_equal(given, expected)
    here("finalize", "folded", "--refit")
    assert len(trained) == 1  # the network is kept, and the same score is nothing new
    assert "WARNING" not in capfd.readouterr().err


class _Interrupted:
    """A monitor that stops a training after its first epoch, and keeps the checkpoint."""

    def __init__(self):
        self.state = None
        self.epochs = 0

    def epoch(self, *_):
        self.epochs += 1

    def checkpoint(self, state, _):
        self.state = state

    def checkpoint_later(self, *_):
        pass

    def decision(self):
        return "continue"

    def should_stop(self):
        return self.epochs == 1


def test_training_with_all_images_continues_bit_for_bit(plain):
    """Interrupted after its first epoch, it ends with the weights of one that ran through."""
    from cnn_sweep.execution.models.model_files import _Silent
    from cnn_sweep.execution.worker.study_trainer import StudyTrainer

    trainer, spec = StudyTrainer(plain), plain.sweep.resolve({"filters": 2})
    stopped = _Interrupted()
    assert trainer.refit(spec, seed=5, epochs=2, monitor=stopped, resume=None).state == "interrupted"
    ends = [trainer.refit(spec, seed=5, epochs=2, monitor=_Silent(), resume=state) for state in (None, stopped.state)]
    assert [(end.state, end.epochs, end.best_epoch) for end in ends] == [("complete", 2, 2)] * 2
    for one, other in zip(*(end.weights for end in ends), strict=True):
        np.testing.assert_array_equal(one, other)


def test_joined_images_are_those_of_all_splits_but_the_test(plain, folded, here):
    """With mirror images, those of the validation images are added, too; a split is validated as before."""
    for study in ("plain", "folded"):
        dataset = load(prepared_data(here.results, study))
        joined = dataset.joined(mirror=True)
        seen = len(dataset.train.y) + (2 * len(dataset.validation.y) if study == "plain" else 0)
        assert len(joined.train.y) == len(joined.train.x) == seen
        np.testing.assert_array_equal(joined.validation.x, dataset.of_fold(0).validation.x)
    own = load(prepared_data(here.results, "plain"))
    n = len(own.validation.y)
    train = own.joined(mirror=True).train
    np.testing.assert_array_equal(train.x[-n:], train.x[-2 * n : -n, :, ::-1])
    np.testing.assert_array_equal(train.y[-n:], own.validation.y)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finalize", "plain", "--ensemble", "--refit"], "--refit trains one configuration.*give one of them"),
        (["finalize", "plain", "--top", 2, "--refit"], "--top 2 evaluates trials; leave out --ensemble"),
        (["ensemble", "plain", "--calibrated"], "give --output FILE.keras as well"),
        (["ensemble", "plain", "--output", "mean.onnx"], "must end in .keras or .h5"),
        (["model", "plain", "--trial", 7, "--calibrated", "--output", "m.keras"], "there is no trial 7"),
    ],
)
def test_mistakes_are_said(plain, here, words, message):
    """An impossible request gives one message."""
    with pytest.raises((InputError, StudyError), match=message):
        here(*words)


def test_what_follows_validation_images_cannot_be_trained_without(tmp_path, monkeypatch):
    """A schedule that needs validation images is named as the reason."""
    monkeypatch.setattr(kept, "TEXT", kept.TEXT.replace("epochs: 2,", "epochs: 2, schedule: {kind: plateau},"))
    kept.write_kept_study(tmp_path / "results", tmp_path)
    with pytest.raises(StudyError, match=r"its learning rate follows the validation images \(schedule: plateau\)"):
        mixture_of(tmp_path / "results", "kept", MixtureOptions(refit=True))


def test_every_test_is_journaled_with_what_was_measured(here, plain):
    """The journals have the networks, the temperature and the scores; they are in the order of time."""
    lines = [line[9:] for file in plain.paths.journals.iterdir() for line in file.read_bytes().splitlines()]
    tests = [found for line in lines if (found := json.loads(line))["type"] == "finalize"]
    assert all(one["model"] and one["temperature"] > 0 for one in tests)
    rows = _tests(here, "plain")
    assert all(one["time"] <= other["time"] for one, other in pairwise(rows))
