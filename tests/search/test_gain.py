"""A search that no longer pays: what its last doubling gained, the noise between trainings, and when it ends."""

from __future__ import annotations

import itertools
from statistics import fmean

import numpy as np
import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.search.budget import Budget
from cnn_sweep.search.gain import Ended, gain, looks, noise
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.sweep import Sweep

FILE = """\
study: s
data: {source: digits}
model: {layers: [flatten, dense: {units: $units, activation: relu}, output: softmax]}
space: {units: {low: 1, high: 999}}
training: {epochs: 1}
search: {method: random, trials: 300, repeats: 2, until: {gain_below_noise: true}}
"""


def trials_of(means, sd, repeats=2, seed=0):
    """Return trials whose values scatter around the means of their configurations."""
    random = np.random.default_rng(seed)
    return [
        Ended(f"c{place}", float(random.normal(mean, sd))) for place, mean in enumerate(means) for _ in range(repeats)
    ]


@pytest.mark.parametrize("missing", [(), (0,), (1, 4)])
@pytest.mark.parametrize("seed", range(5))
def test_the_gain_is_that_of_a_random_half_or_of_the_first(seed, missing):
    """It equals the mean over all halves; what has no value counts as the worst."""
    losses = [None if place in missing else one for place, one in enumerate(np.random.default_rng(seed).random(8))]
    worst = max(one for one in losses if one is not None)
    filled = [worst if one is None else float(one) for one in losses]
    random = fmean(min(half) for half in itertools.combinations(filled, 4)) - min(filled)
    assert gain(losses) == pytest.approx(max(random, min(filled[:4]) - min(filled)))
    assert gain([*sorted(filled, reverse=True)]) == pytest.approx(sorted(filled)[4] - min(filled))


def test_too_few_values_have_no_gain():
    """One result says nothing; equal ones gain nothing."""
    assert gain([None, 0.5, None, None]) is None
    assert gain([0.5] * 16) == 0.0


def test_the_noise_is_that_of_the_better_half():
    """Bad configurations, which often end anywhere, do not count; too few repeats say nothing."""
    random = np.random.default_rng(3)
    values = {f"good{place}": random.normal(0.1, 0.01, 50).tolist() for place in range(20)}
    values |= {f"bad{place}": random.normal(0.9, 0.3, 50).tolist() for place in range(20)}
    assert noise(values) == pytest.approx(0.01, rel=0.1)
    assert noise({"a": [0.1, 0.2], "b": [0.1, 0.3]}) is None


def test_looks_come_after_whole_steps_and_never_change():
    """After 16, 24, 32, 48, … configurations; what ends later does not change an earlier look."""
    trials = trials_of(np.linspace(0.5, 0.9, 50), 0.01)
    found = list(looks(trials, Direction.MAXIMIZE))
    assert [look.configurations for look in found] == [16, 24, 32, 48]
    for count in range(len(trials)):
        some = list(looks(trials[:count], Direction.MAXIMIZE))
        assert some == found[: len(some)]


@pytest.mark.parametrize("direction", [Direction.MAXIMIZE, Direction.MINIMIZE])
def test_a_search_that_still_improves_goes_on(direction):
    """Where each half is much better, no look is enough; where all are alike, it ends, at the third look or later."""
    sign = -direction.sign
    rising = trials_of(sign * np.arange(100) * 0.05, 0.01)
    assert not any(look.is_enough for look in looks(rising, direction))
    alike = trials_of(np.full(100, 0.9), 0.01)
    found = [look.is_enough for look in looks(alike, direction)]
    assert found == sorted(found)
    assert found.index(True) >= 2


def told(folder, values):
    """Write the journal of a study in which each configuration has two trials."""
    sweep = Sweep.parse(FILE)
    paths = StudyPaths(folder, "s")
    paths.create()
    with JournalWriter(paths.journal("w")) as journal:
        for number, value in enumerate(values):
            configuration, repeat = divmod(number, 2)
            at = 10.0 * number
            params = {"units": configuration + 1}
            journal.append(Start(at, number, 0, f"c{configuration}", repeat, repeat, params))
            if value is None:
                journal.append(End(at + 2, number, 0, "failed", "exception", "no", 0, 1.0))
                continue
            journal.append(Epoch(at + 1, number, 0, 1, 1.0, {"val_accuracy": value}))
            journal.append(End(at + 2, number, 0, "complete", epochs=1, seconds=1.0))
        journal.flush()
    history = History(paths)
    history.refresh()
    return Budget(sweep, history)


def test_the_limit_says_gain_and_noise(tmp_path):
    """Before the first look nothing is known; a look that is enough ends the search."""
    random = np.random.default_rng(5)
    values = [float(value) for value in random.normal(0.9, 0.01, 200)]
    (limit,) = told(tmp_path / "a", values[:20]).limits()
    assert (limit.used, limit.limit, limit.reached) == (None, None, False)
    assert str(limit) == "gain_below_noise not known yet"
    budget = told(tmp_path / "b", values)
    (limit,) = budget.limits()
    ended = [Ended(f"c{n // 2}", one) for n, one in enumerate(values)]
    look = next(look for look in looks(ended, Direction.MAXIMIZE) if look.is_enough)
    assert (limit.used, limit.limit) == (look.gain, look.noise)
    assert limit.reached
    assert budget.reached() == limit
    assert "run FILE --extend" in limit.cure


def test_failed_trials_gain_nothing(tmp_path):
    """They count as configurations without a value; where all fail, there is no gain and no end."""
    (limit,) = told(tmp_path, [None] * 60).limits()
    assert not limit.reached
    assert limit.used is None


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("repeats: 2, ", "", "needs trainings that differ by chance alone; add repeats: 3 to the search, or folds: 5"),
        ("noise: true", "noise: 0.5", "must be true, not 0.5"),
        ("noise: true", "noise: false", "must be a number, or true for gain_below_noise, not false"),
        ("gain_below_noise", "gain_below", "gain_below_noise"),
        ("gain_below_noise: true", "val_accuracy: true", "must be a number"),
    ],
)
def test_mistakes_are_named(was, now, said):
    """Each with its place in the file."""
    assert was in FILE
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(FILE.replace(was, now))
    assert said in str(caught.value)


def test_folds_are_trainings_that_differ():
    """With cross-validation, the noise is that between folds, and no repeats are needed."""
    text = FILE.replace("repeats: 2, ", "").replace("source: digits", "source: digits, folds: 3")
    assert Sweep.parse(text).search.until == {"gain_below_noise": True}


def test_a_value_of_the_objective_is_a_number_as_before():
    """A whole number is the same as its decimal, so that a study's digest does not change."""
    one, other = (Sweep.parse(FILE.replace("gain_below_noise: true", f"val_accuracy: {text}")) for text in ("1", "1.0"))
    assert type(one.search.until["val_accuracy"]) is float
    assert one.digest == other.digest


def test_all_trainings_of_a_configuration_follow_each_other():
    """So that the noise is known early; other searches begin each configuration once before they repeat any."""
    repeats = {}
    for text in (FILE, FILE.replace("gain_below_noise: true", "val_accuracy: 1")):
        trials = make_plan([Sweep.parse(text)], None).trials
        assert len({trial.configuration for trial in trials}) == len(trials) / 2
        repeats[text] = [trial.repeat for trial in trials]
    interleaved, in_passes = repeats.values()
    assert interleaved == [0, 1] * (len(interleaved) // 2)
    assert in_passes == sorted(in_passes)
