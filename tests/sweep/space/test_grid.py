"""The rows of a grid."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.sweep.expressions.expression import Expression
from cnn_sweep.sweep.identity import configuration_id
from cnn_sweep.sweep.space.grid import GridTooLargeError, grid, satisfies
from cnn_sweep.sweep.space.space import Choices, Parameter, Range, Space


def space(**choices) -> Space:
    """Make a space of independent choices."""
    return Space(tuple(Parameter(name, Choices(tuple(values))) for name, values in choices.items()))


def rows(found) -> list[tuple]:
    """Give the values of each row."""
    return [tuple(row.values()) for row in found.rows]


def test_the_first_factor_varies_fastest():
    """Rows come as in R: expand.grid(a = 1:3, b = c("x", "y"), c = c(TRUE, FALSE))."""
    found = grid(space(a=[1, 2, 3], b=["x", "y"], c=[True, False]), ())
    assert rows(found) == [
        (1, "x", True),
        (2, "x", True),
        (3, "x", True),
        (1, "y", True),
        (2, "y", True),
        (3, "y", True),
        (1, "x", False),
        (2, "x", False),
        (3, "x", False),
        (1, "y", False),
        (2, "y", False),
        (3, "y", False),
    ]
    assert (found.duplicates, found.rejected) == (0, 0)


def test_conditions_leave_the_rows_of_the_full_product_without_what_is_inactive():
    """Momentum counts with sgd alone, so adam comes once; its place is that of its first row in R's table."""
    both = Space(
        (
            Parameter("optimizer", Choices(("sgd", "adam"))),
            Parameter("momentum", Range(0.0, 0.9, points=3), {"optimizer": ("sgd",)}),
            Parameter("filters", Choices((8, 16))),
        )
    )
    found = grid(both, ())
    assert rows(found) == [
        ("sgd", 0.0, 8),
        ("adam", 8),
        ("sgd", 0.45, 8),
        ("sgd", 0.9, 8),
        ("sgd", 0.0, 16),
        ("adam", 16),
        ("sgd", 0.45, 16),
        ("sgd", 0.9, 16),
    ]
    assert found.duplicates == 12 - 8


def test_rows_that_violate_a_constraint_are_left_out_and_counted():
    """Of six rows two are too large."""
    found = grid(space(batch=[32, 64], filters=[8, 16, 32]), [Expression("batch * filters <= 512")])
    assert rows(found) == [(32, 8), (64, 8), (32, 16)]
    assert found.rejected == 3


def test_a_constraint_on_an_inactive_parameter_does_not_apply():
    """Rows without the parameter stay, whatever the constraint says."""
    assert satisfies({"a": 1}, [Expression("a < b")])
    assert not satisfies({"a": 1, "b": 0}, [Expression("a < b")])


def test_a_space_without_parameters_has_one_configuration():
    """Nothing to vary is one way to train."""
    assert grid(Space(), ()).rows == ({},)


def test_a_grid_that_nobody_can_train_is_refused():
    """A million rows are an error before they fill the memory."""
    with pytest.raises(GridTooLargeError, match="more than 200,000"):
        grid(space(**{name: list(range(100)) for name in "abcd"}), ())


@st.composite
def conditional_spaces(draw: st.DrawFn) -> Space:
    """Draw a space whose parameters may depend on others, earlier or later in the file."""
    count = draw(st.integers(1, 5))
    domains = [tuple(range(draw(st.integers(1, 3)))) for _ in range(count)]
    order = draw(st.permutations(range(count)))
    parameters = {}
    for place, own in enumerate(order):
        when = {}
        for other in order[:place]:
            if draw(st.integers(0, 3)) == 0:
                wanted = draw(st.sets(st.sampled_from(domains[other]), min_size=1))
                when[f"p{other}"] = tuple(sorted(wanted))
        parameters[own] = Parameter(f"p{own}", Choices(domains[own]), when)
    return Space(tuple(parameters[index] for index in range(count)))


@given(conditional_spaces())
def test_a_grid_is_the_full_product_without_its_duplicates(any_space):
    """Rows are those of the whole product in R's order, with what is inactive taken out and each row once."""
    domains = [parameter.domain.values for parameter in any_space.parameters]
    expected: dict[str, dict] = {}
    for reversed_row in itertools.product(*reversed(domains)):
        values = dict(zip(any_space.names, reversed(reversed_row), strict=True))
        params = any_space.complete(values)
        expected.setdefault(configuration_id(params), params)
    found = grid(any_space, ())
    assert list(found.rows) == list(expected.values())
    assert [list(row) for row in found.rows] == [list(row) for row in expected.values()]
    assert found.duplicates == math.prod(map(len, domains)) - len(expected)


@given(conditional_spaces(), st.sampled_from(["p0 > 0", "p0 <= p1", "p0 + p1 + p2 < 3", "p2 != 1"]))
def test_no_row_comes_twice_and_every_row_satisfies_the_constraints(any_space, text):
    """With any conditions and constraints, rows are different, valid, and together with the rejected all of them."""
    constraint = Expression(text)
    found = grid(any_space, [constraint])
    names = [configuration_id(row) for row in found.rows]
    assert len(set(names)) == len(names)
    for row in found.rows:
        assert constraint.evaluate(row) is not False
    assert len(found.rows) + found.rejected == len(grid(any_space, ()).rows)
