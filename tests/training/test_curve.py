"""The five numbers of a learning curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.training.evaluation.learning_curve import curve_numbers

_SHARE = st.floats(0.0, 1.0)


def _history(validation, training=None):
    pairs = zip(training or validation, validation, strict=True)
    return [{"accuracy": a, "val_accuracy": v, "loss": 1.0} for a, v in pairs]


def test_each_number_answers_its_question():
    """A curve that rises to a line with a known scatter has the numbers that one would draw."""
    validation = [0.5, 0.7, 0.85, 0.90, 0.91, 0.93, 0.93, 0.95]  # the tail is the last four: 0.91 to 0.95
    training = [v + 0.02 for v in validation]
    numbers = curve_numbers(_history(validation, training))
    assert list(numbers) == ["spread", "epochs_to_90", "gap", "slope", "final"]
    assert numbers["epochs_to_90"] == 4
    assert numbers["final"] == 0.95
    assert numbers["gap"] == pytest.approx(0.02)
    slope, middle = np.polyfit(range(4), validation[4:], 1)
    assert numbers["slope"] == pytest.approx(slope)
    rests = np.array(validation[4:]) - (middle + slope * np.arange(4))
    assert numbers["spread"] == pytest.approx(np.sqrt(np.mean(rests**2)))


def test_what_cannot_be_told_is_missing():
    """Two epochs give no line; a curve below 90%, one that diverged, and one without accuracies lack what they lack."""
    assert curve_numbers(_history([0.2, 0.95])) == {"epochs_to_90": 2, "final": 0.95}
    assert set(curve_numbers(_history([0.1, 0.2, 0.3]))) == {"spread", "gap", "slope", "final"}
    assert curve_numbers(_history([0.95, 0.96, math.nan])) == {"epochs_to_90": 1}
    assert curve_numbers([{"score": 1.0}] * 5) == {}
    assert curve_numbers([]) == {}


@given(st.lists(st.tuples(_SHARE, _SHARE), min_size=3, max_size=40), st.floats(-0.5, 0.5))
def test_only_the_shape_of_a_curve_counts(pairs, shift):
    """Spread and slope agree with numpy's fit, and do not change when the curve is shifted as a whole."""
    training, validation = map(list, zip(*pairs, strict=True))
    numbers = curve_numbers(_history(validation, training))
    tail = np.array(validation[-max(3, math.ceil(len(validation) / 2)) :])
    slope, middle = np.polyfit(np.arange(len(tail)), tail, 1)
    assert numbers["slope"] == pytest.approx(slope, abs=1e-9)
    rests = tail - middle - slope * np.arange(len(tail))
    assert numbers["spread"] == pytest.approx(math.sqrt(np.mean(rests**2)), abs=1e-9)
    shifted = curve_numbers(_history([v + shift for v in validation], training))
    assert shifted["slope"] == pytest.approx(numbers["slope"], abs=1e-9)
    assert shifted["spread"] == pytest.approx(numbers["spread"], abs=1e-9)
