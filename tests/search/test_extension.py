"""What may be changed in a sweep that has trials."""

from __future__ import annotations

import pytest

from cnn_sweep.search.extension import extension

RATE = "{low: 1.0e-4, high: 1.0e-1, log: true, points: 4}"
ALLOWED = [
    ("method: grid", "method: grid", []),
    ("method: grid", "method: grid, repeats: 2", []),
    ("method: grid", "method: grid", [("study: s", "study: s\nmodels: {keep: 3, predictions: false}")]),
    ("method: grid, trials: 5", "method: grid, trials: 6", []),
    ("method: grid, trials: 5", "method: grid", []),
    ("method: random, trials: 5", "method: random, trials: 50", []),
    ("method: tpe, trials: 5", "method: tpe, trials: 50, repeats: 2", []),
    ("method: grid", "method: grid", [("filters: [4, 8]", "filters: [2, 4, 6, 8]")]),
    ("method: grid", "method: grid", [(RATE, "{low: 1.0e-4, high: 1.0, log: true, points: 5}")]),
    ("method: grid", "method: grid", [(RATE, "[0.0001, 0.001, 0.01, 0.1, 0.5]")]),
    ("method: tpe, trials: 5", "method: tpe, trials: 5", [(RATE, "{low: 1.0e-5, high: 1.0, log: true}")]),
    (
        *("method: grid", "method: grid"),
        [("[sgd, adam]", "[sgd, adam, rmsprop]"), ("{optimizer: sgd}", "{optimizer: [sgd, rmsprop]}")],
    ),
    ("method: grid", "method: grid", [("pool: 2", "pool: {size: 2, kind: max}"), ("study: s", "study: s  # mine")]),
]
REFUSED = [
    ("method: grid", "method: grid, seed: 1", [], "search.seed: 0 became 1"),
    ("method: grid", "method: random, trials: 5", [], "search.method: 'grid' became 'random'"),
    ("method: grid, repeats: 2", "method: grid", [], "search.repeats: 2 became 1, which is less"),
    ("method: random, trials: 5", "method: random, trials: 4", [], "search.trials: 5 became 4, which is less"),
    ("method: grid", "method: grid, trials: 5", [], "search.trials: all became 5, which is less"),
    ("method: grid", "method: grid", [("study: s", "study: t")], "study: 's' became 't'"),
    ("method: grid", "method: grid", [("epochs: 1", "epochs: 2")], "training.epochs: 1 became 2"),
    ("method: grid", "method: grid", [("epochs: 1", "epochs: 1, batch_size: 8")], "training.batch_size: 8 is new"),
    ("method: grid", "method: grid", [("pool: 2", "pool: 3")], "model[1].size: [2, 2] became [3, 3]"),
    ("method: grid", "method: grid", [("    - pool: 2\n", "")], "model: [{"),
    (
        "method: grid",
        "method: grid",
        [("kernel < 70", "kernel < 71")],
        "constraints: ['filters * kernel < 70'] became",
    ),
    ("method: grid", "method: grid", [("filters: [4, 8]", "filters: [4, 16]")], "space.filters: 8 is gone"),
    ("method: grid", "method: grid", [(RATE, RATE.replace("4}", "5}"))], "space.rate: 0.001, 0.01 is gone"),
    ("method: grid", "method: grid", [("{source: digits}", "{source: digits, seed: 1}")], "data.seed: 0 became 1"),
    ("method: tpe, trials: 5", "method: tpe, trials: 5", [("e-4, high", "e-3, high")], "does not include all of"),
    ("method: tpe, trials: 5", "method: tpe, trials: 5", [(RATE, "[0.1]")], "a range cannot replace choices"),
    (
        *("method: grid", "method: grid"),
        [("{optimizer: sgd}", "{optimizer: [sgd, adam]}")],
        "space.momentum.when.optimizer: ['sgd'] became ['sgd', 'adam']",
    ),
    (
        *("method: grid", "method: grid"),
        [("space:\n", "space:\n  size: [2, 3]\n"), ("pool: 2", "pool: $size")],
        "space: the hyperparameters were filters, kernel",
    ),
]


@pytest.mark.parametrize(("before", "after", "changes"), ALLOWED)
def test_more_of_the_same_is_an_extension(sweep, before, after, changes):
    """Choices, points, trials and repeats may be added, and things written in another way."""
    assert extension(sweep(before), sweep(after, *changes)) is None


@pytest.mark.parametrize(("before", "after", "changes", "reason"), REFUSED)
def test_whatever_else_changes_is_told(sweep, before, after, changes, reason):
    """Each change that would give old trials another meaning is named with the old and the new value."""
    reasons = extension(sweep(before), sweep(after, *changes))
    assert reasons is not None
    assert any(reason in one for one in reasons), reasons


def test_all_reasons_are_told_at_once(sweep):
    """Two changes are two reasons."""
    other = sweep("method: grid, seed: 3", ("epochs: 1", "epochs: 2"), ("[4, 8]", "[4, 9]"))
    reasons = extension(sweep(), other)
    assert reasons is not None
    assert [one.split(":")[0] for one in reasons] == ["training.epochs", "search.seed", "space.filters"]
