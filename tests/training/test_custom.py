"""Functions of the user's: models that they build, and trials that they do as a whole."""

from __future__ import annotations

import math
import textwrap

import pytest
from helpers.outcomes import assert_equal

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.trial import TrialSpec

NETWORKS = """
import keras

def build(params, image_shape, classes):
    return keras.Sequential([
        keras.Input(image_shape),
        keras.layers.Conv2D(params["filters"], 3, activation="relu", kernel_regularizer="l2"),
        keras.layers.Dropout(0.3),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])

class Doubling(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.net = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")])
        self.calls = []

    def call(self, x, training=False):
        return self.net(x, training=training)

    def train_step(self, data):
        self.calls.append(1)
        return super().train_step(data)

def custom_step(params, image_shape, classes):
    model = Doubling(classes)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def no_model(params, image_shape, classes):
    return "a model"

def two_outputs(params, image_shape, classes):
    x = keras.Input(image_shape)
    return keras.Model(x, [x, x])

def fails(params, image_shape, classes):
    raise RuntimeError("no such block")
"""
OBJECTIVES = """
import keras, numpy as np

def train(context):
    for epoch in range(1, 4):
        if context.should_stop():
            return
        context.report(epoch, {"score": context.params["gain"] / epoch, "extra": epoch})

def with_model(context):
    model = keras.Sequential([keras.Input(context.data.info.image_shape), keras.layers.Flatten(),
                              keras.layers.Dense(3, activation="softmax")])
    context.report(1, {"score": float(model.layers[-1].kernel.numpy().sum())})
    return model

def number(context):
    return 0.25

def not_finite(context):
    context.report(1, {"score": float("nan")})

def wrong_metric(context):
    context.report(1, {"points": 1.0})

def wrong_epoch(context):
    context.report(0, {"score": 1.0})

def wrong_result(context):
    context.report(1, {"score": 1.0})
    return "done"

def fails(context):
    context.report(1, {"score": 1.5})
    raise RuntimeError("out of luck")
"""


@pytest.fixture
def trainer(dataset, tmp_path):
    """A trainer in a folder with modules of the user's."""
    from cnn_sweep.training.trial.trainer import Trainer

    (tmp_path / "networks.py").write_text(NETWORKS, encoding="utf-8")
    (tmp_path / "objectives.py").write_text(OBJECTIVES, encoding="utf-8")
    return Trainer(dataset, folder=tmp_path)


def built(function, **training):
    """Return a trial of a build function."""
    return TrialSpec(
        params={"filters": 3}, build=f"networks:{function}", training={"epochs": 3, "batch_size": 8, **training}
    )


def objective(function, **params):
    """Return a trial of an objective function."""
    return TrialSpec(params=params, objective={"metric": "score", "function": f"objectives:{function}"})


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_a_built_model_trains_repeatably(engine, trainer, recorder):
    """A build function's network is trained by either engine, its weights and dropout by the seed."""
    one = trainer.train(built("build", engine=engine), 1, recorder())
    again = trainer.train(built("build", engine=engine), 1, recorder())
    other = trainer.train(built("build", engine=engine), 2, recorder())
    assert one.state == "complete", one.message
    assert one.history == again.history != other.history
    assert one.parameters == 3 * 10 + 3 * (4 * 4 * 3 + 1)


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_a_built_model_resumes_exactly(engine, trainer, recorder):
    """Random states of Keras's layers, and of either engine's optimizer, are part of a checkpoint."""
    trial = built("build", engine=engine, checkpoint_every_s=0.0, optimizer={"name": "rmsprop"})
    notes = recorder()
    whole = trainer.train(trial, 1, notes)
    state, epoch = notes.checkpoints[0]
    assert epoch == 1
    resumed = trainer.train(trial, 1, recorder(), state)
    assert_equal(resumed, whole)


def test_a_custom_train_step_is_used_by_fit(trainer, recorder):
    """A model that comes compiled keeps its train_step, optimizer, loss and form of labels."""
    notes = recorder()
    outcome = trainer.train(built("custom_step", engine="fit"), 1, notes)
    assert outcome.state == "complete", outcome.message
    assert notes.epochs[-1]["loss"] < notes.epochs[0]["loss"]
    assert 0 <= notes.epochs[-1]["val_accuracy"] <= 1


def test_fit_gives_up_the_running_epoch_when_stopped(trainer, recorder, monkeypatch):
    """The engine fit goes back to the last whole epoch, and resumes from there exactly."""
    from cnn_sweep.training.engine import fit_learner

    monkeypatch.setattr(fit_learner, "_ASK_EVERY_S", 0.0)
    trial = built("build", engine="fit")
    whole = trainer.train(trial, 1, recorder())
    stopped = recorder(stop_after_polls=10)  # within the second epoch
    outcome = trainer.train(trial, 1, stopped)
    assert (outcome.state, outcome.epochs) == ("interrupted", 1)
    ((state, epoch),) = stopped.checkpoints
    assert epoch == 1
    assert trainer.train(trial, 1, recorder(), state).history == whole.history


