"""Trials of owners that cannot be seen from here: in another container, or on another machine without Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cnn_sweep.execution.attempts import take_over as takes
from cnn_sweep.execution.attempts.cancellation import cancel_study, cancel_trial
from cnn_sweep.execution.attempts.liveness import reconcile
from cnn_sweep.execution.attempts.take_over import take_over, unseen_attempts
from cnn_sweep.execution.pool import worker_processes
from cnn_sweep.execution.pool.worker_processes import START_METHOD
from cnn_sweep.execution.study.provenance import start_journal
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker import worker as workers
from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Epoch, Start, Worker
from cnn_sweep.journal.heartbeat import SILENT_S, beating
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.outcome import Outcome

TEXT = """
study: mine
data: {source: digits}
model: {layers: [flatten, output: softmax]}
space: {rate: [0.1, 0.01]}
training: {epochs: 3, optimizer: {name: sgd, learning_rate: $rate}}
"""
# A worker that trains without TensorFlow: after its second epoch it waits until it is told to stop.
WAITS = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker import recorder, worker
from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings
from cnn_sweep.training.outcome import Outcome

def train(spec, *, seed, fold, monitor, resume):
    for epoch in (1, 2):
        monitor.epoch(epoch, {"val_accuracy": 0.1 * epoch}, 0.01)
    until = time.monotonic() + 120
    while not monitor.should_stop() and time.monotonic() < until:
        time.sleep(0.02)
    return Outcome("interrupted", epochs=2)

recorder._LOOK_EVERY_S = 0.1
worker._start_trainer = lambda *_: SimpleNamespace(train=train, export=lambda *_, **__: False)
results = Path(sys.argv[1])
settings = WorkerSettings(results, "mine", 1, since=0.0, trials=1)
worker.Worker(StudyFolder.open(results, "mine"), settings, StopRequest()).run()
"""


@pytest.fixture
def study(tmp_path):
    """A study of two trials."""
    return StudyFolder.open_or_create(Sweep.parse(TEXT), tmp_path / "results")


@pytest.fixture
def quick(monkeypatch):
    """Owners are watched for a moment only."""
    monkeypatch.setattr(takes, "_WATCHED_S", 0.2)
    monkeypatch.setattr(takes, "_LOOK_EVERY_S", 0.1)


def begin(study, number=0, **changes):
    """Begin a trial as a process of another container; return its journal's file."""
    writer = new_writer_name()
    with start_journal(study.paths, "worker", writer=writer, threads=1) as journal:
        Claims(study.paths, writer, replace(current(), pid_namespace="pid:[1]", pid=7, host="node3", **changes)).claim(
            number, 0
        )
        journal.append(Start(time.time(), number, 0, "c", 0, 0, {"rate": 0.1}))
        journal.append(Epoch(time.time(), number, 0, 1, 0.1, {"val_accuracy": 0.5}))
    return study.paths.journal(writer)


def silence(study, seconds=SILENT_S + 1500):
    """Let all that was written so far be old."""
    then = time.time() - seconds
    for file in (*study.paths.journals.iterdir(), *study.paths.claims.iterdir()):
        os.utime(file, (then, then))


def states(study):
    """Return (state, cause) of each trial that was begun."""
    return {number: (trial.state, trial.last.cause) for number, trial in study.history().trials.items()}


def test_a_heartbeat_changes_the_journal_and_takes_no_signals(tmp_path):
    """It shows that its process lives; and a pool can still block signals while it starts a worker."""
    journal = tmp_path / "w.jsonl"
    journal.touch()
    os.utime(journal, (1_000, 1_000))
    with beating(journal, every_s=0.01):
        wait_for(lambda: journal.stat().st_mtime != 1_000)
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text(encoding="ascii")
        blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
        assert blocked >> (signal.SIGTERM - 1) & 1
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_silent_owner_is_taken_over_and_named(study, quick):
    """The user learns which trials, from whom and why; what it had trained is kept, and its death does not count."""
    begin(study)
    silence(study)
    (unseen,) = unseen_attempts(study)
    assert unseen.is_silent
    assert unseen.who.startswith("process 7 on node3 (user ")
    said = []
    assert take_over(study, said.append) == 1
    assert said[-1] == f"trial 0 is taken over from {unseen.who}"
    assert states(study) == {0: ("interrupted", takes.TAKEN_OVER)}
    assert "was silent for 28 minutes; taken over by the user's command" in study.history().trials[0].last.lost.message
    assert unseen_attempts(study) == []


def test_an_owner_that_gives_a_sign_of_life_is_left_alone(study, quick, monkeypatch):
    """Whatever the clocks say: a change that is seen here shows that it lives."""
    journal = begin(study)
    silence(study)
    monkeypatch.setattr(takes.time, "sleep", lambda _: os.utime(journal, (2_000, 2_000)))
    said = []
    assert take_over(study, said.append) == 0
    assert "is not taken over from this process, which is alive: process 7" in said[-1]
    assert states(study) == {0: ("running", None)}


@pytest.mark.parametrize("clock_s", [0, -100_000])
def test_an_owner_is_watched_until_it_was_silent_long_enough(study, quick, monkeypatch, clock_s):
    """Also if its machine's clock is wrong by a day, for no longer than the silence must last."""
    begin(study)
    silence(study, seconds=60 if clock_s == 0 else clock_s)
    waited = []
    monkeypatch.setattr(takes.time, "sleep", waited.append)
    assert take_over(study, lambda _: None) == 1
    assert sum(waited) == pytest.approx(120 if clock_s == 0 else SILENT_S, abs=2)


