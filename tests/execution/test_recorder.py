"""Checkpoints are written while training goes on."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace

import pytest

from cnn_sweep.execution.attempts.candidates import NextAttempt
from cnn_sweep.execution.worker.recorder import Recorder
from cnn_sweep.journal.log import JournalWriter, decode
from cnn_sweep.journal.paths import StudyPaths


@pytest.fixture
def attempt(tmp_path):
    """A recorder of trial 7, and what its journal says: the kinds and epochs of its lines."""
    paths = StudyPaths(tmp_path, "study")
    paths.create()
    journal = JournalWriter(paths.journal("me"))
    context = SimpleNamespace(
        study=SimpleNamespace(paths=paths, sweep=SimpleNamespace(objective=SimpleNamespace(metric="loss"))),
        history=SimpleNamespace(trials={}, refresh=lambda: None),
        journal=journal,
        stop=False,
        merger=SimpleNamespace(while_training=lambda: None),
        pruning=SimpleNamespace(stops_trials=False),
    )
    recorder = Recorder(NextAttempt(7, 0), context)

    def lines():
        journal.flush()
        events = [decode(line) for line in paths.journal("me").read_bytes().splitlines()]
        return [(event.type, event.epoch) for event in events]

    yield SimpleNamespace(recorder=recorder, lines=lines, file=paths.checkpoint(7, 0), pruning=context.pruning)
    journal.close()


def test_a_pruner_sees_an_infinite_objective_as_none(attempt):
    """An epoch whose objective is infinite is one without a value for the pruner, as when the trial is resumed."""
    asked = []
    attempt.pruning.stops_trials = True
    attempt.pruning.prunes = lambda _, curve: asked.append(dict(curve)) or False
    for epoch, value in ((1, 0.5), (2, -math.inf)):
        attempt.recorder.epoch(epoch, {"loss": value}, 0.1)
    assert attempt.recorder.decision() == "continue"
    assert asked[0][1] == 0.5
    assert math.isnan(asked[0][2])


def test_training_goes_on_while_a_checkpoint_is_written(attempt):
    """Epochs are journaled meanwhile; the checkpoint is journaled by the training thread once its file is whole."""
    go, threads = threading.Event(), []

    def state():
        threads.append(threading.get_ident())
        go.wait(30)
        return b"after epoch 1"

    attempt.recorder.checkpoint_later(state, 1)
    attempt.recorder.epoch(2, {"loss": 1.0}, 0.1)
    assert attempt.lines() == [("epoch", 2)]
    assert not attempt.file.exists()
    go.set()
    attempt.recorder.close()
    assert attempt.lines() == [("epoch", 2), ("checkpoint", 1)]
    assert attempt.file.read_bytes() == b"after epoch 1"
    assert threads != [threading.get_ident()]


def test_one_checkpoint_is_written_at_a_time_and_none_is_overtaken(attempt):
    """A checkpoint that comes sooner than the one before is done waits for it, so the newest file stays."""
    attempt.recorder.checkpoint_later(lambda: b"1", 1)
    attempt.recorder.checkpoint_later(lambda: b"2", 2)
    attempt.recorder.checkpoint(b"3", 3)
    assert attempt.file.read_bytes() == b"3"
    attempt.recorder.close()
    assert attempt.lines() == [("checkpoint", 1), ("checkpoint", 2), ("checkpoint", 3)]


def test_a_checkpoint_that_cannot_be_written_is_not_journaled(attempt):
    """The fault of the disk reaches the worker, and no line names a file that is not there."""

    def full():
        raise OSError(28, "No space left on device")

    attempt.recorder.checkpoint_later(full, 1)
    with pytest.raises(OSError, match="No space left"):
        attempt.recorder.close()
    assert attempt.lines() == []
