"""Metrics agree with scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)
from sklearn.metrics import log_loss as reference_log_loss

from cnn_sweep.sweep.spec.metrics import VALIDATION_METRICS
from cnn_sweep.training.evaluation.metrics import (
    accuracy,
    all_metrics,
    auc,
    calibration_error,
    macro_f1,
    predicted,
    top_accuracy,
)


def random_case(classes, size, levels, seed):
    """Draw labels, each class at least once, and probabilities with ties."""
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), random.integers(0, classes, size)]
    raw = random.integers(0, levels, (len(labels), classes)) + 1.0
    return labels, raw / raw.sum(axis=1, keepdims=True)


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(2, 6), size=st.integers(12, 80), levels=st.integers(2, 1000), seed=st.integers(0, 999))
def test_metrics_are_those_of_scikit_learn(classes, size, levels, seed):
    """Accuracy, macro F1 and AUC equal the reference, with ties and classes that nothing is taken for."""
    labels, probabilities = random_case(classes, size, levels, seed)
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


MORE = {
    "balanced_accuracy": lambda y, p, guess: balanced_accuracy_score(y, guess),
    "macro_precision": lambda y, p, guess: precision_score(y, guess, average="macro", zero_division=0),
    "macro_recall": lambda y, p, guess: recall_score(y, guess, average="macro", zero_division=0),
    "weighted_precision": lambda y, p, guess: precision_score(y, guess, average="weighted", zero_division=0),
    "weighted_recall": lambda y, p, guess: recall_score(y, guess, average="weighted", zero_division=0),
    "weighted_f1": lambda y, p, guess: f1_score(y, guess, average="weighted", zero_division=0),
    "average_precision": lambda y, p, guess: (
        average_precision_score(y, p[:, 1])
        if p.shape[1] == 2
        else np.mean([average_precision_score(y == c, p[:, c]) for c in range(p.shape[1])])
    ),
    "log_loss": lambda y, p, guess: reference_log_loss(y, p, labels=range(p.shape[1])),
    "brier": lambda y, p, guess: brier_score_loss(y, p, labels=range(p.shape[1])),
    "kappa": lambda y, p, guess: cohen_kappa_score(y, guess),
    "mcc": lambda y, p, guess: matthews_corrcoef(y, guess),
}


@settings(max_examples=100, deadline=None)
@given(classes=st.integers(2, 6), size=st.integers(0, 80), levels=st.integers(1, 1000), seed=st.integers(0, 99999))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_metrics_on_request_are_those_of_scikit_learn(classes, size, levels, seed):
    """Each metric equals the reference, with ties, few images, and classes that nothing is taken for."""
    labels, probabilities = random_case(classes, size, levels, seed)
    guess = predicted(probabilities)
    names = [f"class {k}" for k in range(classes)]
    found = all_metrics(labels, probabilities, "val_", [*MORE, "precision", "recall", "f1"], names)
    for name, reference in MORE.items():
        assert found[f"val_{name}"] == pytest.approx(reference(labels, probabilities, guess), nan_ok=True), name
    for name, reference in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        ours = [found[f"val_{name}_class {k}"] for k in range(classes)]
        every = range(classes)
        assert ours == pytest.approx(list(reference(labels, guess, average=None, labels=every, zero_division=0)))


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(4, 9), size=st.integers(1, 80), k=st.integers(2, 3), seed=st.integers(0, 99999))
def test_top_accuracy_is_that_of_scikit_learn(classes, size, k, seed):
    """Without ties, the share of images whose class is among the k most likely equals the reference."""
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), random.integers(0, classes, size)]
    probabilities = random.dirichlet(np.ones(classes), len(labels))
    name = f"top_{k}_accuracy"
    reference = top_k_accuracy_score(labels, probabilities, k=k)
    assert all_metrics(labels, probabilities, "", [name])[name] == pytest.approx(reference)


def test_top_accuracy_of_ties_takes_the_first_as_accuracy_does():
    """Of equally likely classes the first ones are taken, so that the top 1 would be the prediction."""
    assert top_accuracy(np.arange(4), np.full((4, 4), 0.25), 2) == 0.5


def test_calibration_error_is_the_mean_gap_of_15_bins():
    """Half of the images are right with 0.8 and all with 0.95: half of 0.3 and half of 0.05."""
    probabilities = np.array([[0.2, 0.8], [0.2, 0.8], [0.05, 0.95], [0.05, 0.95]])
    labels = np.array([1, 0, 1, 1])
    assert calibration_error(labels, probabilities) == pytest.approx(0.5 * 0.3 + 0.5 * 0.05)
    assert calibration_error(np.array([0, 1]), np.eye(2)) == 0.0


def test_metrics_on_request_of_a_single_unit_are_those_of_two_classes():
    """A sigmoid unit counts as the probability of class 1."""
    labels, unit = np.array([0, 1, 1, 0]), np.array([[0.1], [0.9], [0.4], [0.5]], np.float32)
    two = np.concatenate([1 - unit, unit], axis=1)
    names = [*MORE, "calibration_error", "recall"]
    assert all_metrics(labels, unit, "", names, "ab") == pytest.approx(all_metrics(labels, two, "", names, "ab"))


def test_metrics_on_request_are_nan_for_probabilities_that_are_not_numbers():
    """A network that computes NaN has no value, rather than a wrong one."""
    found = all_metrics(np.array([0, 1]), np.full((2, 2), np.nan), "", ["kappa", "top_2_accuracy", "recall"], "ab")
    assert all(math.isnan(found[name]) for name in ("kappa", "top_2_accuracy", "recall_a", "recall_b"))
