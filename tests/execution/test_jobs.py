"""A study's part of the queue, from rows as squeue gives them."""

import signal
import time

import pytest

from cnn_sweep.execution.study.jobs import faults_of, jobs_in_queue, pools_in_queue, queue_of
from cnn_sweep.execution.study.provenance import fault_event, worker_event
from cnn_sweep.execution.worker.protocol import StopRequest
from cnn_sweep.journal.events import Submit
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.slurm.job_rows import QueueRow

SUBMITTED = 1_000_000.0


class FakeQueue:
    """Gives rows, whatever is asked for, and counts how often."""

    def __init__(self, *rows):
        self.rows = rows
        self.calls = 0

    def queue(self, ids):
        """Return all rows."""
        self.calls += 1
        return list(self.rows)


def row(*jobs, state="RUNNING", reason="", submitted=SUBMITTED, restarts=0):
    """Return a row of squeue."""
    return QueueRow(jobs, 70, state, reason, restarts, int(submitted), int(submitted) + 1, None, 0, 0, "n1", "main")


@pytest.fixture
def paths(tmp_path):
    """A study for which an array of eight was submitted as job 7."""
    found = StudyPaths(tmp_path, "queued")
    found.create()
    told(found, Submit(SUBMITTED, [{"job": "7", "tasks": 8, "time": SUBMITTED}], "p.toml", "lab"))
    return found


def told(paths, event):
    """Journal an event as a process does that does not train."""
    with JournalWriter(paths.journal(new_writer_name())) as journal:
        journal.append(worker_event(threads=0))
        journal.append(event)


def test_states_come_with_their_reasons(paths):
    """Elements are counted by state, waiting ones by why they wait; one call tells."""
    slurm = FakeQueue(row("7_0"), row("7_1", "7_2", state="PENDING", reason="AssocMaxJobsLimit"))
    (job,) = jobs_in_queue(paths, slurm)
    assert job.states == {"RUNNING": 1, "PENDING: AssocMaxJobsLimit": 2}
    assert (job.tasks, job.stuck, job.cures, slurm.calls) == (8, 0, (), 1)


def test_a_job_that_is_stuck_comes_with_the_cure_and_is_no_pool(paths):
    """Held jobs will not start by themselves, so `resume` may submit others in their place."""
    held = row("7_1", state="PENDING", reason="launch failed requeued held", restarts=1)
    slurm = FakeQueue(row("7_0"), held)
    (job,) = jobs_in_queue(paths, slurm)
    assert "scontrol release 7_1" in job.cures[0]
    assert pools_in_queue(paths, slurm) == 1


def test_another_job_with_our_id_is_not_ours(paths):
    """Slurm reuses IDs; a job submitted at another time belongs to somebody else."""
    assert jobs_in_queue(paths, FakeQueue(row("7_0", submitted=SUBMITTED + 3600))) == []
    assert jobs_in_queue(paths, FakeQueue(row("7_0", submitted=SUBMITTED - 3600, restarts=1))) == []
    assert jobs_in_queue(paths, FakeQueue(row("7_0", submitted=SUBMITTED + 3600, restarts=1)))


def test_incarnations_that_run_are_named(paths):
    """Workers of an element's earlier incarnations are not alive."""
    slurm = FakeQueue(row("7_0", restarts=2, submitted=SUBMITTED + 99), row("7_1", state="PENDING"))
    assert queue_of(paths, slurm).running == {("7_0", 2)}


def test_faults_are_told_once_and_until_the_next_submission(paths):
    """Faults of several pools are reported once; those before the newest submission are left out."""
    for _ in range(2):
        told(paths, fault_event("numpy is another one"))
    assert faults_of(paths) == ["numpy is another one"]
    told(paths, Submit(time.time(), [], "p.toml", "lab"))
    assert faults_of(paths) == []


@pytest.mark.parametrize(
    ("signals", "drain_in", "cause"),
    [
        ("SIGUSR2", 3600, "preempted"),
        ("SIGUSR2", 30, "time_limit"),
        ("SIGUSR2", None, "preempted"),
        ("SIGTERM", 30, "stopped"),
        ("SIGTERM", -1, "time_limit"),
        ("SIGTERM SIGUSR2", 3600, "preempted"),
        ("SIGUSR2 SIGTERM", 3600, "preempted"),
    ],
)
def test_a_worker_says_why_it_stops(signals, drain_in, cause):
    """The warning near the time limit is that of the limit, far from it that of a preemption, whatever else comes."""
    stop = StopRequest()
    for name in signals.split():
        stop._on_signal(getattr(signal, name), None)
    assert stop
    assert stop.cause(None if drain_in is None else time.time() + drain_in) == cause