def test_layers_trained_by_fit_come_close_to_the_graph(trainer, spec, recorder):
    """Both engines train the same network on the same order; without dropout they agree."""
    one = trainer.train(spec(epochs=3), 1, recorder())
    other = trainer.train(spec(epochs=3, engine="fit"), 1, recorder())
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert math.isclose(value, theirs[name], abs_tol=1e-5)


def test_mistakes_in_build_functions_are_explained(trainer, recorder, tmp_path):
    """Missing modules and functions, and what is no model, name the function and what is there."""
    (tmp_path / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    for reference, message in (
        ("networks:biuld", r"networks has no function 'biuld'; it has .*build"),
        ("network:build", r"the module 'network' cannot be imported from .*No module named 'network'"),
        ("broken:build", r"ModuleNotFoundError: No module named 'no_such_package'"),
        ("networks", r"'networks' must have the form module:function"),
        ("networks:no_model", r"must return a keras.Model, but returned str"),
        ("networks:two_outputs", r"must have one output"),
    ):
        trial = built("build").model_copy(update={"build": reference})
        with pytest.raises(InputError, match=message):
            trainer.train(trial, 0, recorder())


def test_an_exception_in_a_build_function_fails_its_trial(trainer, recorder):
    """The message names the line of the user's file."""
    outcome = trainer.train(built("fails"), 0, recorder())
    assert (outcome.state, outcome.cause) == ("failed", "exception")
    line = NETWORKS.splitlines().index('    raise RuntimeError("no such block")') + 1
    assert outcome.message == f"RuntimeError: no such block (networks.py:{line})"


def test_modules_of_one_name_in_two_folders_do_not_mix(dataset, spec, recorder, tmp_path):
    """Two studies in one process each get their own file."""
    from cnn_sweep.training.network.custom import load_function

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(
            textwrap.dedent(f"def who():\n    return {name!r}\n"), encoding="utf-8"
        )
    assert load_function("mine:who", tmp_path / "one")() == "one"
    assert load_function("mine:who", tmp_path / "two")() == "two"
    assert load_function("mine:who", tmp_path / "one")() == "one"
    (tmp_path / "three").mkdir()
    with pytest.raises(InputError, match="the module 'mine' cannot be imported"):
        load_function("mine:who", tmp_path / "three")


def test_an_objective_function_reports_its_own_metrics(trainer, recorder):
    """Its reports are the trial's epochs, and the best of them is its value."""
    notes = recorder()
    outcome = trainer.train(objective("train", gain=6.0), 0, notes)
    assert (outcome.state, outcome.epochs, outcome.best_epoch, outcome.value) == ("complete", 3, 1, 6.0)
    assert notes.epochs == [{"score": 6.0 / k, "extra": float(k)} for k in (1, 2, 3)]


def test_an_objective_function_may_return_a_model_or_a_number(trainer, recorder):
    """A model is kept for export; a number is the objective of a function without reports."""
    outcome = trainer.train(objective("with_model"), 5, recorder())
    assert outcome.parameters == outcome.model.count_params() == 36 * 3 + 3
    assert outcome.value == trainer.train(objective("with_model"), 5, recorder()).value
    assert trainer.train(objective("number"), 0, recorder()).value == 0.25


def test_an_objective_function_that_was_asked_to_stop_is_interrupted(trainer, recorder):
    """What it reported before stays in the outcome."""
    outcome = trainer.train(objective("train", gain=6.0), 0, recorder(stop_after_polls=1))
    assert (outcome.state, outcome.epochs) == ("interrupted", 1)


def test_mistakes_in_objective_functions_are_explained(trainer, recorder):
    """A report without the objective, out of order, or a result of another type is the user's mistake."""
    for function, message in (
        ("wrong_metric", r"objectives:wrong_metric reported points, but the objective is 'score'"),
        ("wrong_epoch", r"reported epoch 0, but the next one is 1"),
        ("wrong_result", r"must return None, a keras.Model or .* but returned str"),
    ):
        with pytest.raises(InputError, match=message):
            trainer.train(objective(function), 0, recorder())


def test_objective_functions_can_fail_or_diverge(trainer, recorder):
    """An exception keeps the reports before it; no finite objective at all is divergence."""
    failed = trainer.train(objective("fails"), 0, recorder())
    assert (failed.state, failed.cause, failed.epochs, failed.value) == ("failed", "exception", 1, 1.5)
    assert failed.message.startswith("RuntimeError: out of luck (objectives.py:")
    diverged = trainer.train(objective("not_finite"), 0, recorder())
    assert (diverged.state, diverged.cause) == ("failed", "diverged")
