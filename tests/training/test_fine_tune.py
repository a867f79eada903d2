"""Two stages in one trial: a head on a frozen base, then the base from a layer on, with a smaller rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.outcomes import assert_equal

from cnn_sweep.errors import InputError
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.sweep import Sweep

LAYERS = (
    {"kind": "base", "name": "Tiny", "weights": "none"},
    {"kind": "global_pool"},
    {"kind": "dropout", "rate": 0.2},
    {"kind": "output"},
)
TUNE = {"epochs": 2, "from_layer": "conv2", "learning_rate": 1e-4}


@pytest.fixture(autouse=True)
def _tiny(tiny_base):
    """Every test has the small base."""


def keras_alone(dataset, seed, rates, epochs):
    """Train in two stages as the Keras guide says; return the losses of all epochs."""
    import keras

    from cnn_sweep.sweep.network.layers import Base
    from cnn_sweep.training.engines.batches import order_of
    from cnn_sweep.training.network.model import plain_model, untrained_weights
    from cnn_sweep.training.network.transfer import NAME

    layers = [Base(name="Tiny", weights="none", trainable=True), *(_spec_layers()[1:])]
    model = plain_model(layers, dataset.info, rescale=dataset.rescale)
    model.set_weights(untrained_weights(model, layers, seed))
    base, losses = model.get_layer(NAME), []
    for stage, rate in enumerate(rates):
        base.trainable = bool(stage)
        if stage:
            for name in ("conv1", "bn1"):
                base.get_layer(name).trainable = False
        model.compile(keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy())
        for _ in range(epochs):
            order = order_of(seed, len(losses), len(dataset.train.y))
            x, y = dataset.train.x[order].astype(np.float32), np.eye(3, dtype=np.float32)[dataset.train.y[order]]
            losses.append(model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"][0])
    return losses


def _spec_layers():
    from cnn_sweep.sweep.spec.trial import TrialSpec

    plain = ({**LAYERS[2], "rate": 0.0} if layer["kind"] == "dropout" else layer for layer in LAYERS)
    return TrialSpec(params={}, layers=tuple(plain)).layers


def test_both_stages_are_those_of_keras(spec, dataset, recorder):
    """Losses of both stages are those of Keras's guide: freeze, fit, unfreeze, compile with a small rate, fit."""
    import keras

    from cnn_sweep.training.trial.trainer import Trainer

    keras.applications.Tiny.rate = 0.0
    trial = spec(_spec_layers(), epochs=2, optimizer={"learning_rate": 0.01}, fine_tune={**TUNE, "learning_rate": 1e-3})
    ours = Trainer(dataset).train(trial, 3, recorder())
    assert ours.state == "complete", ours.message
    theirs = keras_alone(dataset, 3, (0.01, 1e-3), 2)
    for mine, loss in zip(ours.history, theirs, strict=True):
        assert math.isclose(mine["loss"], loss, rel_tol=2e-6, abs_tol=1e-5)
    assert [round(epoch["learning_rate"], 6) for epoch in ours.history] == [0.01, 0.01, 0.001, 0.001]


@pytest.mark.parametrize("engine", ["graph", pytest.param("fit", marks=pytest.mark.long)])
def test_the_stages_resume_exactly(engine, spec, dataset, recorder):
    """Interrupted anywhere, also between the stages, a trial ends with the bits of an undisturbed one."""
    from cnn_sweep.training.trial.trainer import Trainer

    trial = spec(
        LAYERS,
        epochs=2,
        fine_tune=TUNE,
        engine=engine,
        augmentation={"rotation": 10},
        class_weights={"1": 2.0},
        steps_per_epoch=4,
        schedule={"kind": "cosine"},
        checkpoint_every_s=0.0,
    )
    trainer = Trainer(dataset, chunk_s=0.0)
    notes = recorder()
    whole = trainer.train(trial, 5, notes)
    assert (whole.state, whole.epochs) == ("complete", 4), whole.message
    states = {epoch: state for state, epoch in notes.checkpoints}
    assert sorted(states) == [1, 2, 3]
    within = []
    if engine == "graph":
        for polls in (1, 6, 10, 15):
            monitor = recorder(stop_after_polls=polls)
            assert trainer.train(trial, 5, monitor).state == "interrupted"
            within.append(monitor.checkpoints[-1][0])
    for state in (*states.values(), *within):
        assert_equal(Trainer(dataset).train(trial, 5, recorder(), state), whole)


def test_early_stopping_ends_a_stage(spec, dataset, recorder):
    """A first stage that does not improve gives way to the second, which has a patience of its own."""
    from cnn_sweep.training.trial.trainer import Trainer

    still = {"name": "sgd", "learning_rate": 1e-30}
    tune = {"epochs": 9, "from_layer": True, "learning_rate": 1e-30}
    trial = spec(LAYERS, epochs=9, optimizer=still, early_stopping={"patience": 2, "min_delta": 1.0}, fine_tune=tune)
    assert Trainer(dataset).train(trial, 0, recorder()).epochs == 6


TEXT = """
study: tuned
data: {source: digits}
model: {layers: [{base: {name: VGG16, weights: none, trainable: $trainable}}, flatten, output]}
space: {layer: [block4_conv1, block9_conv1], trainable: [false, true]}
training: {epochs: 1, fine_tune: {epochs: 2, from: $layer, learning_rate: 1.0e-5}}
"""


def test_a_plan_tells_what_cannot_be_tuned(spec, dataset, recorder):
    """A layer that the base lacks, and a base trained from the first, are invalid; counts are the last stage's."""
    from cnn_sweep.training.trial.trainer import Trainer

    info = ImageInfo(image_shape=(32, 32, 3), class_names=("cat", "dog"))
    plan = make_plan([Sweep.parse(TEXT)], info)
    assert [c.params for c in plan.configurations] == [{"layer": "block4_conv1", "trainable": False}]
    assert plan.configurations[0].trainable == 14_714_688 - 1_735_488 + 513 * 2
    reasons = " ".join(one.reason for one in plan.invalid)
    assert "fine_tune.from: VGG16 has no layer 'block9_conv1' with weights" in reasons
    assert "begins with a base that is neither trained nor extracted" in reasons
    with pytest.raises(InputError, match="first layer is a base"):
        Trainer(dataset).train(spec(fine_tune=TUNE), 0, recorder())
