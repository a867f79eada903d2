"""Ensembles: the greedy choice of Caruana et al., and scores that the choice does not make optimistic."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from helpers.kept import guesses, softmax
from sklearn.metrics import accuracy_score, log_loss

from cnn_sweep.report.models.ensembles import Goal, ensemble_of
from cnn_sweep.report.models.validated import Validated, parts_of
from cnn_sweep.sweep.direction import Direction

LOSS = Goal("log_loss", Direction.MINIMIZE)
RIGHT = Goal("accuracy", Direction.MAXIMIZE)
NAMES = tuple("abcd")


def _made(trial, labels, probabilities, *, rows=None):
    rows = np.arange(len(labels)) if rows is None else rows
    return Validated((trial,), NAMES, "validation", rows, labels, probabilities)


def _loss(labels, members):
    mean = np.mean([one.probabilities for one in members], axis=0, dtype=float)
    return log_loss(labels, mean / mean.sum(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def trials():
    """Six networks, of which one says nothing and one is a copy of another."""
    labels = np.random.default_rng(0).integers(0, 4, 400)
    found = [guesses(labels, 4.0, seed=seed, classes=4) for seed in range(4)]
    found += [np.full((400, 4), 0.25, np.float32), found[0]]
    return [_made(trial, labels, probabilities) for trial, probabilities in enumerate(found)]


def test_the_choice_is_greedy_with_replacement(trials):
    """Each member makes the average best, by scikit-learn's log loss; the score is that of the average."""
    made = ensemble_of(trials, LOSS, size=5)
    labels = trials[0].labels
    chosen = []
    for _ in range(5):
        losses = [_loss(labels, [*chosen, new]) for new in trials]
        chosen.append(trials[int(np.argmin(losses))])
    assert [one.trials for one in made.members] == [one.trials for one in chosen]
    assert made.value == pytest.approx(losses[int(np.argmin(losses))], rel=1e-5)
    assert sum(row["weight"] for row in made.table.rows) == pytest.approx(1)
    best_pair = min(_loss(labels, pair) for pair in combinations_with_replacement(trials, 2))
    assert made.value < best_pair < made.best


def test_the_cross_fitted_score_is_that_of_images_that_did_not_choose():
    """Of 40 networks that guess, the best looks good and the ensemble better; cross-fitted, both are chance."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, 200)
    noise = [_made(trial, labels, softmax(random.normal(size=(200, 4)))) for trial in range(40)]
    made = ensemble_of(noise, RIGHT, size=5)
    assert made.value > made.best > 0.28
    for honest in (made.cross_fitted, made.best_cross_fitted):
        assert honest == pytest.approx(0.25, abs=0.08)


def test_an_ensemble_of_different_networks_beats_the_best(trials):
    """Cross-fitted, too; accuracy is that of the averaged probabilities."""
    made = ensemble_of(trials, RIGHT, size=4)
    assert made.cross_fitted > made.best_cross_fitted
    mean = np.mean([one.probabilities for one in made.members], axis=0)
    assert made.value == accuracy_score(trials[0].labels, mean.argmax(axis=1))
    assert made.alone[0] == made.best == max(accuracy_score(t.labels, t.probabilities.argmax(axis=1)) for t in trials)


def test_trials_of_other_images_are_left_out(trials):
    """The same images in another order are the same; a part of them is not."""
    order = np.random.default_rng(2).permutation(400)
    one = trials[1]
    shuffled = _made(9, one.labels[order], one.probabilities[order], rows=order)
    part = _made(8, one.labels[:50], one.probabilities[:50])
    made = ensemble_of([trials[0], shuffled, part], LOSS, size=3)
    assert made.left_out == 1
    assert made.value == pytest.approx(ensemble_of(trials[:2], LOSS, size=3).value)


def test_parts_keep_groups_whole():
    """Five parts of about the same size; no group is in two of them."""
    sizes = np.bincount(parts_of(1003, None))
    assert sizes.tolist() == [201, 201, 201, 200, 200]
    groups = [f"site {place % 7}" for place in range(700)]
    parts = parts_of(700, groups)
    assert len({(group, part) for group, part in zip(groups, parts, strict=True)}) == 7
    assert set(parts_of(6, ["one"] * 6)) == {0, 1, 2, 3, 4}
