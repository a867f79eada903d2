"""Samplers that are functions of (sweep, number)."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import pytest

from cnn_sweep.search.samplers import configurations, draw, is_adaptive
from cnn_sweep.sweep.identity import configuration_id

METHODS = ["random", "qmc"]


@pytest.mark.parametrize("method", METHODS)
def test_a_draw_depends_on_the_sweep_and_its_number_alone(sweep, method):
    """Whoever begins anywhere in the sequence gets the same draws, also across blocks of the Sobol sequence."""
    one = sweep(f"method: {method}, trials: 600, seed: 7")
    whole = list(islice(draw(one), 600))
    for first in (1, 255, 256, 511):
        assert (
            list(islice(draw(sweep(f"method: {method}, trials: 9, seed: 7"), first=first), 40))
            == (whole[first : first + 40])
        )


@pytest.mark.parametrize("method", METHODS)
def test_draws_repeat_in_another_process(sweep, method):
    """Nothing of the process (its hash seed, its clock) is in a draw."""
    one = sweep(f"method: {method}, trials: 5, seed: 3")
    code = (
        "import sys; from cnn_sweep.sweep.sweep import Sweep; from cnn_sweep.search.samplers import configurations; "
        "print(configurations(Sweep.parse(sys.stdin.read())).params)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, input=one.text, capture_output=True, encoding="utf-8", check=True)
    assert found.stdout.strip() == repr(configurations(one).params)


def test_the_first_random_draws_never_change(sweep):
    """Studies that are continued by another version rely on these values."""
    first = next(draw(sweep("method: random, trials: 5, seed: 1")))
    assert first == {
        "filters": 8,
        "kernel": 9,
        "rate": 0.0103501616115,
        "optimizer": "sgd",
        "momentum": 0.634675697101,
    }


@pytest.mark.parametrize("method", METHODS)
def test_other_seeds_draw_other_configurations(sweep, method):
    """The seed of the search is the seed of the draws."""
    one, other = (configurations(sweep(f"method: {method}, trials: 5, seed: {seed}")) for seed in (1, 2))
    assert one.params != other.params


@pytest.mark.parametrize("method", METHODS)
def test_as_many_configurations_as_asked_for(sweep, method):
    """What violates a constraint or came before is left out, counted, and made up for."""
    one = sweep(f"method: {method}, trials: 200")
    drawn = configurations(one)
    assert len(drawn.params) == len({configuration_id(params) for params in drawn.params}) == 200
    assert all(one.satisfies(params) for params in drawn.params)
    assert drawn.rejected > 0
    assert drawn.draws == 200 + drawn.rejected + drawn.duplicates
    assert not drawn.exhausted


def test_a_small_space_ends_the_search(sweep):
    """Where there are fewer configurations than trials, the sampler finds them all and says so."""
    changes = ("{low: 1.0e-4, high: 1.0e-1, log: true, points: 4}", "[0.1]"), (", points: 2", ", step: 0.3")
    drawn = configurations(sweep("method: random, trials: 100", *changes))
    grid = sweep("method: grid", *changes).grid.rows
    assert drawn.exhausted
    assert {configuration_id(params) for params in drawn.params} == {configuration_id(row) for row in grid}


def test_sobol_points_are_spread_evenly(sweep):
    """Of the first 64 points of the sequence each quarter of a range gets 16."""
    one = sweep(
        "method: qmc, trials: 64", ("{low: 1.0e-4, high: 1.0e-1, log: true, points: 4}", "{low: 1.0, high: 2.0}")
    )
    values = [params["rate"] for params in islice(draw(one), 64)]
    assert [sum(low <= value < low + 0.25 for value in values) for low in (1, 1.25, 1.5, 1.75)] == [16] * 4


def test_a_grid_is_cut_at_the_number_of_trials(sweep):
    """`trials` caps a grid at its first rows."""
    rows = sweep().grid.rows
    assert configurations(sweep()).params == rows
    assert configurations(sweep("method: grid, trials: 7")).params == rows[:7]


def test_more_draws_follow_those_that_are_known(sweep):
    """A longer search begins with the shorter one."""
    short, long = (configurations(sweep(f"method: random, trials: {n}")) for n in (20, 50))
    more = configurations(sweep("method: random, trials: 50"), known=short.params, first=short.draws)
    assert short.params + more.params == long.params


def test_adaptive_searches_are_not_drawn_ahead(sweep):
    """The estimator needs results, so there is nothing to list."""
    one = sweep("method: tpe, trials: 5")
    assert is_adaptive(one)
    assert not is_adaptive(sweep())
    with pytest.raises(ValueError, match="one at a time"):
        configurations(one)
