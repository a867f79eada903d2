"""A trial whose workers die is given up once it gets no further; what it only repeats is no progress."""

from __future__ import annotations

import random

import pytest

from cnn_sweep.execution.attempts.retries import Retries, why_given_up
from cnn_sweep.journal.events import End, Lost, Start
from cnn_sweep.journal.trials import AttemptHistory, EpochHistory, TrialHistory


def trial_of(*attempts):
    """Return a trial of attempts: the epoch after which each continued, its last epoch, and how it ended."""
    trial = TrialHistory(0)
    for number, (begun, reached, how) in enumerate(attempts):
        epochs = {reached: EpochHistory(1.0, 1.0, 0.5)} if reached > begun else {}
        attempt = AttemptHistory(number, Start(1.0, 0, number, "c", 0, 0, {}, begun), "w", epochs=epochs)
        if how == "stopped":
            attempt.end = End(2.0, 0, number, "interrupted", how)
        elif how != "running":
            attempt.lost = Lost(2.0, 0, number, how, "it was killed")
        trial.attempts[number] = attempt
    return trial


def cause(*attempts, epoch=0):
    """Return the cause with which the trial is given up; None if it is tried again."""
    found = why_given_up(trial_of(*attempts), Retries(), epoch=epoch)
    return None if found is None else found.cause


KILLED = [(0, 1, "killed")]
# A trial that continues after epoch 20 again and again, as no checkpoint of a later epoch was written.
STUCK = [(0, 25, "killed"), (20, 24, "killed"), (20, 22, "killed"), (20, 25, "killed"), (20, 23, "killed")]


@pytest.mark.parametrize(
    ("attempts", "epoch", "expected"),
    [
        (KILLED * 5, 0, None),
        (KILLED * 6, 0, "crashed"),
        ([*KILLED * 5, (0, 2, "killed"), *KILLED * 4], 0, None),
        ([(0, 9, "killed"), *((0, reached, "killed") for reached in (3, 8, 9, 1, 2))], 0, "crashed"),
        ([*STUCK, (20, 21, "killed")], 20, "crashed"),
        ([*STUCK, (20, 21, "killed")], 23, None),
        ([*STUCK, (23, 23, "killed")], 23, None),
        ([*STUCK, (20, 21, "killed"), (20, 20, "running")], 20, "crashed"),
        ([(0, 25, "killed"), *[(20, 24, "killed"), (0, 20, "killed")] * 3], 0, "crashed"),
        ([(begun, begun + 1, "killed") for begun in range(0, 400, 20)], 400, None),
        ([*KILLED * 4, (0, 0, "stopped"), *KILLED * 4], 0, None),
        (KILLED + [(0, 1, "time_limit")] * 50 + [(0, 0, "preempted")] * 50, 0, None),
        (KILLED + [(0, 1, "time_limit"), (0, 1, "killed")] * 5, 0, "crashed"),
        ([(0, 1, "node_failure")] * 4, 0, None),
        ([(0, 1, "node_failure")] * 5, 0, "node_failure"),
        ([(0, 1, "out_of_memory")] * 3, 0, "out_of_memory"),
        ([(0, 0, "out_of_memory")] * 2, 0, "out_of_memory"),
    ],
)
def test_progress_is_what_was_kept_or_never_reached_before(attempts, epoch, expected):
    """Deaths count since the trial last continued after a later epoch, or finished one that was new."""
    assert cause(*attempts, epoch=epoch) == expected


@pytest.mark.parametrize("epoch_s", [1, 5, 60])
def test_a_long_trial_survives_many_kills(epoch_s):
    """Killed a hundred times, minutes apart, a trial with a checkpoint every 20 s is never given up."""
    chance = random.Random(epoch_s)
    attempts, kept = [], 0
    for _ in range(100):
        lived_s = chance.expovariate(1 / 300)
        reached = kept + int(lived_s // epoch_s)
        attempts.append((kept, reached, "killed"))
        per_checkpoint = max(1, -(-20 // epoch_s))
        kept += (reached - kept) // per_checkpoint * per_checkpoint
        assert cause(*attempts, epoch=kept) is None


def test_a_function_that_dies_at_random_is_given_up():
    """Without checkpoints each attempt begins anew; new records become rare, so that there is an end."""
    chance = random.Random(1)
    counts = []
    for _ in range(200):
        attempts = []
        while cause(*attempts) is None:
            attempts.append((0, chance.randint(1, 100), "killed"))
        counts.append(len(attempts))
    assert max(counts) < 80
    assert sum(counts) / len(counts) < 25
