"""Trials share a graph exactly when their networks and optimizers do the same operations."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cnn_sweep.sweep.spec.trial import TrialSpec
from cnn_sweep.training.graph_key import graph_key


def trial(*, dropout=0.25, l2=0.1, filters=4, build=None, **training):
    """Return a small trial."""
    layers = [
        {"kind": "conv2d", "filters": filters, "kernel_size": 3, "kernel_regularizer": l2 and {"l2": l2}},
        {"kind": "flatten"},
        {"kind": "dropout", "rate": dropout},
        {"kind": "output"},
    ]
    return TrialSpec(params={}, layers=None if build else layers, build=build, training={"epochs": 2, **training})


@pytest.mark.parametrize(
    "other",
    [
        trial(dropout=0.0),
        trial(l2=0.5),
        trial(batch_size=7, epochs=9, label_smoothing=0.1),
        trial(optimizer={"learning_rate": 3.0, "beta_1": 0.5, "epsilon": 1e-3}),
        trial(schedule={"kind": "cosine"}, early_stopping={"patience": 1}),
    ],
)
def test_numbers_do_not_change_the_key(other):
    """Rates, factors, sizes of batches, schedules: all trials that differ in those share a graph."""
    assert graph_key(other) == graph_key(trial())


@pytest.mark.parametrize(
    "other",
    [
        trial(filters=5),
        trial(l2=None),
        trial(optimizer={"name": "sgd"}),
        trial(optimizer={"weight_decay": 0.1}),
        trial(optimizer={"clip_norm": 1.0}),
        trial(loss="binary_crossentropy"),
        trial(engine="fit"),
        trial(build="module:function"),
    ],
)
def test_operations_change_the_key(other):
    """Settings that add, drop or reshape an operation need another graph."""
    assert graph_key(other) != graph_key(trial())


def test_configurations_of_a_build_function_are_told_apart_by_what_may_be_a_shape():
    """Fractions are rates until the network is built; whole numbers and words may change it. So may any to `fit`."""

    def key(*, engine="graph", **params):
        return graph_key(TrialSpec(params=params, build="m:f", training={"epochs": 1, "engine": engine}))

    assert key(dropout=0.1, units=8) == key(dropout=0.2, units=8)
    assert len({key(dropout=0.1, units=8), key(dropout=0.1, units=9), key(dropout=0.1, units=8, kind="a")}) == 3
    assert key(engine="fit", dropout=0.1) != key(engine="fit", dropout=0.2)
    assert graph_key(trial(build="m:f", batch_size=2)) == graph_key(trial(build="m:f"))
    assert graph_key(trial(build="m:f", optimizer={"name": "sgd"})) != graph_key(trial(build="m:f"))


def test_schedulers_and_login_nodes_load_no_tensorflow():
    """Keys, data sets and checkpoints are for processes that never train."""
    code = """
import sys
import cnn_sweep.training, cnn_sweep.training.data.dataset, cnn_sweep.training.data.sources
import cnn_sweep.training.data.prepare, cnn_sweep.training.graph_key, cnn_sweep.training.trial.checkpoint
import cnn_sweep.training.outcome, cnn_sweep.training.session
assert not {"tensorflow", "keras", "sklearn"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
