"""Values and conditions of hyperparameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.sweep.identity import value_key
from cnn_sweep.sweep.space.space import Choices, Parameter, Range, Space


@pytest.mark.parametrize(
    ("range_", "values"),
    [
        (Range(1e-4, 1e-1, log=True, points=4), (0.0001, 0.001, 0.01, 0.1)),
        (Range(0.0, 0.99, points=3), (0.0, 0.495, 0.99)),
        (Range(0.0, 0.5, step=0.25), (0.0, 0.25, 0.5)),
        (Range(0.0, 0.5, step=0.2), (0.0, 0.2, 0.4)),
        (Range(0.1, 0.7, step=0.1), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        (Range(2, 5, integer=True), (2, 3, 4, 5)),
        (Range(2, 9, step=3, integer=True), (2, 5, 8)),
        (Range(8, 128, log=True, points=5, integer=True), (8, 16, 32, 64, 128)),
        (Range(1, 3, points=7, integer=True), (1, 2, 3)),
        (Range(0.5, 4.0, points=1), (0.5,)),
        (Range(3, 3, integer=True), (3,)),
        (Range(0.0, 1.0), None),
        (Range(1, 9, log=True, integer=True), None),
    ],
)
def test_a_range_has_its_grid(range_, values):
    """Points, steps and whole numbers give exactly the values that one would write by hand."""
    assert range_.grid == values
    if values is not None:
        assert [type(value) for value in range_.grid] == [type(value) for value in values]


ranges = st.one_of(
    st.builds(
        lambda low, width, log: Range(low, low + width, log=log),
        st.floats(1e-6, 1e3),
        st.floats(0, 1e3),
        st.booleans(),
    ),
    st.builds(
        lambda low, width, log: Range(low, low + width, log=log, integer=True),
        st.integers(1, 1000),
        st.integers(0, 1000),
        st.booleans(),
    ),
    st.builds(
        lambda low, step, count: Range(low, low + step * count, step=step, integer=True),
        st.integers(-50, 50),
        st.integers(1, 9),
        st.integers(1, 30),
    ),
    st.builds(
        lambda low, step, count: Range(low / 16, (low + step * count) / 16, step=step / 16),
        st.integers(-50, 50),
        st.integers(1, 9),
        st.integers(1, 30),
    ),
)


@given(ranges, st.floats(0, 1, exclude_max=True))
def test_every_share_of_a_range_is_a_value_of_it(range_, share):
    """A draw stays inside its range, on its steps, and is its own nearest value."""
    value = range_.at(share)
    assert range_.contains(value)
    assert range_.nearest(value) == value
    assert isinstance(value, int) == range_.integer


@given(ranges)
def test_the_first_and_last_share_are_the_ends(range_):
    """Share 0 is the low end; whole numbers and steps reach their last value at the top share."""
    assert range_.at(0.0) == range_.nearest(range_.low)
    if range_.integer and range_.step is None:
        assert range_.at(1 - 1e-12) == range_.high


def test_steps_of_a_draw_are_equally_likely():
    """The shares of [0, 1) are dealt out evenly to the values of a stepped range and to choices."""
    shares = [(i + 0.5) / 600 for i in range(600)]
    for domain in (Range(0.0, 0.5, step=0.25), Range(1, 3, integer=True), Choices(("a", "b", "c"))):
        drawn = [domain.at(share) for share in shares]
        assert [drawn.count(value) for value in domain.grid] == [200, 200, 200]


def test_truth_values_are_no_numbers():
    """`true` is neither the choice 1 nor a number of a range."""
    assert not Choices((1, 2)).contains(True)
    assert not Range(0, 3, integer=True).contains(True)


def chain() -> Space:
    """Give a space in which c depends on b, which depends on a."""
    return Space(
        (
            Parameter("c", Choices((1, 2)), {"b": ("on",)}),
            Parameter("a", Choices(("x", "y"))),
            Parameter("b", Choices(("on", "off")), {"a": ("x",)}),
        )
    )


def test_a_parameter_behind_an_inactive_one_is_inactive():
    """What depends on an inactive parameter does not count either, wherever it stands in the file."""
    assert chain().complete({"a": "x", "b": "on", "c": 2}) == {"c": 2, "a": "x", "b": "on"}
    assert chain().complete({"a": "y", "b": "on", "c": 2}) == {"a": "y"}
    assert chain().complete({"a": "x", "b": "off", "c": 2}) == {"a": "x", "b": "off"}


def test_parameters_keep_the_order_of_the_file():
    """A configuration lists its parameters as the file does."""
    assert list(chain().complete({"a": "x", "b": "on", "c": 2})) == ["c", "a", "b"]
    assert [parameter.name for parameter in chain().ordered] == ["a", "b", "c"]


def test_conditions_in_a_circle_are_found():
    """Two parameters that wait for each other are an error that names them."""
    space = Space((Parameter("a", Choices((1,)), {"b": (1,)}), Parameter("b", Choices((1,)), {"a": (1,)})))
    with pytest.raises(ValueError, match="cycle: a, b"):
        _ = space.ordered


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ([3, 3], (3, 3.0), True),
        ([[1], [2]], ((1,), [2]), True),
        (0, 0.0, True),
        (None, None, True),
        (1, True, False),
        ([0], [False], False),
        (None, "null", False),
        ("1", 1, False),
        ([1, 2], [1], False),
        ({"a": 1}, {"a": 1}, True),
    ],
)
def test_a_choice_is_known_however_it_is_written(one, other, equal):
    """Journals write lists and tuples alike and 1.0 for 1; truth values, texts and null are themselves alone."""
    assert (value_key(one) == value_key(other)) is equal
    assert Choices((one,)).index(other) == (0 if equal else None)
    conditional = Parameter("b", Choices((1,)), when={"a": (one,)})
    assert conditional.is_active({"a": other}) is equal
