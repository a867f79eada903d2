"""``expand_grid`` as a table."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.sweep.space import expand_grid as expand
from cnn_sweep.sweep.space.expand_grid import expand_grid


def test_rows_come_in_the_order_of_r():
    """expand.grid(height = c(60, 80), weight = c(100, 300), sex = c("M", "F")) of R's own documentation."""
    table = expand_grid(height=[60, 80], weight=[100, 300], sex=["M", "F"])
    assert list(table.columns) == ["height", "weight", "sex"]
    assert list(table.itertuples(index=False, name=None)) == [
        (60, 100, "M"),
        (80, 100, "M"),
        (60, 300, "M"),
        (80, 300, "M"),
        (60, 100, "F"),
        (80, 100, "F"),
        (60, 300, "F"),
        (80, 300, "F"),
    ]


def test_types_of_columns_are_kept():
    """Whole numbers stay whole, truth values stay truth values, arrays and ranges are factors."""
    table = expand_grid(a=range(2), b=np.array([0.5, 1.5]), c=(True, False), d=pd.Series([1, 2]))
    assert [str(kind) for kind in table.dtypes] == ["int64", "float64", "bool", "int64"]
    assert len(table) == 16


def test_single_values_and_lists_of_lists():
    """A text or number is one value; of a list of lists each list is a value."""
    table = expand_grid(optimizer="sgd", seed=3, kernel=[[3, 3], [5, 5]])
    assert list(table.itertuples(index=False, name=None)) == [("sgd", 3, [3, 3]), ("sgd", 3, [5, 5])]


def test_a_factor_without_values_leaves_no_rows():
    """As in R, nothing times something is nothing, but the columns are there."""
    assert expand_grid(a=[1, 2], b=[]).shape == (0, 2)
    assert expand_grid().shape == (0, 0)


def test_the_documentation_tells_the_truth():
    """The example in the docstring prints what it says."""
    assert doctest.testmod(expand).failed == 0


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_every_combination_comes_once(sizes):
    """The table has a row for each combination, counted up like digits with the first column last."""
    table = expand_grid(**{f"f{i}": range(size) for i, size in enumerate(sizes)})
    assert len(table) == math.prod(sizes)
    places = [math.prod(sizes[:i]) for i in range(len(sizes))]
    numbers = (table.to_numpy() * np.array(places)).sum(axis=1)
    assert list(numbers) == list(range(len(table)))
