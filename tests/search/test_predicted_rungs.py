"""Predicted ends of learning curves, and what a worker chooses by them."""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
import pytest

from cnn_sweep.search.learning_curves import CurveModel, features_of
from cnn_sweep.search.predicted_rungs import Known, choices
from cnn_sweep.search.rungs import FineLadder

LEVELS = FineLadder().levels(27)


def test_rungs_are_half_as_far_again():
    """Rungs grow by half, at least by one epoch, and the end of training is the last level."""
    assert FineLadder().levels(27) == (1, 2, 3, 4, 6, 9, 14, 21, 27)
    assert FineLadder(5).levels(12) == (5, 8, 12)
    assert FineLadder(5).levels(3) == (3,)
    assert [FineLadder(5).next_level(0, epochs) for epochs in (0, 5, 6, 12)] == [5, 8, 8, 18]


def crossing(count, seed=0):
    """Return curves of slow learners that end high and fast ones that end low, and their learning rates."""
    chance = np.random.default_rng(seed)
    rate = chance.random(count)
    at = np.array(LEVELS) / LEVELS[-1]
    curves = (1.2 - rate[:, None]) * at ** (1.5 - 1.4 * rate[:, None]) + chance.normal(0, 0.01, (count, len(LEVELS)))
    return np.maximum.accumulate(curves, axis=1), features_of([{"rate": float(one)} for one in rate])


def known(results, features, **more):
    """Return what is known of trials with some results."""
    flags = dict.fromkeys(("fresh", "over", "believed"), np.zeros(len(results), dtype=bool))
    none = {**flags, "violations": np.zeros(len(results))}
    return Known(LEVELS, np.arange(len(results)), results, features, **{**none, **more})


def test_slow_learners_are_expected_to_win_once_some_have():
    """Where the worst of the early epochs are the best at the end, a few complete trials teach that."""
    curves, features = crossing(60)
    results = curves.copy()
    results[20:, 2:] = np.nan
    assert np.corrcoef(results[20:, 1], curves[20:, -1])[0, 1] < -0.5
    model = CurveModel.fit(LEVELS, results, features)
    mean, sd = model.predict(results[20:], features[20:])
    assert np.corrcoef(mean, curves[20:, -1])[0, 1] > 0.8
    assert (sd > 0.05).all()


def test_chances_are_those_of_independent_draws():
    """The probability of being the best agrees with drawing ends from the predictions, one in twenty more widely."""
    curves, features = crossing(20, seed=1)
    curves[10:, 4:] = np.nan
    found = CurveModel.fit(LEVELS, curves, features).predict(curves, features)
    chance = np.random.default_rng(0)
    wide = np.where(chance.random((40_000, 20)) < 0.05, 3.0, 1.0)
    draws = chance.normal(found.mean, found.sd * wide).argmax(axis=1)
    shares = np.bincount(draws, minlength=20) / 40_000
    assert found.chances().sum() == pytest.approx(1.0)
    assert np.abs(found.chances() - shares).max() < 0.05  # beyond four standard deviations nothing is counted


def test_a_choice_is_a_function_of_what_is_known_and_the_seed():
    """The same results give the same choices; one more result, or another seed, may give others."""
    curves, features = crossing(40)
    curves[:, 3:] = np.nan
    paused = np.ones(40, dtype=bool)
    first = [list(choices(known(curves, features), paused, 7)) for _ in range(2)]
    assert first[0] == first[1]
    drawn = [next(choices(known(curves, features), paused, seed)).drawn for seed in range(80)]
    assert 0.03 < np.mean(drawn) < 0.25
    more = curves.copy()
    more[0, 3] = 9.0
    assert known(more, features).digest != known(curves, features).digest


def test_the_most_promising_trial_comes_first_now_and_then_until_one_is_complete():
    """Mostly one with a cheaper rung is preferred, in about a sixth of cases that with the greatest chance."""
    curves, features = crossing(40)
    depths = np.random.default_rng(0).integers(1, len(LEVELS), 40)
    depths[30:] = 0
    curves[np.arange(len(LEVELS)) >= depths[:, None]] = np.nan
    paused = depths > 0
    table = known(curves, features, fresh=~paused)
    leader, preferred = table.expected()[1][paused].argmax(), (table.expected()[1] / table.costs() ** 0.5).argmax()
    assert leader != preferred
    first = [next(choices(table, paused, seed)).number for seed in range(200)]
    assert 0.1 < first.count(leader) / 200 < 0.25
    assert first.count(preferred) / 200 > 0.5
    results = np.vstack([curves, np.full(len(LEVELS), 0.2)])
    more, going = (
        known(results, np.vstack([features, features[:1]]), fresh=np.append(~paused, False)),
        np.append(paused, False),
    )
    leader = np.where(going, more.expected()[1], -1.0).argmax()
    assert sum(next(choices(more, going, seed)).number == leader for seed in range(200)) / 200 < 0.05


