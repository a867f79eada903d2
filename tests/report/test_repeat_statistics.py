"""Means, intervals and ties of configurations that were trained with several seeds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnn_sweep.execution.models.client import Predictions
from cnn_sweep.report.leaderboards.comparison import compare
from cnn_sweep.report.leaderboards.configurations import STATISTICS, per_configuration
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.report.leaderboards.statistics import bootstrap, studentized_range_quantile, wilson
from cnn_sweep.report.models.sealed_score import sealed_score
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.training.evaluation.metrics import all_metrics

# Simulated studies a cell, which take seconds; `make simulate` takes 4,000.
STUDIES = int(os.environ.get("CNN_SWEEP_STUDIES", "150"))
TWO_ERRORS = 2 * (0.05 * 0.95 / STUDIES) ** 0.5  # twice the standard error of a share of 5%

NOISE = {
    "normal": lambda draw, shape: draw.normal(0.9, 0.01, shape),
    "of_seeds": lambda draw, shape: draw.normal(0.9, 0.01, shape) + draw.normal(0.0, 0.02, (1, shape[1])),
    **{f"{n}_images": lambda draw, shape, n=n: draw.binomial(n, 0.95, shape) / n for n in (50, 100, 360, 5000)},
    # Networks that judge the same images scatter less than independent draws of images would.
    **{
        f"{n}_alike": lambda draw, shape, n=n: np.round(draw.normal(0.95, 0.003, shape) * n) / n for n in (50, 100, 360)
    },
}
WORTH = {"normal": 0.9, "of_seeds": 0.9, **{f"{n}_images": 0.95 for n in (50, 100, 360, 5000)}}


def judged(values):
    """Compare configurations (rows) of which more is better."""
    return compare([dict(enumerate(row)) for row in values.tolist()], Direction.MAXIMIZE)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("noise", NOISE)
def test_equal_configurations_are_tied(noise, seeds):
    """Of 5 or 20 equal configurations any is called worse in at most 6% of studies, each given one in at most 6%."""
    for k in (5, 20):
        draw = np.random.default_rng(seeds)
        found = [judged(NOISE[noise](draw, (k, seeds))) for _ in range(STUDIES)]
        worse = [[one.tied is False for one in study] for study in found]
        assert np.mean([any(study) for study in worse]) <= 0.06 + TWO_ERRORS
        assert np.mean([study[0] for study in worse]) <= 0.06
        if noise in WORTH:
            tops = [max(study, key=lambda one: one.mean) for study in found]
            assert np.mean([one.low <= WORTH[noise] <= one.high for one in tops]) >= 0.94 - TWO_ERRORS / 2


@pytest.mark.parametrize(
    ("seeds", "images", "power"), [(2, 100, 0.6), (3, 100, 0.95), (2, 360, 0.6), (3, 360, 0.95), (5, 360, 0.99)]
)
def test_what_is_clearly_worse_is_told_apart(seeds, images, power):
    """One of 20 that is worse by 4 standard deviations is mostly called worse, and the best one is kept."""

    def told(draw):
        means = np.full((20, 1), 0.9)
        means[7] -= 0.04
        found = judged(np.round(draw.normal(means, 0.01, (20, seeds)) * images) / images)
        return found[7].tied is False, found[0].tied is not False

    draw = np.random.default_rng(0)
    worse, kept = np.mean([told(draw) for _ in range(STUDIES)], axis=0)
    assert worse >= power
    assert kept >= 0.97


def test_the_best_is_kept_among_different_ones():
    """The truly best of configurations with different means, some of them diverging, is tied in at least 97%."""
    draw = np.random.default_rng(0)
    kept = diverged = blurred = 0
    for _ in range(STUDIES):
        means = np.sort(draw.normal(0.9, 0.01, (20, 1)), axis=0)
        scatter = np.full((20, 1), 0.01)
        means[:6], scatter[:6] = 0.4, 0.15
        found = judged(draw.normal(means, scatter, (20, 3)))
        kept += found[-1].tied is not False
        diverged += all(one.tied is False for one in found[:6])
        blurred += np.mean([one.high - one.low for one in found[-5:]]) > 0.1
    assert kept / STUDIES >= 0.97
    assert diverged / STUDIES >= 0.97
    assert blurred / STUDIES <= 0.001  # what diverges does not blur the others


def test_unequal_layouts_are_compared_by_common_seeds():
    """Missing seeds are allowed for (Tukey and Kramer): neither false calls nor lost coverage."""
    draw = np.random.default_rng(0)
    worse = covered = 0
    for _ in range(STUDIES):
        values = draw.normal(0.0, 1.0, (10, 5)) + draw.normal(0.0, 3.0, 5)
        samples = [
            {int(seed): row[seed] for seed in draw.permutation(5)[: 2 + place % 4]} for place, row in enumerate(values)
        ]
        found = compare(samples, Direction.MINIMIZE)
        worse += any(one.tied is False for one in found)
        known = [one for one in found if one.difference_low is not None]
        covered += all(one.difference_low <= 0.0 <= one.difference_high for one in known)
    assert worse / STUDIES <= 0.06
    assert covered / STUDIES >= 0.94
    apart = compare([{0: 0.9, 1: 0.8}, {0: 0.7, 1: 0.8}, {2: 0.5, 3: 0.6}], Direction.MAXIMIZE)
    assert [one.tied for one in apart] == [True, True, None]


def test_accuracies_are_multiples_of_one_over_images():
    """Gaps that are all the same are no proof: the values are rounded, and say so."""
    better, worse = {0: 0.98, 1: 0.97}, {0: 0.97, 1: 0.96}
    assert [one.tied for one in compare([worse, better], Direction.MAXIMIZE)] == [True, True]
    assert [one.tied for one in compare([better, worse, worse, worse], Direction.MAXIMIZE)] == [True] * 4
    far = compare([better, *[{0: 0.9, 1: 0.89}] * 3], Direction.MAXIMIZE)
    assert [one.tied for one in far] == [True, False, False, False]
    same = compare([{0: 0.97, 1: 0.97}, {0: 0.96, 1: 0.96}], Direction.MAXIMIZE)
    assert all(one.low < one.mean < one.high for one in same)
    alone = compare([{0: 0.97, 1: 0.97}], Direction.MAXIMIZE)[0]
    assert (alone.mean, alone.sd, alone.low) == (0.97, 0.0, None)


def test_intervals_are_those_of_scipy():
    """The interval of one configuration is Student's; two are compared as by Tukey; Wilson's agrees with SciPy's."""
    values, others = [0.91234, 0.93871, 0.88113, 0.95342], [0.90321, 0.94762, 0.80119, 0.90777]
    alone = judged(np.array([values]))[0]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (alone.low, alone.high) == pytest.approx(expected, abs=1e-6)
    second = judged(np.array([values, others]))[1]
    paired = stats.ttest_rel(others, values).confidence_interval(0.95)
    assert (second.difference_low, second.difference_high) == pytest.approx(tuple(paired), abs=1e-5)
    wanted = stats.binomtest(87, 100).proportion_ci(method="wilson")
    assert wilson(87, 100) == pytest.approx((wanted.low, wanted.high))


