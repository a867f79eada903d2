"""The looks of ``repeat --until-decided`` at values, and whom the first round compares."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from cnn_sweep.report.leaderboards.comparison import Look, compare
from cnn_sweep.report.leaderboards.configurations import per_configuration
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.rounds import judge
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.repeats import MoreRepeats, newest_test, selection_repeats
from cnn_sweep.sweep.spec.search import SearchSpec


@dataclass(frozen=True)
class Revision:
    """A revision of a sweep, as far as repeats depend on it."""

    more_repeats: MoreRepeats | None = None
    search: SearchSpec = field(default_factory=SearchSpec)
    fold_count: int = 1


def first_round(values, *, top=10):
    """Judge configurations by their values, of which more is better; a value each is a trial."""
    rows = [
        {"configuration": name, "repeat": seed, "trial": 10 * place + seed, "value": value, "rank": 1}
        | {"state": "complete", "seconds": 1.0}
        for place, (name, own) in enumerate(values.items())
        for seed, value in enumerate(own)
    ]
    table = Table(("rank", "trial", "state", "value", "seconds"), tuple(rows))
    board = per_configuration(table, metric="val_accuracy", direction=Direction.MAXIMIZE)
    return judge(board, table, [Revision()], direction=Direction.MAXIMIZE, top=top)


def test_the_first_round_compares_what_may_be_the_best():
    """Those tied with the best, and those with one seed that look as good; each gets two seeds that none has had."""
    told_apart = {"a": (0.9, 0.91, 0.92), "b": (0.5, 0.51, 0.52)}
    assert [row["configuration"] for row in first_round(told_apart).left] == ["a"]
    assert first_round(told_apart).next is None
    assert first_round(told_apart | {"c": (0.8,)}).next is None
    assert first_round(told_apart | {"new": (0.95,)}).next == MoreRepeats((0, 20), 5, 1)
    assert first_round({"a": (0.9, 0.91), "b": (0.905, 0.91)}).next == MoreRepeats((10, 0), 4, 1)
    assert first_round({"a": (0.9,), "b": (0.7,), "c": (0.8,)}, top=2).next == MoreRepeats((0, 20), 3, 1)


def test_all_looks_together_err_in_one_study_of_twenty():
    """The shares of the error that the looks may spend add up to 5%, however many looks there are."""
    spent = [1 - Look(number, frozenset()).confidence for number in range(1, 5000)]
    assert spent[:3] == pytest.approx([0.0125, 0.0075, 0.005])
    assert 0.0499 < sum(spent) < 0.05


def test_what_a_look_called_worse_stays_so():
    """It has no intervals, and costs those that are left no confidence; what is not tested is left alone."""
    draw = np.random.default_rng(0)
    samples = [dict(enumerate(draw.normal(mean, 0.01, 4))) for mean in (0.9, 0.905, 0.8, 0.99)]
    for seed in (2, 3):
        del samples[2][seed]
    found = compare(samples, Direction.MAXIMIZE, look=Look(3, frozenset({0, 1}), frozenset({2})))
    assert [one.tied for one in found] == [True, True, False, None]
    assert (found[2].low, found[2].difference_low, found[3].difference) == (None, None, None)
    assert found[2].difference < -0.08
    three = compare(samples[:3], Direction.MAXIMIZE, look=Look(3, frozenset({0, 1, 2})))
    width, wider = (one[0].difference_high - one[0].difference_low for one in (found, three))
    assert width < wider


def test_rounds_are_one_choice():
    """Values since a test began count in all its rounds; other repeats end it."""
    first, second = MoreRepeats((0, 1, 2), 3, 1), MoreRepeats((0, 1), 4, 2)
    configurations = {0: "a", 1: "b", 2: "c"}
    revisions = [Revision(), Revision(first), Revision(second)]
    assert selection_repeats(revisions, configurations) == {"a": (1,), "b": (1,), "c": (1,)}
    test = newest_test(revisions, configurations)
    assert (test.round, test.members, test.contenders) == (2, {*"abc"}, {*"ab"})
    assert sorted("dcba", key=lambda name: (test.place(name, is_fair=name != "a"), name)) == [*"bacd"]
    assert newest_test([*revisions, Revision(MoreRepeats((0,), 9))], configurations) is None
    again = [*revisions, Revision(MoreRepeats((1, 2), 6, 1))]
    assert selection_repeats(again, configurations) == {"a": (1,), "b": (1, 4), "c": (1, 3)}
    assert newest_test(again, configurations).members == {*"bc"}
