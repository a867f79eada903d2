"""What the stub engine computes instead of training: a chain of hashes, so a skipped or repeated step shows."""

from __future__ import annotations

import hashlib
import json

STEPS = 2  # of an epoch


def begin(seed, params):
    """Return the state of an untrained network."""
    return hashlib.sha256(json.dumps([seed, params], sort_keys=True).encode()).digest()


def step(state, epoch, number):
    """Return the state after one step; epochs count from 1, steps from 0."""
    return hashlib.sha256(state + f"{epoch}.{number}".encode()).digest()


def value(state):
    """Return the metric of a state: a number from 0 to 1 that JSON and SQLite keep exactly."""
    return int.from_bytes(state[:6], "big") / 2**48


def states(seed, params, epochs):
    """Return the state after each epoch, the first one under 1."""
    found, state = {}, begin(seed, params)
    for epoch in range(1, epochs + 1):
        for number in range(STEPS):
            state = step(state, epoch, number)
        found[epoch] = state
    return found
