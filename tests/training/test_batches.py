"""Which images each step sees, what they weigh, and how far validation looks: Keras's rules, resumed exactly."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from helpers.outcomes import assert_equal, resumed

from cnn_sweep.errors import InputError
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.spec.training import TrainingSpec
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.engines.batches import batches_of, class_weights, order_of, validation_sample

WEIGHTS = {"0": 3.0, "2": 0.25}


@pytest.mark.parametrize(("images", "size", "steps"), [(45, 8, 4), (45, 8, 6), (45, 8, 13), (40, 8, 3), (3, 8, 5)])
def test_passes_run_on_from_epoch_to_epoch(images, size, steps):
    """The batches of all epochs, one after the other, are those of one pass after the other."""
    training = TrainingSpec(epochs=9, batch_size=size, steps_per_epoch=steps)
    seen = []
    for epoch in range(9):
        order, starts = batches_of(training, seed=2, epoch=epoch, images=images)
        assert (len(starts), starts[0], starts[-1]) == (steps + 1, 0, len(order))
        seen += [order[a:b].tolist() for a, b in pairwise(starts)]
    passes = [order_of(2, number, images) for number in range(9 * steps)]
    wanted = [one[k : k + size].tolist() for one in passes for k in range(0, images, size)]
    assert seen == wanted[: len(seen)]


def test_an_epoch_is_one_pass_by_default():
    """Without steps_per_epoch, and with that of one pass, an epoch has the order of (seed, epoch)."""
    for steps in (None, 6):
        training = TrainingSpec(epochs=3, batch_size=8, steps_per_epoch=steps)
        order, starts = batches_of(training, seed=1, epoch=2, images=45)
        np.testing.assert_array_equal(order, order_of(1, 2, 45))
        assert starts.tolist() == [0, 8, 16, 24, 32, 40, 45]


def test_validation_steps_take_a_sample_that_grows():
    """Some batches of validation images are the same for every trial, and part of those of more batches."""
    samples = [
        validation_sample(TrainingSpec(epochs=1, batch_size=8, validation_steps=steps), 100) for steps in (1, 5, None)
    ]
    assert [len(sample) for sample in samples] == [8, 40, 100]
    assert set(samples[0]) < set(samples[1]) < set(samples[2])
    assert samples[1].tolist() != list(range(40))


def test_class_weights_by_name():
    """Balanced weights make classes count alike; a class without a weight has 1; an unknown one is an error."""
    info, labels = ImageInfo(image_shape=(1, 1, 1), class_names=("cat", "dog")), np.array([0, 0, 0, 1], np.int32)
    balanced = class_weights(TrainingSpec(epochs=1, class_weights="balanced"), info, labels)
    np.testing.assert_allclose(balanced, [4 / 6, 2])
    assert class_weights(TrainingSpec(epochs=1, class_weights={"dog": 3}), info, labels).tolist() == [1, 3]
    with pytest.raises(InputError, match=r"class_weights.dgo: unknown class 'dgo' \(did you mean 'dog'\?\)"):
        class_weights(TrainingSpec(epochs=1, class_weights={"dgo": 3}), info, labels)


def test_a_plan_knows_the_classes():
    """A weight for a class that the data lacks is found before anything runs."""
    text = """
study: weighed
data: {source: digits}
model: {layers: [flatten, output]}
space: {weight: [1.0, 2.0]}
training: {epochs: 1, class_weights: {'3': $weight, cat: 2}}
"""
    info = ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))
    with pytest.raises(InputError, match="unknown class 'cat'"):
        make_plan([Sweep.parse(text)], info)
    plan = make_plan([Sweep.parse(text.replace(", cat: 2", ""))], info)
    assert len(plan.trials) == 2


def fit(spec, dataset, seed):
    """Train with Keras alone from the same weights; return each epoch's loss and accuracy."""
    import keras

    from cnn_sweep.training.network.model import initial_weights, plain_model

    training = spec.training
    model = plain_model(spec.layers, dataset.info, rescale=dataset.rescale)
    model.set_weights(initial_weights(model, seed))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(), metrics=["accuracy"])
    weights = {int(name): value for name, value in (training.class_weights or {}).items()}

    class Steps(keras.utils.PyDataset):  # the only source for which Keras takes class_weight beside batches of any size
        def __len__(self):
            return 10_000

        def __getitem__(self, step):
            number, place = divmod(step, -(-len(dataset.train.y) // training.batch_size))
            order = order_of(seed, number, len(dataset.train.y))
            index = order[place * training.batch_size : (place + 1) * training.batch_size]
            return dataset.train.x[index].astype(np.float32), np.eye(3, dtype=np.float32)[dataset.train.y[index]]

    weights = {int(name): value for name, value in training.class_weights.items()} | {1: 1.0}
    steps, epochs = training.steps_per_epoch, training.epochs
    run = model.fit(Steps(), steps_per_epoch=steps, epochs=epochs, class_weight=weights, shuffle=False, verbose=0)
    return list(zip(run.history["loss"], run.history["accuracy"], strict=True))


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_weights_and_steps_are_those_of_keras(engine, spec, dataset, recorder):
    """Losses with class weights, over epochs that are no passes, are those of model.fit with a generator."""
    from cnn_sweep.training.trial.trainer import Trainer

    trial = spec(epochs=4, steps_per_epoch=4, class_weights=WEIGHTS, optimizer={"learning_rate": 0.01}, engine=engine)
    ours = Trainer(dataset).train(trial, 3, recorder())
    assert ours.state == "complete", ours.message
    for mine, (loss, accuracy) in zip(ours.history, fit(trial, dataset, 3), strict=True):
        assert math.isclose(mine["loss"], loss, abs_tol=1e-5)
        assert math.isclose(mine["accuracy"], accuracy, abs_tol=1e-6)


@pytest.mark.parametrize("engine", ["graph", "fit"])
def test_epochs_that_are_no_passes_resume_exactly(engine, spec, dataset, recorder):
    """Stopped again and again, a trial with steps, weights, augmentation and a validation sample ends the same."""
    from cnn_sweep.training.trial.trainer import Trainer

    trial = spec(
        epochs=5,
        steps_per_epoch=4,
        validation_steps=1,
        class_weights=WEIGHTS,
        engine=engine,
        augmentation={"rotation": 20, "horizontal_flip": True},
    )
    trainer = Trainer(dataset, chunk_s=0.0)
    whole = trainer.train(trial, 5, recorder())
    assert_equal(resumed(trainer, trial, 5, polls=4, attempts=40), whole)


def test_all_of_it_is_data_of_the_graph(spec, dataset, recorder):
    """Weights, steps and validation samples compile nothing, and each changes the result."""
    from cnn_sweep.training.trial.trainer import Trainer

    trainer = Trainer(dataset)
    options = ({}, {"class_weights": WEIGHTS}, {"steps_per_epoch": 2}, {"validation_steps": 2})
    seen = [trainer.train(spec(**option), 0, recorder()).history for option in options]
    assert (trainer.misses, trainer.hits) == (1, 3)
    assert all(one != other for k, one in enumerate(seen) for other in seen[:k])
    validated = trainer.train(spec(validation_steps=99), 0, recorder()).history
    assert validated == seen[0]
