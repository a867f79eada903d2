"""Checkpoints are written while training goes on."""

from __future__ import annotations

import errno
import itertools
import math
import threading
from types import SimpleNamespace

import pytest

from cnn_sweep.execution.attempts.candidates import NextAttempt
from cnn_sweep.execution.worker import checkpoints
from cnn_sweep.execution.worker import recorder as recorders
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


def full():
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_training_goes_on_while_checkpoints_cannot_be_written(attempt, monkeypatch, caplog):
    """The first failure is journaled with the file and the reason, further ones are not; then it is tried again."""
    attempt.recorder.checkpoint_later(full, 1)
    attempt.recorder.checkpoint_later(lambda: b"2", 2)  # too soon after a failure
    attempt.file.mkdir()  # also root cannot replace it by a file
    attempt.recorder.checkpoint(b"3", 3)
    assert attempt.lines() == [("unsaved", 1), ("unsaved", 3)]
    assert f"{attempt.file}: No space left on device" in caplog.text
    assert (
        attempt.recorder.what_is_lost() == f"{attempt.file}: Is a directory: no checkpoint, so the trial starts again"
    )
    attempt.file.rmdir()
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: math.inf)
    attempt.recorder.checkpoint_later(lambda: b"4", 4)
    attempt.recorder.close()
    assert attempt.file.read_bytes() == b"4"
    assert attempt.lines()[2:] == [("checkpoint", 4)]
    assert attempt.recorder.what_is_lost() is None


def test_the_pauses_between_failing_checkpoints_grow(attempt, monkeypatch):
    """They double up to ten minutes, so that a broken file system is left in peace; a stop still tries."""
    clock, tried = [0.0], []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])

    def failing():
        tried.append(clock[0])
        full()

    for second in range(0, 3000, 5):
        clock[0] = float(second)
        attempt.recorder.checkpoint_later(failing, 1)
        attempt.recorder._checkpoints._settle()
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    attempt.recorder.checkpoint(b"now", 9)
    assert attempt.file.read_bytes() == b"now"
    assert attempt.lines() == [("unsaved", 1), ("checkpoint", 9)]


def test_a_removed_folder_of_checkpoints_is_made_again(attempt):
    """Somebody removed it to free space."""
    attempt.file.parent.rmdir()
    attempt.recorder.checkpoint(b"1", 1)
    assert attempt.file.read_bytes() == b"1"


def test_a_trial_that_ends_without_a_checkpoint_loses_nothing(attempt):
    """Closing raises nothing: the trial is complete whatever became of its checkpoints."""
    attempt.recorder.checkpoint_later(full, 1)
    attempt.recorder.close()
    assert attempt.lines() == [("unsaved", 1)]


def test_a_trial_trains_without_news_of_the_others(attempt, monkeypatch):
    """A file system that fails while the journals of others are read stops no training."""

    def stale():
        raise OSError(errno.ESTALE, "Stale file handle")

    attempt.recorder._history.refresh = stale
    monkeypatch.setattr(recorders, "_LOOK_EVERY_S", 0.0)
    attempt.pruning.stops_trials = True
    attempt.pruning.prunes = lambda *_: False
    assert not attempt.recorder.should_stop()
    assert attempt.recorder.decision() == "continue"
