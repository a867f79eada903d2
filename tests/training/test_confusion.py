"""Confusion matrices and scores of classes agree with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as reference
from sklearn.metrics import precision_recall_fscore_support

from cnn_sweep.training.evaluation.metrics import class_scores, confusion_matrix, per_class, proportions

_PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(_PAIRS)
def test_the_matrix_is_scikit_learns(pairs):
    """Counts and all three kinds of proportions are the same; NaN stands where there is nothing to divide by."""
    labels, guesses = (np.array(column) for column in zip(*pairs, strict=True))
    matrix = confusion_matrix(labels, guesses, 4)
    np.testing.assert_array_equal(matrix, reference(labels, guesses, labels=range(4)))
    for ours, theirs, sums in (
        ("true", "true", matrix.sum(axis=1)[:, np.newaxis]),
        ("predicted", "pred", matrix.sum(axis=0)[np.newaxis]),
        ("all", "all", matrix.sum()),
    ):
        found = proportions(matrix, ours)
        expected = reference(labels, guesses, labels=range(4), normalize=theirs)
        np.testing.assert_allclose(np.nan_to_num(found), expected)
        np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(sums == 0, (4, 4)))


@given(_PAIRS)
def test_the_scores_of_each_class_are_scikit_learns(pairs):
    """Precision, recall, F1 and the number of images are the same."""
    labels, guesses = (np.array(column) for column in zip(*pairs, strict=True))
    scores = class_scores(confusion_matrix(labels, guesses, 4))
    found = np.array([[score.precision, score.recall, score.f1, score.support] for score in scores])
    expected = precision_recall_fscore_support(labels, guesses, labels=range(4), zero_division=np.nan)
    np.testing.assert_allclose(found, np.array(expected, float).T)


def test_one_unit_becomes_two_classes():
    """A single sigmoid unit is the probability of the second class."""
    np.testing.assert_allclose(per_class(np.array([[0.25], [1.0]])), [[0.75, 0.25], [0.0, 1.0]])
    assert per_class(np.ones((2, 3))) == pytest.approx(1.0)
