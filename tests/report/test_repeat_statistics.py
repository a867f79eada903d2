"""Means, intervals and ties of configurations that were trained with several seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnn_sweep.execution.models.client import Predictions
from cnn_sweep.report.leaderboards.configurations import STATISTICS, per_configuration
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.statistics import bootstrap, holm, summarize, tied_with_best, wilson, worse_p
from cnn_sweep.report.models.sealed_score import sealed_score
from cnn_sweep.training.evaluation.metrics import all_metrics


def test_intervals_are_those_of_scipy():
    """The t interval, Wilson's interval and the paired test agree with SciPy's own."""
    values = [0.91, 0.93, 0.88, 0.95]
    found = summarize(values)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    expected = stats.binomtest(87, 100).proportion_ci(method="wilson")
    assert wilson(87, 100) == pytest.approx((expected.low, expected.high))
    other = [0.90, 0.94, 0.80, 0.90]
    p = worse_p(dict(enumerate(other)), dict(enumerate(values)), maximize=True)
    assert p == pytest.approx(stats.ttest_rel(values, other, alternative="greater").pvalue)


def test_holm_goes_down_step_by_step():
    """Each next p value meets a milder level, until one fails."""
    assert holm([0.04, 0.01, 0.03, 0.005]) == [False, True, False, True]
    assert holm([0.01, 0.02, 0.05]) == [True, True, True]


@pytest.mark.parametrize(("spread", "seeds"), [(0.3, 3), (1.0, 5)])
def test_intervals_cover_and_ties_hold_the_best(spread, seeds):
    """In 500 simulated studies intervals hold the true mean in 93-97%, and the true best is tied in at least 95%."""
    random = np.random.default_rng(0)
    covered = tied = 0
    for _ in range(500):
        means = random.normal(0.0, spread, 10)
        values = means[:, None] + random.normal(0.0, 0.5, seeds) + random.normal(0.0, 1.0, (10, seeds))
        found = summarize(list(values[0]))
        covered += found.low <= means[0] <= found.high
        tied += bool(tied_with_best([dict(enumerate(row)) for row in values], maximize=True)[int(means.argmax())])
    assert 0.93 <= covered / 500 <= 0.97
    assert tied / 500 >= 0.95


def test_a_row_a_configuration():
    """Trials of a configuration become one row, ranked by mean; one seed is ranked behind several; ties are marked."""

    def row(trial, configuration, seed, value, state="complete"):
        known = {"trial": trial, "configuration": configuration, "seed": seed, "repeat": seed, "value": value}
        return known | {"rank": 1, "state": state, "seconds": 1.0, "mean": configuration}

    values = {"a": (0.90, 0.91, 0.92), "b": (0.91, 0.90, 0.93), "c": (0.50, 0.52, 0.51)}
    rows = [row(10 * s + k, c, s, v) for k, (c, vs) in enumerate(values.items()) for s, v in enumerate(vs)]
    rows += [row(3, "lucky", 0, 0.99), row(4, "failed", 0, None, "failed")]
    table = per_configuration(
        Table(("rank", "trial", "state", "value", "seconds", "mean"), tuple(rows)), direction="maximize"
    )
    assert table.columns == ("rank", "trial", "state", "value", "seconds", *STATISTICS, "params_mean")
    shown = [(r["rank"], r["trial"], r["params_mean"], r["n"], r["tied"]) for r in table.rows]
    assert shown == [
        (1, 1, "b", 3, True),
        (2, 0, "a", 3, True),
        (3, 2, "c", 3, False),
        (4, 3, "lucky", 1, None),
        (None, 4, "failed", 0, None),
    ]
    assert table.rows[0]["mean"] == pytest.approx(0.9133, abs=1e-4)
    assert table.rows[3]["sd"] is table.rows[3]["ci_low"] is None


def test_scores_on_the_test_set_have_intervals():
    """An accuracy gets Wilson's interval, other objectives one from drawing images anew; a function's own gets none."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 200).astype(np.int32)
    probabilities = random.dirichlet(np.ones(3), 200)
    probabilities[np.arange(200), labels] += 0.5
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = Predictions(4, ("a", "b", "c"), probabilities.astype(np.float32), labels, Path())
    found = replace(found, losses=random.exponential(0.6, 200))
    measured = {**all_metrics(labels, found.probabilities, "test_"), "test_loss": 0.7}
    accuracy = sealed_score(found, "val_accuracy", measured)
    assert (accuracy.low, accuracy.high) == wilson(round(200 * measured["test_accuracy"]), 200)
    for name in ("loss", "auc", "macro_f1"):
        score = sealed_score(found, f"val_{name}", measured)
        assert score.low < score.value == measured[f"test_{name}"] < score.high
        assert score.method == "bootstrap"
    # The two ways agree where both are good.
    right = labels == found.predicted
    low, high = bootstrap(lambda drawn: float(right[drawn].mean()), 200)
    assert (low, high) == pytest.approx((accuracy.low, accuracy.high), abs=0.02)
    assert sealed_score(found, "my_own", measured) is None


def test_the_interval_of_a_test_loss_is_that_of_the_loss_that_is_reported():
    """What is drawn anew are the images' own losses, whatever the loss is; penalties only move the interval."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 100).astype(np.int32)
    sigmoids = random.uniform(0.01, 0.99, (100, 2))
    target = np.eye(2)[labels] * 0.8 + 0.1  # smoothed
    losses = -(target * np.log(sigmoids) + (1 - target) * np.log(1 - sigmoids)).mean(axis=1)
    found = Predictions(0, ("a", "b"), sigmoids.astype(np.float32), labels, Path(), losses)
    score = sealed_score(found, "val_loss", {"test_loss": losses.mean() + 0.25})
    half = 1.96 * losses.std(ddof=1) / 10
    middle = losses.mean() + 0.25
    assert (score.low, score.high) == pytest.approx((middle - half, middle + half), rel=0.03)
