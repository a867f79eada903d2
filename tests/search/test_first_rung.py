"""The first rung that decides, chosen by pilots."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from cnn_sweep.journal.events import End, Start
from cnn_sweep.journal.trials import AttemptHistory, EpochHistory, TrialHistory
from cnn_sweep.search.first_rung import FirstRung, Pilots, kendall_tau
from cnn_sweep.search.rungs import Ladder
from cnn_sweep.sweep.direction import Direction


@pytest.mark.parametrize("values", [5, 1000])
def test_the_rank_correlation_is_that_of_scipy(values):
    """Kendall's tau-b of random pairs, with and without ties, equals SciPy's."""
    chance = np.random.default_rng(0)
    for count in range(2, 30):
        pairs = [tuple(row) for row in chance.integers(0, values, (count, 2)).tolist()]
        theirs = kendalltau(*zip(*pairs, strict=True)).statistic
        assert kendall_tau(pairs) == pytest.approx(0.0 if math.isnan(theirs) else theirs)


def pilot(number, curve, state):
    """Return a trial with a curve."""
    attempt = AttemptHistory(0, start=Start(0.0, number, 0, "", 0, 0, {}))
    attempt.epochs = {epoch: EpochHistory(0.0, 1.0, value) for epoch, value in enumerate(curve, start=1)}
    attempt.end = End(0.0, number, 0, state, epochs=len(curve))
    return TrialHistory(number, {0: attempt})


def chosen(curves, states):
    """Return the first rung of pilots on the ladder 1, 3, 9."""
    trials = {n: pilot(n, curve, state) for n, (curve, state) in enumerate(zip(curves, states, strict=True))}
    found = Pilots(Ladder(1, 3), Direction.MAXIMIZE, range(len(curves))).first_rung(trials)
    return found.epochs, found.is_chosen


def test_the_rungs_are_examined_from_the_lowest_up():
    """A rung is the first if its order holds at the next one, or at the end; if none holds, nothing is ever cut."""
    rising = [[n + epoch for epoch in range(10)] for n in range(12)]
    turned = [[-float(n), -float(n), *(n + 20.0 for _ in range(8))] for n in range(12)]
    chance = np.random.default_rng(0)
    never = np.array([chance.permutation(12) + 20.0 * epoch for epoch in range(10)]).T.tolist()
    assert chosen(rising, ["paused"] * 12) == (1, True)
    assert chosen([curve[:3] for curve in turned], ["paused"] * 12) == (3, False)
    assert chosen(turned, ["complete"] * 12) == (3, True)
    assert chosen([curve[:5] for curve in turned], ["complete"] * 12) == (3, True)
    assert chosen(never, ["complete"] * 12)[0] > 3


def test_the_choice_waits_for_each_pilot_but_not_for_failed_ones():
    """A pilot on its way to the next rung is waited for, a failed one is left out, and too few choose nothing."""
    rising = [[n + epoch for epoch in range(3)] for n in range(12)]
    paused = ["paused"] * 12
    late = [*rising[:11], rising[11][:2]]
    assert chosen(late, paused) == (1, False)
    assert chosen(late, [*paused[:11], "failed"]) == (1, True)
    assert chosen(rising[:7], paused[:7]) == (3, False)
    assert chosen([[math.nan]] * 12, ["failed"] * 12) == (1, True)
    missing = Pilots(Ladder(1, 3), Direction.MAXIMIZE, range(13))
    found = missing.first_rung({n: pilot(n, c, "paused") for n, c in enumerate(rising)})
    assert found == FirstRung(1, 3, 13, is_chosen=False, waiting_for=1)


def test_the_choice_is_told_with_its_evidence():
    """It says which rung decides and why, which ones do not, and while pilots train, what is waited for."""

    def words(curves, state):
        trials = {n: pilot(n, curve, state) for n, curve in enumerate(curves)}
        return str(Pilots(Ladder(1, 3), Direction.MAXIMIZE, range(len(curves))).first_rung(trials))

    turned = [[-float(n), -float(n), *(n + 20.0 for _ in range(8))] for n in range(12)]
    low = "their order does not hold between 1 and 3 epochs (Kendall's tau -1.00 of 12 pilots)"
    high = "3 epochs, since the order of pilots there holds at 9 or the end (Kendall's tau 1.00 of 12 pilots)"
    assert words(turned, "complete") == f"{high}; {low}"
    waits = "not chosen yet: 12 of 12 pilots have not reached 9 epochs, where their order at 3 epochs is tested"
    assert words([curve[:3] for curve in turned], "paused") == f"{waits}; {low}"
    assert words([[math.nan]] * 12, "failed") == "1 epoch, where no pilot has a result"
