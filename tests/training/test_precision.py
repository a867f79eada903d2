"""Layers in 16 bits, with weights, output and loss in 32."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.outcomes import assert_equal

MIXED = {"mixed_bfloat16": 2.0**-8, "mixed_float16": 2.0**-11}  # with the spacing of numbers from 1 to 2
LAYERS = (
    {"kind": "conv2d", "filters": 8, "kernel_size": 3, "activation": "relu", "kernel_regularizer": {"l2": 0.001}},
    {"kind": "batch_norm"},
    {"kind": "flatten"},
    {"kind": "dropout", "rate": 0.0},
    {"kind": "dense", "units": 8, "activation": "relu"},
    {"kind": "output"},
)
EPOCHS = {"epochs": 4, "optimizer": {"name": "adam", "learning_rate": 0.01}}


def train(trial, dataset, recorder, **how):
    """Train with a trainer of its own."""
    from cnn_sweep.training.trial.trainer import Trainer

    outcome = Trainer(dataset).train(trial, 3, how.get("monitor") or recorder(), how.get("resume"))
    assert outcome.state == how.get("state", "complete"), outcome.message
    return outcome


def fit(trial, dataset, precision):
    """Return the losses of `model.fit` in a precision, from the same weights and order."""
    import keras

    from cnn_sweep.training.engines.batches import order_of
    from cnn_sweep.training.network.model import initial_weights, plain_model

    keras.config.set_dtype_policy(precision)
    try:
        model = plain_model(trial.layers, dataset.info, rescale=dataset.rescale)
        model.set_weights(initial_weights(model, 3))
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    finally:
        keras.config.set_dtype_policy("float32")
    losses = []
    for epoch in range(trial.training.epochs):
        order = order_of(3, epoch, len(dataset.train.y))
        x, y = dataset.train.x[order].astype(np.float32), dataset.train.y[order]
        done = model.fit(x, y, batch_size=trial.training.batch_size, shuffle=False, verbose=0)
        losses += done.history["loss"]
    return losses


@pytest.mark.parametrize("precision", MIXED)
def test_mixed_precision_is_that_of_keras(precision, spec, dataset, recorder):
    """Losses are those of `model.fit` in that precision, to what its 8 or 11 bits allow, and not those of float32."""
    trial = spec(LAYERS, precision=precision, **EPOCHS)
    ours = train(trial, dataset, recorder).history
    theirs = fit(trial, dataset, precision)
    for epoch, (mine, loss) in enumerate(zip(ours, theirs, strict=True), start=1):
        # Each update rounds anew, most where the processor has no instructions for bfloat16 and kernels differ.
        assert math.isclose(mine["loss"], loss, rel_tol=4 * epoch * MIXED[precision]), (ours, theirs)
    exact = train(spec(LAYERS, **EPOCHS), dataset, recorder).history
    assert [m["loss"] for m in ours] != [m["loss"] for m in exact]
    assert ours[-1]["loss"] == pytest.approx(exact[-1]["loss"], rel=0.2)


@pytest.mark.parametrize("precision", MIXED)
def test_weights_are_float32_and_the_exported_model_predicts_the_same(precision, spec, dataset, recorder, tmp_path):
    """What is kept has full precision, and gives the metrics that the trainer reported."""
    from cnn_sweep.training.evaluation.evaluate import evaluate
    from cnn_sweep.training.network.export import export_model

    trial = spec(LAYERS, precision=precision, **EPOCHS)
    outcome = train(trial, dataset, recorder)
    assert {weights.dtype for weights in outcome.weights} == {np.dtype(np.float32)}
    path = tmp_path / "1.keras"
    export_model(trial, outcome, dataset=dataset, path=path, folder=tmp_path)
    found = evaluate(path, dataset, split="validation", training=trial.training)
    reported = outcome.history[outcome.best_epoch - 1]
    # Operations that a graph fuses are rounded less often than one by one.
    assert found["validation_loss"] == pytest.approx(reported["val_loss"], rel=MIXED[precision])


def test_a_trial_in_float16_resumes_exactly(spec, dataset, recorder):
    """The factor of the loss is part of a checkpoint, as is all else."""
    trial = spec(LAYERS, precision="mixed_float16", checkpoint_every_s=0.0, **EPOCHS)
    notes = recorder()
    whole = train(trial, dataset, recorder, monitor=notes)
    resumed = train(trial, dataset, recorder, resume=notes.checkpoints[1][0])
    assert_equal(resumed, whole)


def test_a_build_function_is_called_in_the_precision(datasets, recorder, tmp_path):
    """Layers of the user's own network compute as the sweep file says."""
    from cnn_sweep.sweep.spec.trial import TrialSpec
    from cnn_sweep.training.trial.trainer import Trainer

    (tmp_path / "mixed_net.py").write_text(
        "import keras\n"
        "def build(params, image_shape, classes):\n"
        "    assert keras.config.dtype_policy().name == 'mixed_bfloat16'\n"
        "    out = keras.layers.Dense(classes, activation='softmax')\n"
        "    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), out])\n",
        encoding="utf-8",
    )
    trial = TrialSpec(params={}, build="mixed_net:build", training={"epochs": 1, "precision": "mixed_bfloat16"})
    outcome = Trainer(datasets(), folder=tmp_path).train(trial, 0, recorder())
    assert outcome.state == "complete", outcome.message


def test_a_step_that_overflows_changes_no_weight_and_halves_the_factor():
    """As `keras.optimizers.LossScaleOptimizer`: skipped steps are not counted, 2,000 good ones double the factor."""
    import tensorflow as tf

    from cnn_sweep.sweep.spec.training import OptimizerSpec
    from cnn_sweep.training.engines.optimizers import Optimizer

    spec = OptimizerSpec(name="adam", learning_rate=0.5)
    weight, plain = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    scaled, bare = Optimizer(spec, [weight], scales_loss=True), Optimizer(spec, [plain])
    for optimizer in (scaled, bare):
        optimizer.reset(spec)
    scale, good, skipped = scaled.state[-3:]
    before = float(scale)
    scaled.apply([tf.constant([np.inf, 1.0])], tf.constant(0.5), tf.constant(0, tf.int64))
    assert weight.numpy().tolist() == [1.0, 2.0]
    assert (float(scale), int(skipped)) == (before / 2, 1)
    good.assign(1999)
    gradient = tf.constant([0.25, -4.0])
    scaled.apply([scaled.scaled(gradient)], tf.constant(0.5), tf.constant(1, tf.int64))
    bare.apply([gradient], tf.constant(0.5), tf.constant(0, tf.int64))
    assert weight.numpy().tolist() == plain.numpy().tolist()
    assert (float(scale), int(good)) == (before, 0)


def test_precision_is_part_of_the_graph_and_of_a_sweep(spec):
    """Trials of two precisions share no graph; the default does not show in what a trial is."""
    from cnn_sweep.training.graph_key import graph_key

    keys = {graph_key(spec(precision=precision)) for precision in ("float32", *MIXED)}
    assert len(keys) == 3
    assert "precision" not in spec(precision="float32").model_dump_json()
