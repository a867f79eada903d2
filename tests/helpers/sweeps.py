"""Sweep files that tests of several parts write."""

from __future__ import annotations

_DIGITS = """\
study: {study}
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: $filters, kernel_size: 3}}
    - flatten
    - output: softmax
objective: {{metric: {metric}, direction: {direction}}}
"""


def sweep_of_digits(rest):
    """Return a template with study, metric and direction to fill in; the rest is its space and its training."""
    return _DIGITS + rest
