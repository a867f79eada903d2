"""How trials end: complete, failed with a cause, interrupted; and that others' faults are not theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.training.trial.checkpoint import CheckpointError

METRICS = {"loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "val_macro_f1", "learning_rate"}


@pytest.fixture(scope="module")
def trainer(dataset):
    """One warm trainer, as a worker has it."""
    from cnn_sweep.training.trial.trainer import Trainer

    return Trainer(dataset)


def test_a_trial_reports_every_epoch_with_all_metrics(trainer, spec, recorder):
    """The monitor hears of each epoch once, with the metrics that the outcome keeps."""
    notes = recorder()
    outcome = trainer.train(spec(epochs=3, optimizer={"learning_rate": 0.02}), 0, notes)
    assert (outcome.state, outcome.epochs, outcome.cause) == ("complete", 3, None)
    assert tuple(notes.epochs) == outcome.history
    assert all(set(metrics) == METRICS for metrics in notes.epochs)
    assert all(seconds > 0 for seconds in notes.seconds)
    assert outcome.parameters == 4 * 10 + 6 * 37 + 3 * 7
    best = max(metrics["val_accuracy"] for metrics in notes.epochs)
    assert outcome.value == best == notes.epochs[outcome.best_epoch - 1]["val_accuracy"]


def test_a_trial_reports_the_metrics_that_the_sweep_asks_for(trainer, spec, recorder):
    """Those of every class have a value for each, and any of them can be the objective."""
    notes = recorder()
    asked = spec(epochs=2, metrics=["kappa", "recall"], optimizer={"learning_rate": 0.02})
    first = trainer._dataset.info.class_names[0]
    asked = asked.model_copy(update={"objective": ObjectiveSpec(metric=f"val_recall_{first}")})
    outcome = trainer.train(asked, 0, notes)
    more = {"val_kappa", *(f"val_recall_{name}" for name in trainer._dataset.info.class_names)}
    assert all(set(metrics) == METRICS | more for metrics in notes.epochs)
    assert outcome.value == max(metrics[f"val_recall_{first}"] for metrics in notes.epochs)


def test_networks_learn(trainer, spec, recorder):
    """Images that differ by brightness are told apart after some epochs."""
    outcome = trainer.train(spec(epochs=30, optimizer={"learning_rate": 0.02}), 0, recorder())
    assert outcome.value > 0.9


def test_a_loss_that_is_not_finite_fails_the_trial(trainer, spec, recorder):
    """A diverged trial is failed, not pruned; its last epoch is reported, and ends at the same step always."""
    diverging = spec(epochs=5, optimizer={"name": "sgd", "learning_rate": 1e30})
    notes = recorder()
    outcome = trainer.train(diverging, 0, notes)
    assert (outcome.state, outcome.cause) == ("failed", "diverged")
    assert "learning rate 1e+30" in outcome.message
    assert not math.isfinite(notes.epochs[-1]["loss"])
    assert len(notes.epochs) == outcome.epochs < 5
    from cnn_sweep.training.trial.trainer import Trainer

    again = recorder()
    Trainer(trainer._dataset, chunk_s=0.0).train(diverging, 0, again)
    assert repr(again.epochs) == repr(notes.epochs)


def test_early_stopping_keeps_the_best_weights(trainer, spec, recorder):
    """The outcome's weights are those of the best epoch, not of the last."""
    settings = {"optimizer": {"name": "sgd", "learning_rate": 3.0}, "early_stopping": {"patience": 3}}
    stopped = trainer.train(spec(epochs=60, **settings), 0, recorder())
    assert stopped.epochs == stopped.best_epoch + 3 < 60
    until_best = trainer.train(spec(epochs=stopped.best_epoch, **settings), 0, recorder())
    for mine, theirs in zip(stopped.weights, until_best.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_checkpoints_come_as_often_as_the_sweep_file_says(trainer, spec, recorder):
    """With an interval of 0 there is one after every epoch but the last; with a long one there is none."""
    often, never = recorder(), recorder()
    trainer.train(spec(epochs=4, checkpoint_every_s=0.0), 0, often)
    trainer.train(spec(epochs=4, checkpoint_every_s=1e6), 0, never)
    assert [epoch for _, epoch in often.checkpoints] == [1, 2, 3]
    assert never.checkpoints == []


def test_a_checkpoint_of_another_trial_is_refused(trainer, spec, recorder, datasets):
    """Seed, configuration and data must be those of the checkpoint."""
    from cnn_sweep.training.trial.trainer import Trainer

    notes = recorder()
    trial = spec(checkpoint_every_s=0.0)
    trainer.train(trial, 0, notes)
    ((state, _),) = notes.checkpoints
    for train in (
        lambda: trainer.train(trial, 1, recorder(), state),
        lambda: trainer.train(spec(checkpoint_every_s=0.0, batch_size=9), 0, recorder(), state),
        lambda: Trainer(datasets(seed=5)).train(trial, 0, recorder(), state),
    ):
        with pytest.raises(CheckpointError, match="another configuration, seed, data set or version"):
            train()
    with pytest.raises(CheckpointError, match="checksum"):
        trainer.train(trial, 0, recorder(), state[:-1] + b"?")


@pytest.mark.parametrize("method", ["epoch", "checkpoint", "should_stop"])
def test_a_fault_of_the_monitor_is_not_the_trials(method, trainer, spec, recorder):
    """A full disk under the journal reaches the worker; the trial is not failed for it."""

    def fault(*_):
        raise EnvironmentFault("no space left on device")

    broken = recorder()
    setattr(broken, method, fault)
    with pytest.raises(EnvironmentFault, match="no space left"):
        trainer.train(spec(checkpoint_every_s=0.0), 0, broken)
    assert trainer.train(spec(), 0, recorder()).state == "complete"


def test_a_network_that_keras_refuses_fails_alone(trainer, spec, recorder):
    """An exception is the outcome of its trial, with type, text and place; the next trial is not harmed."""
    vanishing = spec(({"kind": "pool", "size": 9}, {"kind": "flatten"}, {"kind": "output"}))
    outcome = trainer.train(vanishing, 0, recorder())
    assert (outcome.state, outcome.cause) == ("failed", "exception")
    assert outcome.message.startswith("ValueError: ")
    assert outcome.message.endswith(")")
    assert trainer.train(spec(), 0, recorder()).state == "complete"


def test_running_out_of_memory_has_a_cause_of_its_own(trainer, spec, recorder, monkeypatch):
    """A trial that is too large for the device is told from a wrong one."""
    from cnn_sweep.training.engines.graph_engine import GraphEngine

    def too_large(*_):
        raise MemoryError("cannot allocate")

    monkeypatch.setattr(GraphEngine, "train", too_large)
    outcome = trainer.train(spec(), 0, recorder())
    assert (outcome.state, outcome.cause) == ("failed", "oom")


def test_what_no_trial_can_have_is_the_users_mistake(trainer, spec, recorder, datasets):
    """An objective that is never reported, or a loss that is always 0, ends with the valid choices."""
    from cnn_sweep.training.trial.trainer import Trainer

    with pytest.raises(InputError, match=r"unknown metric 'val_acc' .did you mean 'val_accuracy'"):
        trainer.train(spec(objective={"metric": "val_acc"}), 0, recorder())
    single = ({"kind": "flatten"}, {"kind": "output", "activation": "sigmoid", "units": 1})
    with pytest.raises(InputError, match="has 1 output units, but the data has 3 classes"):
        trainer.train(spec(single), 0, recorder())
    two = Trainer(datasets(classes=2))
    with pytest.raises(InputError, match="categorical_crossentropy needs one output unit per class"):
        two.train(spec(single, loss="categorical_crossentropy"), 0, recorder())


def test_old_graphs_make_room_for_new_ones(dataset, spec, recorder):
    """No more than ``max_graphs`` are kept, those used last."""
    from cnn_sweep.training.trial.trainer import Trainer

    def network(units):
        return ({"kind": "flatten"}, {"kind": "dense", "units": units}, {"kind": "output"})

    trainer = Trainer(dataset, max_graphs=2)
    outcomes = [trainer.train(spec(network(units), epochs=1), 0, recorder()) for units in (1, 2, 1, 3, 1, 2)]
    assert [outcome.cached for outcome in outcomes] == [False, False, True, False, True, False]
    assert (trainer.hits, trainer.misses) == (2, 4)


def test_dropout_drops_at_its_rate(dataset):
    """The share of zeros is the rate, whatever it is, and the mean stays; draws differ by step, layer and seed."""
    import tensorflow as tf

    from cnn_sweep.training.network.dropout import Draws

    def drop(rate, *, step=0, seed=0, index=0):
        draws = Draws(2)
        draws.reset([rate, rate], seed)
        draws.at_step(tf.constant(step, tf.int64))
        return draws.apply(index, tf.ones([401, 501]), lambda shape: shape).numpy()

    for rate in (0.0, 0.001, 0.25, 0.3, 0.5, 0.77, 0.999):
        kept = drop(rate)
        assert np.mean(kept == 0) == pytest.approx(rate, abs=0.005)
        assert kept.max() == pytest.approx(1 / (1 - round(rate * 4096) / 4096), rel=1e-6)
    base = drop(0.5)
    np.testing.assert_array_equal(base, drop(0.5))
    for other in (drop(0.5, step=1), drop(0.5, seed=1), drop(0.5, index=1)):
        assert np.mean(other == base) == pytest.approx(0.5, abs=0.005)


def test_a_dropout_rate_next_to_1_stays_finite(dataset):
    """As with Keras's layer, nearly everything is dropped and the rest is finite, in numbers of 16 bits as well."""
    import tensorflow as tf

    from cnn_sweep.training.network.dropout import Draws

    draws = Draws(1)
    draws.reset([1 - 2**-40], 0)
    draws.at_step(tf.constant(0, tf.int64))
    for dtype in (tf.float32, tf.bfloat16, tf.float16):
        kept = tf.cast(draws.apply(0, tf.ones([2**20], dtype), lambda shape: shape), tf.float32).numpy()
        assert set(kept.tolist()) == {0.0, 4096.0}
        assert 180 < np.count_nonzero(kept) < 340  # 256 are expected


@pytest.mark.parametrize("size", [1, 2, 7, 64, 40_000])
def test_elements_are_dropped_independently(size):
    """Any two of a layer's elements, over many steps or places: at quarters, and nearly so at other rates."""
    import tensorflow as tf

    from cnn_sweep.training.network.dropout import _keep

    steps = max(5, min(1000, 200_000 // size))
    draw = tf.function(lambda level, step: _keep(size, level, tf.stack([tf.constant(7, tf.int64), step])))
    for rate, bound in ((0.25, 0.0), (0.5, 0.0), (0.3, 0.02), (0.1, 0.03)):
        level = tf.constant(round(rate * 4096))
        kept = np.array([draw(level, tf.constant(step, tf.int64)) for step in range(steps)], float)
        assert kept.shape[1] == size
        chance = 5 * kept.std() / math.sqrt(kept.size)
        assert kept.mean() == pytest.approx(1 - rate, abs=chance + 1 / 4096)
        rest = (kept - kept.mean()) / kept.std()
        parts = [-(-size // part) for part in (1, 2, 4, 8, 16)]  # numbers of a part begin where those of another do
        for lag in {1, *parts, *(part - 1 for part in parts)} & {*range(1, size)}:
            found = rest[:, :-lag] * rest[:, lag:]
            assert abs(found.mean()) < bound + 5 / math.sqrt(found.size)


def test_spatial_dropout_drops_whole_channels(dataset):
    """A channel of an image is kept or dropped as one."""
    import keras
    import tensorflow as tf

    from cnn_sweep.training.network.dropout import Draws, GraphDropout

    draws = Draws(1)
    draws.reset([0.5], 0)
    draws.at_step(tf.constant(0, tf.int64))
    layer = GraphDropout(draws, 0, spatial=True, name="drop")
    values = keras.ops.convert_to_numpy(layer(tf.ones([64, 3, 3, 32]), training=True))
    assert np.all(values == values[:, :1, :1, :])
    assert np.mean(values == 0) == pytest.approx(0.5, abs=0.05)


def test_initial_weights_depend_on_seed_and_place_alone(dataset, spec):
    """The same seed gives the same weights in any process; kernels differ from each other and have Glorot's scale."""
    from cnn_sweep.training.network.model import initial_weights, plain_model

    layers = spec(
        ({"kind": "flatten"}, {"kind": "dense", "units": 400}, {"kind": "dense", "units": 400}, {"kind": "output"})
    ).layers
    model = plain_model(layers, dataset.info, rescale=1.0)
    one, again, other = (initial_weights(model, seed) for seed in (3, 3, 4))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], other[0])
    limit = math.sqrt(6 / 800)
    assert np.abs(one[2]).max() <= limit
    assert np.std(one[2]) == pytest.approx(limit / math.sqrt(3), rel=0.01)
    assert np.all(one[1] == 0)
