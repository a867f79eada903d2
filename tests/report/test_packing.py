"""Numbers of the page as base64."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from cnn_sweep.report.document.packing import pack_curves, pack_figures, packed
from cnn_sweep.report.figures.figure import Figure


def _read(found):
    return np.frombuffer(base64.b64decode(found["bdata"]), f"<{found['dtype']}")


@pytest.mark.parametrize(
    ("values", "dtype"), [([-3, 7] * 40, "i2"), ([40_000] * 60, "i4"), ([0.123456, 7, 1e-30] * 20, "f4")]
)
def test_numbers_are_packed_in_six_digits(values, dtype):
    """Integers are exact."""
    found = packed(values)
    assert found["dtype"] == dtype
    assert [float(f"{value:.6g}") for value in _read(found).tolist()] == values


@pytest.mark.parametrize(
    "values",
    [[1, 2], ["a"] * 60, [True] * 60, [2**40] * 60, [1e300] * 60, [1e-300] * 60, [2**24 + 1, None] * 30, [[1]] * 60],
)
def test_what_would_lose_something_stays(values):
    """Short arrays, texts, and numbers that single precision lacks."""
    assert packed(values) is values


def test_nothing_is_packed_as_nan():
    """Single precision has a value for what is missing."""
    assert np.isnan(_read(packed([0.5, None] * 30))[1::2]).all()


def test_an_array_of_several_figures_is_there_once():
    """Traces have its number; other arrays and settings stay in the trace."""
    trace = {"type": "scatter", "x": [*range(60)], "y": [0.5] * 60, "error_x": {"array": [0.5] * 60}}
    data = pack_figures([Figure("a", "A", "", (trace,), {}), Figure("b", "B", "", (trace | {"x": [1, 2]},), {})])
    (a,), (b,) = (data["figures"][name]["data"] for name in "ab")
    assert (a["x"], a["y"], b["x"], b["y"]) == ({"packed": 0}, {"packed": 1}, [1, 2], {"packed": 1})
    assert a["error_x"] == trace["error_x"]
    assert len(data["arrays"]) == 2


def test_curves_are_in_order_of_trials():
    """As a script's objects have their keys; epochs that count from 1 are their number."""
    curves = {
        10: [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 2.0}],
        2: [{"epoch": 3, "loss": 3.0, "accuracy": 4.0}],
    }
    assert pack_curves(curves | {3: []}) == {
        "names": ["loss", "accuracy"],
        "epochs": {2: [3], 10: 2},
        "values": [3.0, 4.0, 1.0, 2.0, None, None],
    }
