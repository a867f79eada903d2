"""The trainer computes what `model.fit` computes from the same weights and the same order of images."""

from __future__ import annotations

import math

import numpy as np
import pytest

EPOCHS = 3
LAYERS = (
    {"kind": "conv2d", "filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"},
    {"kind": "pool"},
    {"kind": "flatten"},
    {"kind": "dense", "units": 6, "activation": "relu"},
)
REGULARIZED = (
    {
        "kind": "conv2d",
        "filters": 4,
        "kernel_size": 3,
        "activation": "relu",
        "kernel_regularizer": {"l2": 0.01},
    },
    {"kind": "batch_norm"},
    {"kind": "separable_conv2d", "filters": 5, "kernel_size": 2, "activation": "tanh"},
    {"kind": "global_pool"},
    {"kind": "dense", "units": 6, "activation": "gelu", "kernel_regularizer": {"l2": 0.02}},
    {"kind": "output"},
)


def train_both(spec, dataset, recorder, *, seed=3):
    """Return the epochs' metrics by the trainer, and by Keras with the same weights, order and rates."""
    from cnn_sweep.training.trial.trainer import Trainer

    ours = recorder()
    outcome = Trainer(dataset).train(spec, seed, ours)
    assert outcome.state == "complete", outcome.message
    return ours.epochs, fit(spec, dataset, seed)


def fit(spec, dataset, seed):
    """Train with Keras alone: its layers, optimizer, schedule, losses and callbacks."""
    from cnn_sweep.training.engines.batches import order_of
    from cnn_sweep.training.network.model import initial_weights, plain_model

    training = spec.training
    model = plain_model(spec.layers, dataset.info, rescale=dataset.rescale)
    model.set_weights(initial_weights(model, seed))
    steps = -(-len(dataset.train.y) // training.batch_size)
    loss, as_target = keras_loss(training, model, len(dataset.info.class_names))
    model.compile(optimizer=keras_optimizer(training, keras_rate(training, steps)), loss=loss, metrics=["accuracy"])
    callbacks = keras_callbacks(spec)
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    result = []
    for epoch in range(training.epochs):
        order = order_of(seed, epoch, len(dataset.train.y))
        x, y = dataset.train.x[order].astype(np.float32), as_target(dataset.train.y[order])
        history = model.fit(x, y, batch_size=training.batch_size, shuffle=False, verbose=0)
        validation = dataset.validation
        val_loss, _ = model.evaluate(validation.x.astype(np.float32), as_target(validation.y), batch_size=7, verbose=0)
        logs = {name: values[-1] for name, values in history.history.items()} | {"val_loss": val_loss}
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
        result.append(logs)
    return result


def keras_optimizer(training, rate):
    """Return Keras's optimizer, spelled out here so that it checks ours."""
    import keras

    o = training.optimizer
    common = {"weight_decay": o.weight_decay, "global_clipnorm": o.clip_norm}
    adam = {"beta_1": o.beta_1, "beta_2": o.beta_2, "epsilon": o.epsilon}
    made = {
        "sgd": lambda: keras.optimizers.SGD(rate or 0.01, o.momentum, o.nesterov, **common),
        "rmsprop": lambda: keras.optimizers.RMSprop(
            rate or 0.001, rho=o.rho or 0.9, momentum=o.momentum, epsilon=o.epsilon, **common
        ),
        "adam": lambda: keras.optimizers.Adam(rate or 0.001, **adam, **common),
        "adamw": lambda: keras.optimizers.AdamW(
            rate or 0.001, **adam, **(common | {"weight_decay": o.weight_decay or 0.004})
        ),
        "adagrad": lambda: keras.optimizers.Adagrad(rate or 0.001, epsilon=o.epsilon, **common),
        "adadelta": lambda: keras.optimizers.Adadelta(rate or 0.001, rho=o.rho or 0.95, epsilon=o.epsilon, **common),
        "nadam": lambda: keras.optimizers.Nadam(rate or 0.001, **adam, **common),
    }
    return made[o.name]()


def keras_rate(training, steps):
    """Return the learning rate, or Keras's schedule of it."""
    from keras.optimizers import schedules

    schedule, rate = training.schedule, training.optimizer.learning_rate
    every = schedule.every * steps
    match schedule.kind:
        case "exponential":
            return schedules.ExponentialDecay(rate, every, schedule.rate)
        case "step":
            return schedules.ExponentialDecay(rate, every, schedule.rate, staircase=True)
        case "cosine":
            return schedules.CosineDecay(rate, training.epochs * steps, alpha=schedule.floor)
        case _:
            return rate


def keras_loss(training, model, classes):
    """Return Keras's loss and the form that it wants labels in."""
    import keras

    def one_hot(y):
        return np.eye(classes, dtype=np.float32)[y]

    smoothing = training.label_smoothing
    activation = model.layers[-1].activation
    if model.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(label_smoothing=smoothing), lambda y: y[:, None].astype(np.float32)
    binary = training.loss == "binary_crossentropy" or (
        training.loss == "auto" and activation is keras.activations.sigmoid
    )
    if binary:
        return keras.losses.BinaryCrossentropy(label_smoothing=smoothing), one_hot
    if smoothing:
        return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing), one_hot
    return keras.losses.SparseCategoricalCrossentropy(), lambda y: y


