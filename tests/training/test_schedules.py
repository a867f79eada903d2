"""Learning rates as functions of time, and the effect of an epoch's metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.spec.training import TrainingSpec
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.training.engines.batches import order_of
from cnn_sweep.training.engines.schedules import base_rate, learning_rates
from cnn_sweep.training.trial.progress import TrialProgress


def rates(epoch=0, *, steps=4, scale=1.0, epochs=10, **schedule):
    """Return the rates of an epoch."""
    training = TrainingSpec(epochs=epochs, optimizer={"learning_rate": 1.0}, schedule=schedule)
    return learning_rates(training, epoch=epoch, steps=steps, scale=scale).tolist()


def test_schedules_follow_their_formulas():
    """Each kind of schedule gives the rates that its description promises."""
    assert rates() == [1.0] * 4
    assert rates(2, kind="step", rate=0.5, every=2) == [0.5] * 4
    assert rates(1, kind="exponential", rate=0.25, every=2, steps=2) == pytest.approx([0.5, 0.5**1.5])
    assert rates(5, steps=1, kind="cosine", floor=0.2) == pytest.approx([0.6])
    assert rates(scale=0.3, kind="plateau") == pytest.approx([0.3] * 4)
    assert rates(scale=0.3, kind="plateau", floor=0.4) == pytest.approx([0.4] * 4)


def test_a_warm_up_grows_from_zero():
    """The rate is 0 in the first step and full after ``warmup_epochs``."""
    assert rates(0, warmup_epochs=2) == pytest.approx([0, 1 / 8, 2 / 8, 3 / 8])
    assert rates(2, warmup_epochs=2) == [1.0] * 4


@given(steps=st.integers(1, 300), every=st.integers(1, 7), epoch=st.integers(0, 60))
def test_steps_fall_at_the_ends_of_epochs(steps, every, epoch):
    """A step schedule changes between epochs, never a step too early or too late."""
    assert set(rates(epoch, steps=steps, epochs=100, kind="step", rate=0.5, every=every)) == {0.5 ** (epoch // every)}


def test_an_optimizer_without_a_rate_has_that_of_keras():
    """Defaults are Keras's."""
    assert base_rate(TrainingSpec(epochs=1, optimizer={"name": "sgd"}).optimizer) == 0.01
    assert base_rate(TrainingSpec(epochs=1).optimizer) == 0.001


@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 1000), images=st.integers(1, 50))
def test_the_order_of_images_is_a_permutation_by_seed_and_epoch(seed, epoch, images):
    """Each image comes once, in an order that its seed and epoch decide."""
    order = order_of(seed, epoch, images)
    assert sorted(order.tolist()) == list(range(images))
    np.testing.assert_array_equal(order, order_of(seed, epoch, images))
    if images > 20:
        assert not np.array_equal(order, order_of(seed, epoch + 1, images))
        assert not np.array_equal(order, order_of(seed + 1, epoch, images))


def run(values, *, direction="maximize", **training):
    """Feed objectives until the trial is finished."""
    spec = TrainingSpec(epochs=len(values), **training)
    objective = ObjectiveSpec(metric="val_loss", direction=Direction(direction))
    progress = TrialProgress()
    for value in values:
        progress.end_epoch({"val_loss": value}, objective, spec)
        if progress.finished(spec):
            break
    return progress


def test_early_stopping_waits_as_told():
    """Training ends after ``patience`` epochs without an improvement; the best epoch is kept."""
    progress = run([1, 3, 2, 2, 9], early_stopping={"patience": 2})
    assert (progress.epoch, progress.best_epoch, progress.best_value) == (4, 2, 3)
    progress = run([3, 1, 2, 0.5, 9], direction="minimize", early_stopping={"patience": 2})
    assert (progress.epoch, progress.best_epoch) == (5, 4)


def test_early_stopping_can_watch_another_metric_than_the_objective():
    """Stopped when the loss no longer falls, the trial keeps the epoch with the best objective."""
    spec = TrainingSpec(epochs=9, early_stopping={"patience": 2, "monitor": "val_loss"})
    progress, objective = TrialProgress(), ObjectiveSpec(metric="val_kappa", direction=Direction.MAXIMIZE)
    for kappa, loss in [(0.1, 3.0), (0.5, 2.0), (0.2, 1.0), (0.3, 1.5), (0.4, 1.2), (0.9, 0.1)]:
        progress.end_epoch({"val_kappa": kappa, "val_loss": loss}, objective, spec)
        if progress.finished(spec):
            break
    assert (progress.epoch, progress.best_epoch, progress.stop_value) == (5, 2, 1.0)


def test_small_improvements_do_not_count_for_stopping_but_for_the_best():
    """``min_delta`` holds back early stopping; the best epoch is still the best one."""
    progress = run([1.0, 1.05, 1.06, 5.0], early_stopping={"patience": 2, "min_delta": 0.1})
    assert (progress.epoch, progress.best_epoch, progress.best_value) == (3, 3, 1.06)


def test_nan_is_never_the_best():
    """An epoch whose objective is not a finite number is passed over."""
    assert run([math.nan, 2.0, math.nan]).best_epoch == 2
    assert run([math.nan]).best_value is None
    assert run([math.inf, 2.0, math.inf]).best_value == 2.0
    assert run([-math.inf, 2.0, 1.0, -math.inf], direction="minimize").best_value == 1.0
    assert run([math.inf]).best_epoch is None


@pytest.mark.parametrize("value", [math.nan, math.inf, 5.0])
def test_the_first_epoch_neither_stops_a_trial_nor_lowers_its_rate(value):
    """Patience counts the epochs after the first one, whatever its objective is: there was nothing to improve on."""
    settings = {"early_stopping": {"patience": 1}, "schedule": {"kind": "plateau", "patience": 1}}
    progress = run([value, 2.0, 1.0, 1.5, 0.1], direction="minimize", **settings)
    assert (progress.epoch, progress.best_epoch, progress.rate_scale) == (4, 3, 0.5)


@given(values=st.lists(st.floats(), min_size=1, max_size=8))
def test_progress_survives_json(values):
    """A checkpoint contains a trial's complete progress."""
    import json

    progress = run(values, early_stopping={"patience": 3}, schedule={"kind": "plateau", "patience": 1})
    again = TrialProgress.from_json(json.loads(json.dumps(progress.to_json())))
    assert repr(again) == repr(progress)
