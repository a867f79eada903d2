"""Where rungs are, and which trials are in which bracket."""

from __future__ import annotations

import math
from collections import Counter

from cnn_sweep.journal.events import End, Start
from cnn_sweep.journal.trials import AttemptHistory, EpochHistory, TrialHistory
from cnn_sweep.search.rungs import Ladder, Rungs
from cnn_sweep.sweep.direction import Direction


def test_rungs_grow_by_the_reduction():
    """A trial's rungs are min_epochs times powers of the reduction."""
    ladder = Ladder(min_epochs=2, reduction=3)
    assert [ladder.level(0, rung) for rung in range(4)] == [2, 6, 18, 54]
    assert [ladder.next_level(0, epochs) for epochs in (0, 1, 2, 5, 6)] == [2, 2, 6, 6, 18]


def test_brackets_have_the_sizes_of_hyperband():
    """Of 22 trials in a row, three brackets with reduction 3 have 9, 5 and 3 parts, and begin rung by rung later."""
    ladder = Ladder(min_epochs=1, reduction=3, brackets=3)
    for first in (0, 17, 170):
        assert Counter(ladder.bracket(n) for n in range(first, first + 17)) == {0: 9, 1: 5, 2: 3}
    assert [ladder.level(bracket, 0) for bracket in range(3)] == [1, 3, 9]
    assert {ladder.bracket(n) for n in range(5)} == {0, 1, 2}


def test_a_trial_without_a_finite_value_is_last_at_its_rung():
    """Whoever reported only infinities is never promoted before one that has a value, in either direction."""

    def waiting(number, value):
        start = Start(0.0, number, 0, f"c{number}", 0, 0, {}, until=1)
        end = End(9.0, number, 0, "paused", epochs=1)
        epochs = {1: EpochHistory(1.0, 1.0, value)}
        return TrialHistory(number, {0: AttemptHistory(0, start=start, writer="w", end=end, epochs=epochs)})

    for direction, infinity in ((Direction.MINIMIZE, -math.inf), (Direction.MAXIMIZE, math.inf)):
        trials = {number: waiting(number, value) for number, value in enumerate((infinity, 0.3, None))}
        rungs = Rungs(Ladder(min_epochs=1, reduction=3), direction)
        rungs.update(trials)
        assert [number for number, _ in rungs.promotions(trials, 0.0)] == [1]


def test_networks_of_the_wrong_size_are_promoted_last():
    """However good they are, they are behind all networks that satisfy a constraint on the number of weights."""

    def waiting(number, value, weights):
        start = Start(0.0, number, 0, f"c{number}", 0, 0, {}, parameters=weights, until=1)
        end = End(9.0, number, 0, "paused", epochs=1)
        epochs = {1: EpochHistory(1.0, 1.0, value)}
        return TrialHistory(number, {0: AttemptHistory(0, start=start, writer="w", end=end, epochs=epochs)})

    known = [(0.9, 500), (0.8, 400), (0.3, 50), (0.2, 100), (0.4, None), (0.95, 450)]
    trials = {number: waiting(number, *one) for number, one in enumerate(known)}
    rungs = Rungs(Ladder(1, 2), Direction.MAXIMIZE, lambda weights: max((weights or 0) - 100, 0) / 100)
    rungs.update(trials)
    assert [number for number, _ in rungs.promotions(trials, 0.0)] == [4, 2, 3]
    assert list(rungs.out_of_reach(trials, {0: 6})) == [1, 5, 0]