def test_a_study_goes_on_while_something_may_be_better_and_then_ends():
    """With a clear winner nothing is left to choose; with rivals whose end is open, trials go on."""
    curves, features = crossing(60)
    paused = np.ones(60, dtype=bool)
    paused[:30] = False
    worse = curves.copy()
    worse[30:] -= 5.0
    worse[30:, 7:] = np.nan
    assert list(choices(known(worse, features), paused, 0)) == []
    curves[30:, 1:] = np.nan
    assert len(list(choices(known(curves, features), paused, 0))) >= 30


def test_the_first_trials_begin_as_planned():
    """Nothing is predicted from fewer than twelve trials while others may begin."""
    curves, features = crossing(30)
    curves[:, 1:] = np.nan
    curves[11:] = np.nan
    fresh = np.arange(30) >= 11
    first = list(islice(choices(known(curves, features, fresh=fresh), ~fresh, 0), 3))
    assert [(one.number, one.chance) for one in first] == [(11, None), (12, None), (13, None)]


def test_what_violates_constraints_is_not_trained_unless_nothing_else_is_left():
    """The best curves violate a constraint: the others get all chances, until they have failed."""
    curves, features = crossing(40)
    curves[:, 3:] = np.nan
    violations = np.where(curves[:, 2] > np.median(curves[:, 2]), 0.2, 0.0)
    violations[0] = 0.1
    feasible = violations == 0.0
    paused = np.ones(40, dtype=bool)
    table = known(curves, features, violations=violations)
    assert table.expected()[1][feasible].sum() == pytest.approx(1.0)
    for seed in range(20):  # also what is drawn
        assert {one.number for one in choices(table, paused, seed)} == set(np.flatnonzero(feasible))
    assert list(choices(table, paused & ~feasible, 0)) == []
    failed = known(curves, features, violations=violations, over=feasible)
    assert [(one.number, one.chance) for one in choices(failed, paused, 3)] == [(0, 1.0)]
    assert table.digest != known(curves, features).digest


@pytest.mark.parametrize("trouble", [-np.inf, "equal", "single"])
def test_odd_results_are_predicted_without_a_warning(trouble):
    """Diverged trials, results that are all equal, and a single trial do no harm."""
    curves, features = crossing(30)
    curves[:, 2:] = np.nan
    if trouble == "equal":
        curves[:, :2] = 0.5
    elif trouble == "single":
        curves, features = curves[:1], features[:1]
    else:
        curves[::2, :2] = trouble
    found = list(choices(known(curves, features), np.ones(len(curves), dtype=bool), 0))
    assert len(found) >= len(curves)
    assert all(0.0 <= one.chance <= 1.0 for one in found)


def test_hyperparameters_of_any_kind_have_features():
    """Numbers, words, lists, booleans and inactive parameters are encoded; what does not vary is left out."""
    params = [{"a": 1e-4, "b": "x", "c": [1, 2], "same": 3}, {"a": 1e-1, "b": "y", "d": True, "same": 3}, {"a": 1e-2}]
    found = features_of(params)
    assert found.shape[0] == 3
    assert np.isfinite(found).all()
    assert found[:, 0] == pytest.approx([-1, 1, 1 / 3])
    assert features_of([{}, {}]).shape == (2, 0)


def test_a_decision_among_five_thousand_trials_is_quick():
    """It takes about 0.1 s of processor time; other programs on the same core may double that."""
    chance = np.random.default_rng(0)
    results = np.maximum.accumulate(chance.random((5_000, len(LEVELS))), axis=1)
    results[np.arange(len(LEVELS)) >= np.minimum(chance.geometric(0.4, 5_000), len(LEVELS))[:, None]] = np.nan
    table = known(results, chance.random((5_000, 14)))
    used = []
    for _ in range(3):
        began = time.process_time()
        next(choices(table, table.reached < len(LEVELS), 0))
        used.append(time.process_time() - began)
    assert min(used) < 0.4


@pytest.mark.parametrize(("value", "is_first"), [(0.5, True), (-0.5, False)])
def test_the_best_that_was_believed_is_finished_first_unless_it_looks_worse_than_most(value, is_first):
    """Of trials of earlier knowledge, the most promising goes on until one is complete, if half of all look worse."""
    curves, features = crossing(40)
    curves[:, 2:] = np.nan
    curves[:2] += [[value], [value / 2]]
    believed = np.arange(40) < 2
    paused = np.ones(40, dtype=bool)
    first = [next(choices(known(curves, features, believed=believed), paused, seed)) for seed in range(40)]
    leader = int(np.argmax(known(curves, features, believed=believed).expected()[1][:2]))
    assert all((one.number, one.drawn) == (leader, True) for one in first) == is_first
    assert known(curves, features, believed=believed).digest != known(curves, features).digest
    curves[1] = curves[1, 0]
    paused[1] = False
    after = [next(choices(known(curves, features, believed=believed), paused, seed)).drawn for seed in range(40)]
    assert np.mean(after) < 0.4
