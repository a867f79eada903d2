"""Trials of a user's ``build`` function share compiled networks where Keras alone made them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.outcomes import assert_equal

from cnn_sweep.sweep.spec.trial import TrialSpec

NETWORKS = """
import keras
from keras import layers

def build(params, image_shape, classes):
    model = keras.Sequential([keras.Input(image_shape)])
    model.add(layers.SpatialDropout2D(params["dropout"] / 2))
    model.add(layers.Flatten())
    constraint = keras.constraints.MaxNorm(params["largest"]) if "largest" in params else None
    model.add(layers.Dense(params["units"], activation="relu", kernel_regularizer="l2", kernel_constraint=constraint))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(params["dropout"]))
    model.add(layers.Dense(classes, activation="softmax"))
    if "rate" in params:
        optimizer = keras.optimizers.SGD(params["rate"], momentum=0.9)
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    return model
"""


@pytest.fixture
def make_trainer(dataset, tmp_path):
    """Make trainers in a folder with the user's module."""
    from cnn_sweep.training.trial.trainer import Trainer

    (tmp_path / "built_networks.py").write_text(NETWORKS, encoding="utf-8")
    return lambda **settings: Trainer(dataset, folder=tmp_path, **settings)


def trial(dropout, *, units=3, params=None, **training):
    """Return a short trial."""
    return TrialSpec(
        params={"units": units, "dropout": dropout, **(params or {})},
        build="built_networks:build",
        training={"epochs": 2, "batch_size": 8, **training},
    )


def traces(trainer):
    """Return how often graphs of training were traced."""
    return sum(engine._graph._train.experimental_get_tracing_count() for engine in trainer._engines.values())


def alone(spec, seed, make_trainer, recorder, monkeypatch):
    """Return the outcome of a trial whose graph is its own."""
    from cnn_sweep.training.trial import trainer as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "form", lambda _: None)
        outcome = make_trainer().train(spec, seed, recorder())
    assert outcome.cached is None
    return outcome


def test_a_sweep_over_rates_traces_each_shape_once(make_trainer, recorder):
    """Learning rate, batch size, dropout and seed are data of a graph; the number of units is not."""
    trainer = make_trainer()
    outcomes = [
        trainer.train(
            trial(dropout, units=units, epochs=1, batch_size=size, optimizer={"learning_rate": rate}), 1, recorder()
        )
        for units in (2, 3)
        for dropout in (0.0, 0.3)
        for size, rate in ((8, 0.01), (16, 0.1))
    ]
    assert [outcome.cached for outcome in outcomes] == 2 * [False, True, True, True]
    assert (trainer.hits, trainer.misses, traces(trainer)) == (6, 2, 2)
    assert len({str(outcome.history) for outcome in outcomes}) == 8


def test_sharing_a_graph_changes_no_bit(make_trainer, recorder, monkeypatch):
    """Whatever a graph trained before, a trial ends as with a graph of its own, resumed or not."""
    trainer = make_trainer(chunk_s=0.0)
    whole = {rate: alone(trial(rate), 5, make_trainer, recorder, monkeypatch) for rate in (0.0, 0.3)}
    for rate, polls in ((0.3, 9), (0.0, 7)):
        stopped = recorder(stop_after_polls=polls)
        assert trainer.train(trial(rate), 5, stopped).state == "interrupted"
        diverged = trainer.train(trial(0.9, optimizer={"learning_rate": math.inf}), 6, recorder())
        assert diverged.cause == "diverged"
        assert_equal(trainer.train(trial(rate), 5, recorder(), stopped.checkpoints[-1][0]), whole[rate])
        assert_equal(trainer.train(trial(rate), 5, recorder()), whole[rate])
    assert (trainer.misses, traces(trainer)) == (1, 1)


