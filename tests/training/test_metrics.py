"""Metrics agree with scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from cnn_sweep.sweep.spec.metrics import VALIDATION_METRICS
from cnn_sweep.training.evaluation.metrics import accuracy, all_metrics, auc, macro_f1, predicted


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(2, 6), size=st.integers(12, 80), levels=st.integers(2, 1000), seed=st.integers(0, 999))
def test_metrics_are_those_of_scikit_learn(classes, size, levels, seed):
    """Accuracy, macro F1 and AUC equal the reference, with ties and classes that nothing is taken for."""
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), random.integers(0, classes, size)]
    raw = random.integers(0, levels, (len(labels), classes)) + 1.0
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    guess = predicted(probabilities)
    assert accuracy(labels, probabilities) == pytest.approx(accuracy_score(labels, guess))
    assert macro_f1(labels, probabilities) == pytest.approx(f1_score(labels, guess, average="macro", zero_division=0))
    reference = (
        roc_auc_score(labels, probabilities[:, 1])
        if classes == 2
        else roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    )
    assert auc(labels, probabilities) == pytest.approx(reference)


def test_a_single_unit_is_the_probability_of_class_1():
    """One sigmoid unit predicts 1 above one half."""
    labels, unit = np.array([0, 1, 1, 0]), np.array([[0.1], [0.9], [0.4], [0.5]])
    np.testing.assert_array_equal(predicted(unit), [0, 1, 0, 0])
    assert auc(labels, unit) == pytest.approx(roc_auc_score(labels, unit[:, 0]))


def test_auc_is_nan_where_it_is_undefined():
    """One class alone, or probabilities that are not numbers, have no AUC; the other metrics go on."""
    assert math.isnan(auc(np.zeros(3, int), np.full((3, 2), 0.5)))
    metrics = all_metrics(np.array([0, 1]), np.full((2, 2), np.nan), "val_")
    assert math.isnan(metrics["val_auc"])
    assert set(metrics) == {"val_accuracy", "val_auc", "val_macro_f1"}
    assert {"val_loss", *metrics} == set(VALIDATION_METRICS)