def keras_callbacks(spec):
    """Return the callback of a plateau schedule, if that is the schedule."""
    import keras

    schedule = spec.training.schedule
    if schedule.kind != "plateau":
        return []
    floor = schedule.floor * spec.training.optimizer.learning_rate
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor=spec.objective.metric,
            mode=spec.objective.direction[:3],
            factor=schedule.rate,
            patience=schedule.patience,
            min_delta=0.0,
            min_lr=floor,
        )
    ]


def assert_same(ours, theirs):
    """Compare losses to 1e-5 and accuracies."""
    assert len(ours) == len(theirs)
    for mine, keras in zip(ours, theirs, strict=True):
        assert math.isclose(mine["loss"], keras["loss"], abs_tol=1e-5), (ours, theirs)
        assert math.isclose(mine["val_loss"], keras["val_loss"], abs_tol=1e-5), (ours, theirs)
        assert math.isclose(mine["accuracy"], keras["accuracy"], abs_tol=1e-6)


OPTIMIZERS = [
    {"name": "sgd"},
    {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"name": "rmsprop"},
    {"name": "rmsprop", "learning_rate": 0.002, "rho": 0.8, "momentum": 0.5, "epsilon": 1e-4},
    {"name": "adam", "learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3},
    {"name": "adam", "learning_rate": 0.01, "clip_norm": 0.1},
    {"name": "adamw", "learning_rate": 0.01},
    {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.2},
    {"name": "adagrad", "learning_rate": 0.05, "epsilon": 1e-2},
    {"name": "adadelta", "learning_rate": 1.0},
    {"name": "adadelta", "learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-4},
    {"name": "nadam", "learning_rate": 0.01},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_each_optimizer_gives_the_losses_of_keras(optimizer, spec, dataset, recorder):
    """An optimizer of ours takes the steps that Keras's optimizer of that name takes."""
    assert_same(*train_both(spec(epochs=EPOCHS, optimizer=optimizer), dataset, recorder))


SCHEDULES = [
    {"kind": "exponential", "rate": 0.5, "every": 0.7},
    {"kind": "step", "rate": 0.1, "every": 1},
    {"kind": "cosine", "floor": 0.1},
    {"kind": "plateau", "rate": 0.1, "patience": 1, "floor": 0.001},
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s["kind"])
def test_each_schedule_gives_the_losses_of_keras(schedule, spec, dataset, recorder):
    """A schedule of ours gives each step the rate that Keras's schedule gives it."""
    trial = spec(
        epochs=5,
        optimizer={"name": "sgd", "learning_rate": 0.8},
        schedule=schedule,
        # A loss that falls is no improvement then, so that the plateau is soon reached.
        objective={"metric": "val_loss", "direction": "maximize"},
    )
    ours, theirs = train_both(trial, dataset, recorder)
    assert_same(ours, theirs)
    assert len({m["learning_rate"] for m in ours}) > 1


LOSSES = [
    (3, {}, {}),
    (3, {}, {"label_smoothing": 0.2}),
    (3, {"activation": "sigmoid"}, {}),
    (3, {"activation": "sigmoid"}, {"label_smoothing": 0.2}),
    (3, {"activation": "sigmoid"}, {"loss": "categorical_crossentropy"}),
    (3, {}, {"loss": "binary_crossentropy"}),
    (2, {"activation": "sigmoid", "units": 1}, {}),
    (2, {"activation": "sigmoid", "units": 1}, {"label_smoothing": 0.1}),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_each_loss_is_that_of_keras(loss, spec, datasets, recorder):
    """Every pair of output layer and loss gives the losses that Keras gives."""
    classes, output, training = loss
    trial = spec((*LAYERS, {"kind": "output", **output}), epochs=EPOCHS, optimizer={"learning_rate": 0.01}, **training)
    assert_same(*train_both(trial, datasets(classes), recorder))


def test_penalties_and_batch_normalisation_are_those_of_keras(spec, dataset, recorder):
    """L2 penalties count in both losses, and moving averages move as Keras's do."""
    trial = spec(REGULARIZED, epochs=EPOCHS, optimizer={"learning_rate": 0.01})
    assert_same(*train_both(trial, dataset, recorder))