def test_fit_keeps_a_compiled_model(make_trainer, recorder):
    """Trials that differ in learning rate, batch size and seed share it, and leave nothing behind."""
    trainer = make_trainer()
    one = trial(0.3, params={"rate": 0.01}, engine="fit")
    other = trial(0.3, params={"rate": 0.2}, engine="fit", batch_size=16)
    first = trainer.train(one, 1, recorder())
    assert first.state == "complete", first.message
    second = trainer.train(other, 2, recorder())
    assert_equal(trainer.train(one, 1, recorder()), first)
    assert (first.cached, second.cached, trainer.misses) == (False, True, 1)
    assert second.history[-1]["learning_rate"] == pytest.approx(0.2)


def test_constraints_on_weights_hold(make_trainer, recorder):
    """A kernel whose norm is bounded, as Keras bounds it after each step, stays so; without a bound it is greater."""
    norms = []
    for params in ({}, {"largest": 0.1}):
        trainer = make_trainer()
        assert (
            trainer.train(trial(0.3, params=params, optimizer={"learning_rate": 0.1}), 1, recorder()).state
            == "complete"
        )
        (engine,) = trainer._engines.values()
        norms.append(np.linalg.norm(engine.weights()[0], axis=0).max())
    assert norms[0] > 0.2
    assert norms[1] <= 0.1 + 1e-6


def test_a_failed_trial_gives_up_its_graph(make_trainer, recorder, monkeypatch):
    """A graph may be in any state after an exception."""
    from cnn_sweep.training.network.built import BuiltNetwork

    trainer = make_trainer()
    with monkeypatch.context() as patch:
        patch.setattr(BuiltNetwork, "become", lambda *_: 1 / 0)
        assert trainer.train(trial(0.1), 1, recorder()).state == "failed"
    assert not trainer._engines


def network(*layers, name=None):
    """Return a model of these layers."""
    import keras

    return keras.Sequential([keras.Input((8, 8, 3)), *layers], name=name)


def branched(combine):
    """Return a model of a graph of layers."""
    import keras

    images = keras.Input((8, 8, 3))
    return keras.Model(images, combine(images))


def tripled(x):
    """Stand for a function of the user's."""
    return 3 * x


def same_networks():
    """Return pairs of functions that build models which share a graph."""
    from keras import layers, ops

    return {
        "rates": lambda k: network(layers.Dropout(k / 10), layers.SpatialDropout2D(k / 20)),
        "seeds": lambda k: network(layers.Dropout(0.5, seed=k)),
        "names": lambda k: network(layers.Dense(3, name=f"dense_{k}"), name=f"net_{k}"),
        "initializers": lambda k: network(layers.Dense(2, kernel_initializer=["zeros", "he_normal"][k])),
        "nested": lambda k: network(network(layers.Dropout(k / 10), name=f"net_{k}"), layers.Flatten()),
        "branches": lambda k: branched(lambda x: layers.Add(name=f"add{k}")([x, ops.relu(x) * 2])),
    }


def other_networks():
    """Return functions that build models which compute different things."""
    import keras
    from keras import layers, regularizers

    def frozen(k):
        layer = layers.Dense(2)
        layer.trainable = bool(k)
        return network(layer)

    def dropout_twice(k):
        one = layers.Dropout(0.1)
        return branched(lambda x: layers.Dropout(0.1)(one(x)) if k else one(one(x)))

    return {
        "units": lambda k: network(layers.Dense(2 + k)),
        "activation": lambda k: network(layers.Dense(2, activation=["relu", "tanh"][k], name=["relu", "tanh"][k])),
        "regularizer": lambda k: network(layers.Dense(2, kernel_regularizer=regularizers.L2(k / 10))),
        "momentum": lambda k: network(layers.BatchNormalization(momentum=0.9 + k / 100)),
        "noise": lambda k: network(layers.GaussianNoise(k / 10)),
        "noise shape": lambda k: network(layers.Dropout(0.1, noise_shape=[None, (None, 1, 1, 3)][k])),
        "dropout in a wrapper": lambda k: network(layers.TimeDistributed(layers.Dropout(k / 10))),
        "frozen": frozen,
        "shared layer": dropout_twice,
        "training": lambda k: branched(lambda x: layers.BatchNormalization()(x, training=bool(k))),
        "constant": lambda k: branched(lambda x: x * (k + 2)),
        "wiring": lambda k: branched(lambda x: layers.Subtract()([x, keras.ops.relu(x)][:: 1 - 2 * k])),
        "precision": lambda k: network(layers.Dense(2, dtype=["float32", "mixed_bfloat16"][k])),
    }


