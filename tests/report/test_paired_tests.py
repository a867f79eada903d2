"""Comparisons of two trials image by image: McNemar's test, the paired bootstrap, groups, and folds that are pooled."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.kept import guesses
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, log_loss

from cnn_sweep.execution.models.client import Predictions
from cnn_sweep.report.leaderboards.statistics import bootstrap, mcnemar
from cnn_sweep.report.models.paired_tests import paired_comparison
from cnn_sweep.report.models.validated import Validated, members, pools_of


def _made(labels, skill, *, seed, trial):
    found = guesses(labels, skill, seed=seed, classes=3)
    return Validated((trial,), ("a", "b", "c"), "validation", np.arange(len(labels)), labels, found)


@pytest.fixture(scope="module")
def pair():
    """Two networks on 300 images of three classes, of which the first is better."""
    labels = np.random.default_rng(0).integers(0, 3, 300)
    return _made(labels, 5.0, seed=1, trial=4), _made(labels, 3.0, seed=2, trial=7)


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (5, 5), (3, 11), (40, 22), (0, 9)])
def test_mcnemars_test_is_the_exact_binomial_test(one, other):
    """As in SciPy; without an image on which they differ, p is 1."""
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == mcnemar(other, one) == pytest.approx(expected, rel=1e-9)


def test_values_and_counts_are_those_of_scikit_learn(pair):
    """Accuracy, log loss and the objective of both, and who is right alone."""
    one, other = pair
    found = paired_comparison(one, other, objective="val_macro_f1")
    rows = {row["metric"]: row for row in found.table.rows}
    assert list(rows) == ["macro_f1", "accuracy", "log_loss"]
    for trial, name in ((one, "trial 4"), (other, "trial 7")):
        guess = trial.probabilities.argmax(axis=1)
        assert rows["accuracy"][name] == accuracy_score(trial.labels, guess)
        assert rows["macro_f1"][name] == pytest.approx(f1_score(trial.labels, guess, average="macro"))
        assert rows["log_loss"][name] == pytest.approx(log_loss(trial.labels, trial.probabilities), rel=1e-5)
    right, also = one.is_right, other.is_right
    assert (found.both, found.only_one, found.only_other) == (
        np.sum(right & also),
        np.sum(right & ~also),
        np.sum(~right & also),
    )
    assert found.p < 0.05
    assert found.in_words()[2].endswith("right more often: trial 4")


def test_the_interval_of_a_difference_is_that_of_the_paired_bootstrap(pair):
    """It agrees with SciPy's percentile bootstrap of paired means to a third of a standard error."""
    one, other = pair
    found = next(d for d in paired_comparison(one, other, objective="val_accuracy").differences)
    gains = one.is_right.astype(float) - other.is_right
    expected = stats.bootstrap(
        (gains,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    error = gains.std() / np.sqrt(len(gains))
    assert (found.metric, found.low, found.high) == (
        "accuracy",
        pytest.approx(expected.low, abs=error / 3),
        pytest.approx(expected.high, abs=error / 3),
    )


def test_groups_widen_intervals_where_their_images_are_alike():
    """Ten copies of each image say no more than one: drawn by group, the interval is that of the single images."""
    random = np.random.default_rng(3)
    values = random.normal(size=40)
    copies = np.repeat(values, 10)
    groups = members([str(place) for place in np.repeat(np.arange(40), 10)])
    single = bootstrap(lambda drawn: float(values[drawn].mean()), 40)
    grouped = bootstrap(lambda drawn: float(copies[drawn].mean()), 400, groups=groups)
    naive = bootstrap(lambda drawn: float(copies[drawn].mean()), 400)
    assert np.diff(grouped) == pytest.approx(np.diff(single), rel=0.1)
    assert np.diff(naive) < 0.5 * np.diff(grouped)


def test_few_groups_are_said(pair):
    """So is that McNemar's test does not know them."""
    found = paired_comparison(*pair, objective="val_loss", groups=["north", "south", "west"] * 100)
    assert [one.metric for one in found.differences] == ["accuracy", "log_loss"]
    words = "\n".join(found.in_words())
    assert "300 validation images of 3 groups" in words
    assert "with only 3 groups, the intervals are too narrow" in words


def test_folds_are_pooled_and_repeats_are_not():
    """Trials of a configuration belong together as long as their images differ; the next partition begins anew."""
    rows = {0: [0, 1], 1: [2, 3], 2: [4], 3: [1, 2], 4: [0, 3, 4], 5: None, 6: None}
    configuration = ["a"] * 5 + ["b"] * 2
    trials = {n: SimpleNamespace(configuration=configuration[n], repeat=n if n < 5 else n - 5) for n in rows}
    kept = {
        n: Predictions(
            n,
            ("x", "y"),
            np.zeros((2 if r is None else len(r), 2)),
            None,
            None,
            rows=None if r is None else np.array(r),
        )
        for n, r in rows.items()
    }
    history = SimpleNamespace(trials=trials)
    assert sorted(pools_of(history, kept)) == [[0, 1, 2], [3, 4], [5], [6]]
    del kept[1]
    assert sorted(pools_of(history, kept)) == [[0, 2], [3, 4], [5], [6]]
