"""The looks of ``repeat --until-decided`` at values, and whom the first round compares."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from cnn_sweep.report.leaderboards.comparison import Look, compare
from cnn_sweep.report.leaderboards.configurations import per_configuration
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.rounds import Limits, judge
from cnn_sweep.report.leaderboards.statistics import studentized_range_quantile
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
    return judge(board, table, [Revision()], direction=Direction.MAXIMIZE, limits=Limits(top, 10))


def test_the_first_round_compares_what_may_be_the_best():
    """Those tied with the best, and those with one seed that look as good; each gets two seeds that none has had."""
    told_apart = {"a": (0.9, 0.91, 0.92), "b": (0.5, 0.51, 0.52)}
    assert [row["configuration"] for row in first_round(told_apart).left] == ["a"]
    assert first_round(told_apart).next is None
    assert first_round(told_apart | {"c": (0.8,)}).next is None
    assert first_round(told_apart | {"new": (0.95,)}).next == MoreRepeats((0, 20), 5, 1, 10)
    assert first_round({"a": (0.9, 0.91), "b": (0.905, 0.91)}).next == MoreRepeats((10, 0), 4, 1, 10)
    assert first_round({"a": (0.9,), "b": (0.7,), "c": (0.8,)}, top=2).next == MoreRepeats((0, 20), 3, 1, 10)


def test_all_looks_together_err_in_one_study_of_twenty():
    """Equal configurations are told apart in at most 5% of studies by 30 looks together, none below its old level."""
    levels = np.array([1 - Look(number, frozenset()).confidence for number in range(1, 31)])
    assert levels[:3] == pytest.approx([0.0125, 0.009375, 0.0075])
    earlier = [0.15 / ((number + 2) * (number + 3)) for number in range(1, 31)]
    assert (levels >= np.array(earlier) - 1e-12).all()  # what an earlier version called worse stays so
    draw, studies, k = np.random.default_rng(1), 4000, 3
    erred = np.zeros(studies, bool)
    values = draw.normal(size=(studies, k, 31))
    values -= values.mean(axis=1, keepdims=True)  # what seeds have in common
    for number, level in enumerate(levels, start=1):
        n, df = number + 1, (k - 1) * number
        means = values[:, :, :n].mean(axis=2)
        rest = ((values[:, :, :n] - means[:, :, None]) ** 2).sum(axis=(1, 2)) / df
        erred |= np.ptp(means, axis=1) > studentized_range_quantile(1 - level, k, df) * np.sqrt(rest / n)
    assert 0.03 < erred.mean() < 0.05


def outcome(means, *, repeats, at_most, spread=0.01):
    """Judge a round of configurations with these means, whose values scatter evenly around them."""
    pattern = spread * np.random.default_rng(3).normal(size=(len(means), repeats))
    pattern -= pattern.mean(axis=1, keepdims=True)
    rows = [
        {"configuration": str(place), "repeat": 1 + seed, "trial": repeats * place + seed, "rank": 1, "value": value}
        | {"state": "complete", "seconds": 1.0}
        for place, mean in enumerate(means)
        for seed, value in enumerate(mean + pattern[place])
    ]
    table = Table(("rank", "trial", "state", "value", "seconds"), tuple(rows))
    first = MoreRepeats(tuple(repeats * place for place in range(len(means))), 3, 1, at_most)
    last = replace(first, repeats=1 + repeats, round=repeats - 1)
    revisions = [Revision(), Revision(first), Revision(last)]
    board = per_configuration(table, metric="my_own", direction=Direction.MINIMIZE, revisions=revisions)
    return judge(board, table, revisions, direction=Direction.MINIMIZE, limits=Limits(10, at_most))


def test_a_test_ends_when_more_rounds_are_futile():
    """What differs by less than the last round could tell ends it, and it is said with how many repeats it goes on."""
    near, far = (0.5, 0.502, 0.503), (0.5, 0.54, 0.503)
    found = outcome(near, repeats=4, at_most=10)
    assert (len(found.left), found.is_futile) == (3, True)
    assert found.enough in (20, 40, 80)
    assert not outcome(near, repeats=4, at_most=found.enough).is_futile
    assert not outcome(far, repeats=4, at_most=10).is_futile
    at_the_end = outcome(near, repeats=9, at_most=10)
    assert (at_the_end.is_futile, at_the_end.next.repeats) == (False, 11)
    same = outcome((0.5, 0.5), repeats=3, at_most=10, spread=0.0)
    assert (same.is_futile, same.next.repeats) == (False, 5)  # without any scatter nothing can be predicted


def test_what_a_look_called_worse_stays_so():
    """It has no intervals, and costs those left no confidence, in the same look or later; others are left alone."""
    draw = np.random.default_rng(0)
    samples = [dict(enumerate(draw.normal(mean, 0.01, 4))) for mean in (0.9, 0.905, 0.8, 0.99)]
    for seed in (2, 3):
        del samples[2][seed]
    found = compare(samples, Direction.MAXIMIZE, look=Look(3, frozenset({0, 1}), frozenset({2})))
    assert [one.tied for one in found] == [True, True, False, None]
    assert (found[2].low, found[2].difference_low, found[3].difference) == (None, None, None)
    assert found[2].difference < -0.08
    three = compare(samples[:3], Direction.MAXIMIZE, look=Look(3, frozenset({0, 1, 2})))
    width, same = (one[0].difference_high - one[0].difference_low for one in (found, three))
    assert three[2].tied is False
    assert width == pytest.approx(same)


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
