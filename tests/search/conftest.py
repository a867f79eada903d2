"""Sweeps for tests of the search."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.sweep import Sweep

# A busy machine is no failure, and nothing is left in the checkout.
settings.register_profile("calm", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")

TEXT = """\
study: s
data: {source: digits}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: $kernel}
    - pool: 2
    - flatten
    - output
space:
  filters: [4, 8]
  kernel: [3, 5, 9]
  rate: {low: 1.0e-4, high: 1.0e-1, log: true, points: 4}
  optimizer: [sgd, adam]
  momentum: {low: 0.0, high: 0.9, points: 2, when: {optimizer: sgd}}
constraints: ["filters * kernel < 70"]
search: {method: grid}
training: {epochs: 1, optimizer: {name: $optimizer, learning_rate: $rate, momentum: $momentum}}
"""


@pytest.fixture
def sweep():
    """Parse the example with another search, and with pieces replaced."""

    def parse(search: str = "method: grid", *changes: tuple[str, str]) -> Sweep:
        text = TEXT.replace("search: {method: grid}", f"search: {{{search}}}")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return Sweep.parse(text)

    return parse


@pytest.fixture
def digits() -> ImageInfo:
    """Images of 8x8 pixels, on which a window of 9x9 does not fit."""
    return ImageInfo(image_shape=(8, 8, 1), class_names=tuple("0123456789"))
