"""Calibration and thresholds against independent computations: SciPy's minimum, scikit-learn's curves."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.kept import guesses, softmax
from scipy import optimize
from sklearn.metrics import log_loss, precision_recall_curve

from cnn_sweep.errors import InputError
from cnn_sweep.report.leaderboards.statistics import wilson
from cnn_sweep.report.models.calibration import HIGHEST, LOWEST, calibration_of, temperature_of
from cnn_sweep.report.models.thresholds import lowest_score, threshold_of
from cnn_sweep.report.models.validated import Validated

NAMES = ("fox", "hare", "none")


def _validated(labels, probabilities):
    return Validated((3,), NAMES, "validation", np.arange(len(labels)), labels, probabilities)


@pytest.fixture(scope="module")
def sure():
    """2,000 images whose labels were drawn from probabilities; the network says them with half the temperature."""
    random = np.random.default_rng(5)
    scores = random.normal(0.0, 2.0, (2000, 3))
    labels = np.array([random.choice(3, p=p / p.sum()) for p in softmax(scores).astype(float)])
    return _validated(labels, softmax(2 * scores))


def test_the_temperature_is_that_of_the_least_log_loss(sure):
    """It agrees with SciPy's minimum of scikit-learn's log loss, and with the planted one."""
    logs = np.log(sure.probabilities.astype(float))

    def loss(temperature):
        powers = np.exp(logs / temperature)
        return log_loss(sure.labels, powers / powers.sum(axis=1, keepdims=True))

    expected = optimize.minimize_scalar(loss, bounds=(0.1, 10), method="bounded").x
    found = calibration_of(sure)
    assert found.temperature == pytest.approx(expected, rel=1e-3)
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert found.log_loss[0] == pytest.approx(loss(1.0), rel=1e-5)
    assert found.log_loss[1] < found.log_loss[0]
    assert found.error[1] < 0.5 * found.error[0]


def test_bins_have_the_images_and_their_share_that_is_right(sure):
    """Each image is in one bin; the calibration error follows from the bins."""
    found = calibration_of(sure)
    rows = found.bins.rows
    assert sum(row["images"] for row in rows) == 2000
    off = sum(row["images"] * abs(row["accuracy"] - row["mean"]) for row in rows) / 2000
    assert off == pytest.approx(found.error[0], abs=1e-6)
    right = sum(row["images"] * row["accuracy"] for row in rows) / 2000
    assert right == pytest.approx(sure.is_right.mean())
    for row in rows:
        assert wilson(row["accuracy"] * row["images"], row["images"]) == pytest.approx((row["low"], row["high"]))


def test_a_network_without_mistakes_has_no_temperature():
    """Nor has one whose probabilities are all alike; both are said, and nothing is divided by zero."""
    labels = np.array([0, 1, 2, 0])
    assert temperature_of(labels, np.log(softmax(5 * np.eye(3)[labels]))) == pytest.approx(LOWEST, rel=0.01)
    assert temperature_of(labels, np.log(softmax(5 * np.eye(3)[(labels + 1) % 3]))) == pytest.approx(HIGHEST, rel=0.01)
    perfect = _validated(labels, np.eye(3, dtype=np.float32)[labels])
    assert calibration_of(perfect).is_at_bound
    assert calibration_of(perfect, ["one site"] * 4).is_at_bound


@pytest.mark.parametrize("wanted", [0.6, 0.9, 0.95])
def test_thresholds_are_those_of_scikit_learns_curve(wanted):
    """The lowest score whose precision is reached, and the highest whose recall is; ties enter together."""
    labels = np.random.default_rng(2).integers(0, 3, 400)
    scores = np.round(guesses(labels, 3.0, seed=8, classes=3)[:, 0], 2)
    own = labels == 0
    precision, recall, cuts = precision_recall_curve(own, scores)
    assert lowest_score(scores, own, "precision", wanted) == cuts[precision[:-1] >= wanted].min()
    assert lowest_score(scores, own, "recall", wanted) == cuts[recall[:-1] >= wanted].max()


def test_a_threshold_has_intervals_and_says_what_falls_below(sure):
    """Wilson's for precision and recall at the score; the bootstrap's for the score; with groups, all of the latter."""
    found = threshold_of(sure, "fox", "precision", 0.9)
    own, scores = sure.labels == 0, sure.probabilities[:, 0]
    taken = scores >= found.score
    assert (found.taken, found.below, found.missed) == (taken.sum(), (~taken).sum(), (own & ~taken).sum())
    assert found.precision == (own & taken).sum() / taken.sum() >= 0.9
    assert found.intervals[1] == wilson((own & taken).sum(), taken.sum())
    assert found.intervals[2] == wilson((own & taken).sum(), own.sum())
    low, high = found.intervals[0]
    assert low <= found.score <= high
    assert [row["measure"] for row in found.table.rows] == ["score", "precision", "recall"]
    sites = threshold_of(sure, "fox", "recall", 0.9, groups=[f"site {place % 20}" for place in range(2000)])
    assert sites.recall >= 0.9
    assert sites.intervals[2][0] < sites.recall < sites.intervals[2][1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fux", "no class 'fux'; classes: fox, hare, none; did you mean 'fox'"),
        ("none", "none of the 4 images is of class 'none'"),
        (
            "fox",
            r"no score of 'fox' reaches precision 1; the highest precision is 0.6667, from score 0.2 on \(3 images\)",
        ),
    ],
)
def test_what_no_threshold_reaches_is_said(name, message):
    """A class that is unknown, has no images, or is never told without mistakes."""
    scores = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]], np.float32)
    with pytest.raises(InputError, match=message):
        threshold_of(_validated(np.array([0, 1, 0, 1]), scores), name, "precision", 1.0)
