"""How often Slurm is asked while a study with rungs waits for the result of another job."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cnn_sweep.cli.ui import watch
from cnn_sweep.execution.pool import supervisor as supervisors
from cnn_sweep.execution.pool.supervisor import PoolSupervisor
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker import worker as workers
from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings
from cnn_sweep.execution.worker.worker import Worker
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Start, Submit
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.sweep.sweep import Sweep

TEXT = """
study: halved
data: {source: digits}
model: {layers: [flatten, {output: softmax}]}
space: {learning_rate: {low: 1.0e-4, high: 1.0, log: true}}
search: {method: random, trials: 3}
pruner: {asha: {min_epochs: 1, reduction: 3}}
training: {epochs: 9, optimizer: {name: sgd, learning_rate: $learning_rate}}
"""
MINUTES = 10
RUNS = "7|7|RUNNING|None|0|1|1|N/A|0|n9|main|"


@pytest.fixture
def clock(monkeypatch):
    """The time of pools, workers and displays; sleeping lets it pass."""
    moment = SimpleNamespace(now=time.monotonic())

    def sleep(seconds):
        moment.now += seconds

    for module in (supervisors, workers):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: moment.now, sleep=sleep, time=time.time))
    return moment


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of three trials: two paused, one trained by another job; and a squeue that counts its calls."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    _answer(programs, RUNS)
    made = StudyFolder.open_or_create(Sweep.parse(TEXT), tmp_path / "results")
    slurm = {"job_id": "7", "submit_time": "1"}
    other = replace(current(), host="n9", boot_id="another", slurm=slurm)
    writer = new_writer_name()
    claims = Claims(made.paths, writer, other)
    with JournalWriter(made.paths.journal(writer)) as journal:
        journal.append(replace(worker_event(threads=1), identity=other))
        for trial in made.plan.trials[::-1]:
            assert claims.claim(trial.number, 0)
            journal.append(Start(1.0, trial.number, 0, trial.configuration, 0, trial.seed, trial.params, until=1))
            if trial.number > 0:
                journal.append(Epoch(1.0, trial.number, 0, 1, 1.0, {"val_accuracy": 0.5}))
                journal.append(End(1.0, trial.number, 0, "paused", epochs=1))
    return SimpleNamespace(folder=made, programs=programs, calls=programs / "calls")


def _answer(programs, row):
    for name, words in (("squeue", row), ("sacct", "")):
        script = f'#!/bin/sh\necho {name} >>{programs}/calls\n[ -z "{words}" ] || echo "{words}"\n'
        (programs / name).write_text(script, encoding="utf-8")
        (programs / name).chmod(0o755)


def _calls(study):
    return study.calls.read_text(encoding="utf-8").split().count("squeue") if study.calls.exists() else 0


def _supervisor(study, size=4):
    """Return a pool's supervisor whose workers are processes that train nothing."""
    found = PoolSupervisor(study.folder, WorkerSettings(study.folder.paths.results, "halved", 1, since=0.0), size)
    for slot in found._pool._slots:
        slot.process = SimpleNamespace(pid=os.getpid(), poll=lambda: None, send_signal=lambda _: None)
    return found


def test_a_pool_whose_workers_wait_asks_once_a_minute(study, clock):
    """Its four workers wait for ten minutes: ten queries and the first, not one of each worker every five seconds."""
    pool = _supervisor(study)
    pool._refill()
    for _ in range(MINUTES * 20):
        clock.now += 3.0
        pool._step([])
    assert MINUTES <= _calls(study) <= MINUTES + 1


def test_waiting_workers_leave_slurm_to_their_pool(study, clock, monkeypatch):
    """A worker that waits until it gives up starts no command of Slurm's."""
    monkeypatch.setattr(workers, "_start_trainer", lambda *_: None)
    settings = WorkerSettings(study.folder.paths.results, "halved", 1, since=0.0)
    worker = Worker(study.folder, settings, StopRequest())
    before = clock.now
    assert worker._claim() is None
    assert clock.now - before > 60
    worker._journal.close()
    assert _calls(study) == 0


def test_a_job_that_died_is_found_within_a_minute(study, clock):
    """The pool journals it for its workers, which then take over the trial."""
    pool = _supervisor(study)
    pool._refill()
    _answer(study.programs, "")
    for _ in range(20):
        clock.now += 3.0
        pool._step([])
    pool._history.refresh()
    trial = pool._history.trials[0]
    assert (trial.state, trial.last.lost and trial.last.lost.cause) == ("interrupted", "gone")


def test_a_display_asks_once_a_minute(study, monkeypatch):
    """`status --watch` reads the journals every few seconds, and squeue once."""
    with study.folder.journal("login") as journal:
        journal.append(Submit(time.time(), [{"job": "7", "tasks": 1, "time": 1.0}], "p.toml", "lab"))
    looks = iter(range(6))
    interrupt = SimpleNamespace(wait=lambda _: next(looks, 5) >= 4)
    monkeypatch.setattr(watch, "interruptible", lambda: nullcontext(interrupt))
    watch.follow(study.folder.paths.results, "halved", 0.2)
    assert _calls(study) == 1
