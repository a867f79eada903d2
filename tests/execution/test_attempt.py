"""An attempt continues where the previous one ended."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from cnn_sweep.execution.attempts.candidates import NextAttempt
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker import worker as workers
from cnn_sweep.execution.worker.attempt import AttemptRunner, WorkerContext
from cnn_sweep.execution.worker.protocol import WorkerSettings
from cnn_sweep.execution.worker.retention import drop_models
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Checkpoint, End, Epoch, Lost, Start
from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.predictions import KeptPredictions, find, logs_of
from cnn_sweep.search.pruning_rules import PruningRules
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.outcome import Outcome
from cnn_sweep.training.trial.checkpoint import pack

SWEEP = """
study: continued
data: {source: digits}
model: {layers: [flatten, output: softmax]}
training: {epochs: 6}
"""


def epoch(number, attempt):
    """The line of an epoch of trial 0."""
    return Epoch(
        time=time.time(), trial=0, attempt=attempt, epoch=number, seconds=0.1, metrics={"val_accuracy": number / 10}
    )


def killed_while_it_journaled_a_checkpoint(study, attempt=0):
    """Leave the files of a worker that trains five epochs and dies before it journals its second checkpoint."""
    paths, writer = study.paths, new_writer_name()
    Claims(paths, writer, current()).claim(0, attempt)
    with JournalWriter(paths.journal(writer)) as journal:
        journal.append(worker_event(threads=1))
        journal.append(Start(time.time(), 0, attempt, "c", 0, 0, {}))
        for number in (1, 2, 3, 4, 5):
            journal.append(epoch(number, attempt))
            if number == 2:
                file = paths.checkpoint(0, attempt).relative_to(paths.folder).as_posix()
                journal.append(Checkpoint(time.time(), 0, attempt, number, file, 1))
        journal.append(Lost(time=time.time(), trial=0, attempt=attempt, cause="killed", message=""))
    write_aside(paths.checkpoint(0, attempt), pack({"progress": {"epoch": 5}}, {}))


class LastEpoch:
    """An engine that trains the sixth epoch."""

    def train(self, spec, *, seed, fold, monitor, resume):
        """Report one epoch."""
        monitor.epoch(6, {"val_accuracy": 0.6}, 0.1)
        return Outcome("complete", epochs=6)


class Predicting:
    """An engine whose trial is complete and has predictions."""

    def train(self, spec, *, seed, fold, monitor, resume):
        """Report one epoch."""
        monitor.epoch(1, {"val_accuracy": 0.5}, 0.1)
        images = np.arange(2, dtype=np.int32)
        kept = KeptPredictions(1, "validation", images, images, ("a", "b"), logs_of(np.eye(2, dtype=np.float32)))
        return Outcome("complete", epochs=1, history=({"val_accuracy": 0.5},), predictions=kept)


class Exporting:
    """An engine whose trial has a model."""

    def train(self, spec, *, seed, fold, monitor, resume):
        """Report one epoch."""
        monitor.epoch(1, {"val_accuracy": 0.5}, 0.1)
        return Outcome("complete", epochs=1, best_epoch=1, value=0.5, history=({"val_accuracy": 0.5},))

    def export(self, spec, outcome, *, seed, path):
        """Write a model."""
        path.write_bytes(b"model")
        return True


class Preempted:
    """An engine that is asked to stop after its first epoch."""

    def train(self, spec, *, seed, fold, monitor, resume):
        """Report one epoch and write a checkpoint."""
        monitor.epoch(1, {"val_accuracy": 0.1}, 0.1)
        monitor.checkpoint(b"state", 1)
        return Outcome("interrupted", epochs=1)


def attempt_of(study, number, engine):
    """Run an attempt at trial 0, and return the trial."""
    history = History(study.paths)
    history.refresh()
    writer = new_writer_name()
    claims = Claims(study.paths, writer, current())
    assert claims.claim(0, number)
    with JournalWriter(study.paths.journal(writer)) as journal:
        journal.append(worker_event(threads=1))
        context = WorkerContext(
            study,
            history,
            claims,
            journal,
            stop=SimpleNamespace(cause=lambda: "preempted"),
            merger=SimpleNamespace(while_training=lambda: None),
            settings=WorkerSettings(study.paths.results, "continued", threads=1, since=0.0),
            pruning=PruningRules(study.sweep, study.plan, history),
        )
        AttemptRunner(context, engine).run(NextAttempt(0, number))
    history.refresh()
    return history.trials[0]


def test_a_trial_that_stops_without_a_checkpoint_says_from_where_it_continues(tmp_path, caplog):
    """A preempted worker that cannot write one ends as usual; what will be repeated is journaled and logged."""
    study = StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)
    file = study.paths.checkpoint(0, 0)
    file.mkdir()
    last = attempt_of(study, 0, Preempted()).last
    why = f"{file}: Is a directory: no checkpoint, so the trial starts again"
    assert (last.state, last.cause, last.end.message) == ("interrupted", "preempted", why)
    assert why in caplog.text
    killed_while_it_journaled_a_checkpoint(study, attempt=1)
    study.paths.checkpoint(0, 2).mkdir()
    assert attempt_of(study, 2, Preempted()).last.end.message.endswith("the trial continues after epoch 5")


def test_the_log_says_that_a_trial_trains_again_without_its_checkpoint(tmp_path, caplog):
    """Whoever deleted the file reads from where the trial goes on, and why."""
    study = StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)
    attempt_of(study, 0, Preempted())
    assert "trains again" not in caplog.text
    study.paths.checkpoint(0, 0).unlink()
    assert attempt_of(study, 1, Preempted()).last.start.epoch == 0
    why = f"{study.paths.checkpoint(0, 0).name}: No such file or directory"
    assert f"trial 0 trains again from its beginning, since checkpoints cannot be used: {why}" in caplog.text


def test_predictions_are_kept_before_the_end_is_journaled(tmp_path, caplog, monkeypatch):
    """So each complete trial has its own; where they cannot be written, the trial is as complete without."""
    study = StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)
    append = JournalWriter.append

    def watched(self, event):
        if isinstance(event, End):
            seen.append(sorted(find(study.paths, {0: event.attempt})))
        append(self, event)

    seen = []
    monkeypatch.setattr(JournalWriter, "append", watched)
    assert attempt_of(study, 0, Predicting()).state == "complete"
    shutil.rmtree(study.paths.predictions_folder)
    study.paths.predictions_folder.touch()
    assert attempt_of(study, 1, Predicting()).state == "complete"
    assert seen == [[0], []]
    assert "trial 0: its predictions could not be kept" in caplog.text


def test_a_model_is_saved_while_the_own_journal_cannot_be_read(tmp_path, monkeypatch):
    """A file system that fails to read hides a trial from the worker that trains it."""
    study = StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)
    refresh = History.refresh
    blind = iter([True, True])  # before the attempt, and when the model is ranked
    monkeypatch.setattr(History, "refresh", lambda self: next(blind, False) or refresh(self))
    assert attempt_of(study, 0, Exporting()).state == "complete"
    assert study.paths.model(0).read_bytes() == b"model"


@pytest.mark.parametrize(("number", "exit_code"), [(errno.ESTALE, 1), (errno.EIO, 1), (errno.EACCES, 3)])
def test_a_worker_ends_with_the_file_and_the_reason_of_an_error(tmp_path, monkeypatch, capsys, number, exit_code):
    """Its pool shows the line, without a traceback; an error that may pass is worth another worker, others end it."""

    def fail(*_):
        raise OSError(number, os.strerror(number), str(tmp_path / "claims"))

    monkeypatch.setattr(workers.StudyFolder, "open", fail)
    monkeypatch.setattr(workers.StopRequest, "listen", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["worker", WorkerSettings(tmp_path, "s", threads=1, since=0.0).to_argument()])
    assert workers.main() == exit_code
    said = f"cnn-sweep: {tmp_path / 'claims'}: {os.strerror(number)}; check the file system, then resume\n"
    assert capsys.readouterr().err == said
    full = io.StringIO()
    full.write = fail
    monkeypatch.setattr(sys, "stderr", full)
    assert workers.main() == exit_code, "its log cannot be written, either"


def test_epochs_count_up_to_the_checkpoint_that_was_found_not_up_to_the_one_that_was_journaled(tmp_path):
    """A worker that dies between a checkpoint and its line loses no epoch."""
    study = StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)
    killed_while_it_journaled_a_checkpoint(study)
    trial = attempt_of(study, 1, LastEpoch())
    assert trial.attempts[1].start.epoch == 5
    assert sorted(trial.values) == [1, 2, 3, 4, 5, 6]


def test_a_model_is_removed_only_after_its_trial_has_ended_and_others_are_better(tmp_path):
    """A trial that another worker is about to end has its model before its end: no tidying may take it."""
    study = StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)
    paths, now = study.paths, time.time()
    with JournalWriter(paths.journal(new_writer_name())) as journal:
        journal.append(worker_event(threads=1))
        for number, value in enumerate((0.9, 0.8, 0.95)):
            journal.append(Start(now, number, 0, "c", 0, 0, {}))
            journal.append(Epoch(now, number, 0, 1, 0.1, {"val_accuracy": value}))
            if number < 2:
                journal.append(End(now, number, 0, "complete", None, None, 1, 0.1))
    written = {paths.model(number) for number in range(3)} | {paths.models / ".2.4711.keras"}
    for path in written:
        path.touch()
    history = History(paths)
    history.refresh()
    drop_models(paths, history, study.sweep, keep=1)
    assert set(paths.models.iterdir()) == written - {paths.model(1)}