def test_a_claim_without_a_journal_is_taken_over(study, quick):
    """Its owner died between the claim and the first line, or the claim is empty."""
    study.paths.claim(0, 0).touch()
    Claims(study.paths, "gone", replace(current(), pid_namespace="pid:[1]")).claim(1, 0)
    silence(study)
    assert take_over(study, lambda _: None) == 2
    assert {state for state, _ in states(study).values()} == {"interrupted"}


def test_a_dead_worker_whose_claim_was_deleted_is_found(study):
    """Its journal names it as well."""
    dead = replace(current(), pid=2**22 + 1)
    with JournalWriter(study.paths.journal("dead")) as journal:
        journal.append(Worker(time.time(), dead, {}, 1))
        journal.append(Start(time.time(), 0, 0, "c", 0, 0, {"rate": 0.1}))
    assert reconcile(study) == 1
    assert states(study) == {0: ("interrupted", "killed")}


def test_cancel_ends_the_trials_of_silent_owners_only(study):
    """Live ones end theirs by themselves, and write a checkpoint first."""
    begin(study, 0)
    silence(study)
    begin(study, 1)
    done = cancel_study(study, None)
    assert [one.is_silent for one in done.unseen] == [True, False]
    assert states(study) == {0: ("interrupted", "cancelled"), 1: ("running", None)}


def test_cancel_of_a_silent_owners_trial_ends_it_for_good(study):
    """Should the owner wake up, it sees the claim of the next attempt."""
    begin(study)
    silence(study)
    done = cancel_trial(study, 0)
    assert not done.is_running
    assert states(study) == {0: ("failed", "cancelled")}
    assert study.paths.claim(0, 1).exists()


def hold_all_trials(results):
    """Make a study whose two trials a silent process holds."""
    study = StudyFolder.open_or_create(Sweep.parse(TEXT), results)
    begin(study, 0)
    begin(study, 1)
    silence(study)


def test_commands_name_silent_owners_and_end_with_1(cluster, monkeypatch):
    """`resume` and `cancel` say who holds which trials and what to type; `status` says it, too."""
    popen = subprocess.Popen

    def start(command, **how):
        return popen(["true"] if workers.__name__ in command else command, **how)

    monkeypatch.setenv(START_METHOD, "spawn")
    monkeypatch.setattr(worker_processes.subprocess, "Popen", start)
    cluster.install("squeue", "exit 1")
    hold_all_trials(cluster.paths.results)
    done = cluster.type("resume", "mine", "--workers", "1")
    assert done.exit_code == 1
    assert "2 trials are held by processes that cannot be seen from this machine:" in done.stderr
    assert "trials 0, 1: process 7 on node3 (user " in done.stderr
    assert "if it is gone, `cnn-sweep resume mine --take-over` continues" in done.stderr
    assert "trials 0, 1: process 7 on node3" in cluster.type("status", "mine").stdout
    done = cluster.type("cancel", "mine")
    assert done.exit_code == 1
    assert "trial 1: process 7 on node3 (user " in done.stderr
    assert "ended in the records" in done.stderr


def test_nothing_is_submitted_if_silent_owners_hold_all_trials(queue):
    """Jobs would find nothing to train."""
    hold_all_trials(queue.paths.results)
    done = queue.type("resume", "mine", "--profile", "my.toml")
    assert done.exit_code == 1
    assert "`cnn-sweep resume mine --take-over`" in done.stderr
    assert "no other trial is left, so nothing is submitted" in done.stderr
    assert queue.waiting() == []


def namespace():
    """Return the command that gives a process its own process table; skip the test where that is not allowed."""
    for more in ([], ["--map-root-user"]):
        command = ["unshare", *more, "--pid", "--fork", "--mount-proc"]
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            break
    pytest.skip("this machine allows no process namespaces")


def wait_for(condition):
    """Wait until a condition holds."""
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_worker_that_wakes_up_after_a_take_over_stops_and_counts_nothing_twice(study, quick, monkeypatch):
    """It was frozen in another container; its trial was continued here meanwhile."""
    command = [*namespace(), sys.executable, "-c", WAITS, str(study.paths.results)]
    outer = subprocess.Popen(command)
    try:
        wait_for(lambda: (trial := study.history().trials.get(0)) is not None and trial.last.last_epoch == 2)
        inner = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text(encoding="ascii"))
        os.kill(inner, signal.SIGSTOP)
        silence(study)
        assert take_over(study, lambda _: None) == 1

        def train(_spec, *, seed, fold, monitor, resume):
            for epoch in (1, 2, 3):
                monitor.epoch(epoch, {"val_accuracy": 0.2 * epoch}, 0.01)
            return Outcome("complete", epochs=3)

        stub = type("Stub", (), {"train": staticmethod(train), "export": staticmethod(lambda *_, **__: False)})
        monkeypatch.setattr(workers, "_start_trainer", lambda *_: stub)
        settings = WorkerSettings(study.paths.results, "mine", 1, since=0.0, trials=1)
        workers.Worker(study, settings, StopRequest()).run()
        assert states(study)[0] == ("complete", None)
        os.kill(inner, signal.SIGCONT)
        assert outer.wait(120) == 0
    finally:
        outer.kill()
        outer.wait()
    trial = study.history().trials[0]
    assert (trial.state, len(trial.attempts)) == ("complete", 2)
    assert (trial.attempts[0].state, trial.attempts[0].cause) == ("interrupted", "superseded")
    assert trial.values == pytest.approx({1: 0.2, 2: 0.4, 3: 0.6})