def own_networks():
    """Return models with something in them that Keras cannot describe."""
    import keras
    from keras import layers, ops

    class Tripling(layers.Layer):
        def call(self, x):
            return 3 * x

    class Net(keras.Sequential):
        pass

    def relu(x):
        return 3 * x

    overridden = layers.Flatten()
    overridden.call = tripled
    adapted = layers.Normalization()
    adapted.adapt(np.ones((4, 8, 8, 3), np.float32))
    return {
        "layer": network(Tripling()),
        "wrapped layer": network(layers.TimeDistributed(Tripling())),
        "nested layer": network(network(Tripling())),
        "class": Net([keras.Input((8, 8, 3)), layers.Flatten()]),
        "lambda layer": network(layers.Lambda(tripled)),
        "activation": network(layers.Dense(2, activation=tripled)),
        "activation with a name of Keras's": network(layers.Activation(relu)),
        "activation in a wrapper": network(layers.TimeDistributed(layers.Dense(2, activation=relu))),
        "regularizer": network(layers.Dense(2, kernel_regularizer=ops.sum)),
        "replaced call": network(overridden),
        "adapted to data": network(adapted),
        "function of an operation": branched(lambda x: ops.vectorized_map(tripled, x)),
    }


def test_networks_that_compute_the_same_have_the_same_form():
    """Names, initial weights, and dropout's rates and seeds are no part of it, and the copy takes all of them over."""
    from cnn_sweep.training.network.built import form, shared_network

    images = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    for name, build in same_networks().items():
        one, other = build(0), build(1)
        assert form(one) == form(other) is not None, name
        shared = shared_network(one)
        shared.become(other)
        np.testing.assert_array_equal(shared.model(images), other(images), err_msg=name)
        assert len(shared.changing) == len(other.variables), name


def test_networks_that_compute_different_things_differ_in_form():
    """All other settings of layers, their order, and which weights are trained are part of it."""
    from cnn_sweep.training.network.built import form

    for name, build in other_networks().items():
        forms = [form(build(k)) for k in (0, 1)]
        assert None not in forms, name
        assert forms[0] != forms[1], name


def test_networks_with_anything_that_keras_cannot_describe_have_no_form():
    """However deep it is in the network, and whatever it is called."""
    from cnn_sweep.training.network.built import form

    assert {name: form(model) for name, model in own_networks().items()} == dict.fromkeys(own_networks())


def test_fit_shares_a_model_only_if_it_is_compiled_alike():
    """Learning rates are data; other settings of the optimizer, losses and metrics are not, nor are dropout rates."""
    import keras
    from keras import layers

    from cnn_sweep.training.network.built import compiled_form

    def compiled(rate=0.1, dropout=0.1, loss="categorical_crossentropy", metrics=(), optimizer=None, **settings):
        model = network(layers.Flatten(), layers.Dropout(dropout), layers.Dense(3, activation="softmax"))
        optimizer = optimizer or keras.optimizers.SGD(rate, **settings)
        model.compile(optimizer, loss, metrics=list(metrics))
        return compiled_form(model)

    def own(y, p):
        return keras.ops.mean(p)

    cosine = keras.optimizers.schedules.CosineDecay
    same, others = {compiled(), compiled(rate=0.2)}, [
        compiled(dropout=0.2),
        compiled(momentum=0.9),
        compiled(loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1)),
        compiled(metrics=["accuracy"]),
        compiled(rate=cosine(0.1, 10)),
        compiled(rate=cosine(0.1, 20)),
    ]  # fmt: skip
    excluding = keras.optimizers.AdamW()
    excluding.exclude_from_weight_decay(var_names=["bias"])
    assert len(same) == 1
    assert len({*same, *others}) == 7
    assert None not in {*same, *others}
    assert compiled(loss=own) is compiled(metrics=[own]) is compiled(optimizer=excluding) is None
