"""One sweep file that uses most of the grammar; tests change a piece of it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure, and nothing is left in the checkout.
settings.register_profile("calm", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")

TEXT = """\
study: digits
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3, padding: same, activation: relu}
    - pool: {kind: $pooling, size: 2}
    - dropout: $dropout
    - flatten
    - dense: {units: 32, activation: relu}
    - output: {activation: softmax}
space:
  filters: [8, 16, 32]
  pooling: [max, average]
  dropout: {low: 0.0, high: 0.5, step: 0.25}
  batch_size: [32, 64]
  learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true, points: 4}
  optimizer: [sgd, adam, rmsprop]
  momentum: {low: 0.0, high: 0.99, points: 3, when: {optimizer: sgd}}
constraints: ["batch_size * filters <= 2048"]
search: {method: grid}
training:
  epochs: 10
  batch_size: $batch_size
  optimizer: {name: $optimizer, learning_rate: $learning_rate, momentum: $momentum}
objective: {metric: val_accuracy, direction: maximize}
"""


@pytest.fixture
def text() -> str:
    """The example of the documentation."""
    return TEXT


@pytest.fixture
def edit():
    """Replace pieces of the example; each must be there."""

    def replace(*pairs: tuple[str, str]) -> str:
        changed = TEXT
        for old, new in pairs:
            assert old in changed, old
            changed = changed.replace(old, new)
        return changed

    return replace