def test_wilsons_interval_holds_its_own_share():
    """Rounding excludes no share from its own interval: 25 of 25 used to lie above it."""
    for n in range(1, 500):
        assert (wilson(0, n)[0], wilson(n, n)[1]) == (0.0, 1.0)
        assert all(low <= share / n <= high for share in (1, n - 1) for low, high in [wilson(share, n)])


@pytest.mark.parametrize(("groups", "df"), [(2, 1), (3, 2), (5, 4), (20, 19), (20, 76), (200, 400)])
def test_quantiles_of_the_studentized_range(groups, df):
    """They agree with SciPy's, which take a second to import."""
    assert studentized_range_quantile(0.95, groups, df) == pytest.approx(
        stats.studentized_range.ppf(0.95, groups, df), rel=2e-4
    )


def test_a_row_a_configuration():
    """Trials of a configuration become one row, ranked by mean; one seed is ranked behind several; ties are marked."""

    def row(trial, configuration, seed, value, state="complete"):
        known = {"trial": trial, "configuration": configuration, "seed": seed, "repeat": seed, "value": value}
        return known | {"rank": 1, "state": state, "seconds": 1.0, "mean": configuration}

    values = {"a": (0.90, 0.91, 0.92), "b": (0.91, 0.90, 0.93), "c": (0.50, 0.52, 0.51)}
    rows = [row(10 * s + k, c, s, v) for k, (c, vs) in enumerate(values.items()) for s, v in enumerate(vs)]
    rows += [row(3, "lucky", 0, 0.99), row(4, "failed", 0, None, "failed")]
    table = per_configuration(
        Table(("rank", "trial", "state", "value", "seconds", "mean"), tuple(rows)),
        metric="score",
        direction=Direction.MAXIMIZE,
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


@pytest.mark.parametrize(
    ("metric", "scale", "cut"),
    [("val_accuracy", 1, True), ("val_macro_f1", 1, True), ("val_accuracy", 100, False), ("score", 1, False)],
)
def test_the_interval_of_a_share_ends_at_0_and_1(metric, scale, cut):
    """Nobody reads of an accuracy above 1; a metric of the user's own, and an accuracy in per cent, have no bounds."""
    values = {"best": (0.95, 1.0), "worst": (0.04, 0.01), "between": (0.5, 0.55)}
    rows = [
        {"trial": 3 * seed + place, "configuration": name, "seed": seed, "repeat": seed, "value": scale * value}
        | {"rank": 1, "state": "complete", "seconds": 1.0}
        for place, (name, own) in enumerate(values.items())
        for seed, value in enumerate(own)
    ]
    columns = ("rank", "trial", "state", "value", "seconds")
    best, between, worst = per_configuration(
        Table(columns, tuple(rows)), metric=metric, direction=Direction.MAXIMIZE
    ).rows
    assert (best["ci_high"] == 1) == (worst["ci_low"] == 0) == cut
    assert best["ci_high"] >= 1
    assert worst["ci_low"] <= 0
    assert worst["ci_low"] < worst["ci_high"] < between["ci_high"]
    assert worst["diff_low"] < -scale


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
