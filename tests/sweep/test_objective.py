"""What a trial is worth over its epochs: the best one, the last one, or the mean of the last few."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.spec.trial import MeanLastSpec, ObjectiveSpec, TrialSpec

CURVE = {1: 0.5, 2: 0.9, 3: 0.6, 4: 0.75}


@pytest.mark.parametrize(
    ("value", "direction", "expected"),
    [
        ("best", "maximize", (2, 0.9)),
        ("best", "minimize", (1, 0.5)),
        ("last", "maximize", (4, 0.75)),
        ({"mean_last": 2}, "minimize", (4, 0.675)),
        ({"mean_last": 9}, "maximize", (4, 0.6875)),
    ],
)
def test_a_trial_is_worth_what_the_objective_says(value, direction, expected):
    """The epoch is the one whose weights are kept; a mean over more epochs than there are is that of all."""
    epoch, found = ObjectiveSpec(value=value, direction=direction).result(CURVE)
    assert (epoch, found) == (expected[0], pytest.approx(expected[1]))


@given(st.dictionaries(st.integers(1, 9), st.none() | st.floats(width=32), max_size=6), st.integers(1, 4))
def test_epochs_without_a_value_take_the_value_of_the_last_ones(values, last):
    """A best epoch exists if any has a finite value; a mean of the last ones needs a finite value in each."""
    finite = {epoch for epoch, value in values.items() if value is not None and math.isfinite(value)}
    best = ObjectiveSpec(direction=Direction.MINIMIZE).result(values)
    assert (best is None) == (not finite)
    mean = ObjectiveSpec(value=MeanLastSpec(mean_last=last)).result(values)
    counted = sorted(values)[-last:]
    assert (mean is None) == (not counted or not finite.issuperset(counted))
    assert mean is None or mean[0] == max(values)


def test_the_best_epoch_is_what_a_sweep_meant_all_along():
    """The default is in no canonical form, so digests and checkpoints of earlier studies keep their meaning."""
    assert "value" not in TrialSpec(params={}, objective={"value": "best"}).model_dump_json().partition("objective")[2]
    assert ObjectiveSpec(value="last").model_dump() != ObjectiveSpec().model_dump()
