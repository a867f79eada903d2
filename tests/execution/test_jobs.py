"""A study's part of the queue, from rows as squeue gives them."""

import errno
import os
import signal
import time
from dataclasses import replace

import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.array_jobs.deadline import Deadline
from cnn_sweep.execution.study.jobs import (
    count_pools,
    faults_of,
    is_running,
    jobs_in_queue,
    pools_that_go_on,
    queue_of,
)
from cnn_sweep.execution.study.provenance import fault_event, worker_event
from cnn_sweep.execution.worker import protocol
from cnn_sweep.execution.worker.protocol import PoolWord, StopRequest
from cnn_sweep.journal.events import Submit
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.slurm.job_rows import OwnJob, QueueRow, Visibility

SUBMITTED = 1_000_000.0


class FakeQueue:
    """Gives rows, whatever is asked for, and counts how often."""

    def __init__(self, *rows):
        self.rows = rows
        self.calls = 0
        self.only_uid = None

    def visibility(self):
        """Return whose jobs are shown."""
        return Visibility("lab", self.only_uid)

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
    assert count_pools([job]) == 1


@pytest.mark.parametrize(
    ("reason", "is_pool", "cure"),
    [
        ("DependencyNeverSatisfied", False, "correct `dependency`. Then `cnn-sweep cancel` and `resume`"),
        ("BadConstraints", False, "drop the constraint"),
        ("PartitionTimeLimit", False, "lower it"),
        ("PartitionConfig", False, "lower cpus, memory or GPUs"),
        ("InvalidQOS", False, "sacctmgr show assoc"),
        ("AssocMaxCpuPerJobLimit", False, "a job of your account or QOS may not be so large"),
        ("QOSMaxWallDurationPerJobLimit", False, "lower it"),
        ("launch_failed_requeued_held", False, "scontrol release 7_1"),
        ("job requeued in held state", False, "scontrol release 7_1"),
        ("JobHeldAdmin", False, "help desk"),
        ("PartitionDown", True, "choose another one"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", True, "down or reserved"),
        ("AssocGrpCPUMinutesLimit", True, "used up"),
        ("AssocGrpCPURunMinutesLimit", True, ""),
        ("QOSMaxCpuPerUserLimit", True, ""),
        ("Dependency", True, ""),
        ("Priority", True, ""),
    ],
)
def test_a_job_that_waits_for_more_than_time_comes_with_the_cure(paths, reason, is_pool, cure):
    """If only its user or an administrator can start it, it is no pool; if others must act, it is one."""
    (job,) = jobs_in_queue(paths, FakeQueue(row("7_1", state="PENDING", reason=reason)))
    assert [text.partition(": ")[0] for text in job.cures] == ([reason] if cure else [])
    assert cure in "".join(job.cures)
    assert count_pools([job]) == is_pool


def test_jobs_whose_processes_are_ending_are_no_pools(paths):
    """So `resume` right after `cancel` submits; a held job is none either, whatever its reason."""
    slurm = FakeQueue(row("7_0", "7_1", state="COMPLETING"), row("7_2", state="REQUEUE_HOLD"), row("7_3"))
    (job,) = jobs_in_queue(paths, slurm)
    assert (job.ending, job.stuck, count_pools([job])) == (2, 1, 1)


def test_each_array_is_matched_by_its_own_time(tmp_path):
    """A submission of many arrays takes minutes, and so does one call of sbatch that a busy controller answers late."""
    paths = StudyPaths(tmp_path, "slow")
    paths.create()
    jobs = [{"job": str(7 + n), "tasks": 1, "time": SUBMITTED + 300 * n} for n in range(3)]
    told(paths, Submit(SUBMITTED + 900, jobs, "p.toml", "lab"))
    slurm = FakeQueue(row("7"), row("8", submitted=SUBMITTED + 300), row("9", submitted=SUBMITTED + 500))
    assert [job.job for job in jobs_in_queue(paths, slurm)] == ["7", "8", "9"]


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
    now = time.time()
    told(paths, Submit(now, [{"job": "8", "tasks": 1, "time": now}], "p.toml", "lab"))
    assert faults_of(paths) == []


def test_a_journal_that_cannot_be_read_may_name_jobs(paths, monkeypatch):
    """With a stale file handle nobody is told that there are no jobs, or would submit them twice."""
    opened = os.open

    def stale(path, *arguments, **how):
        if str(path).endswith(".jsonl"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return opened(path, *arguments, **how)

    monkeypatch.setattr(os, "open", stale)
    with pytest.raises(EnvironmentFault, match=r"\.jsonl: cannot be read: Stale file handle; it may name jobs"):
        jobs_in_queue(paths, FakeQueue(row("7_0")))


@pytest.mark.parametrize(
    ("signals", "word", "cause"),
    [
        ("SIGUSR2", None, "preempted"),
        ("SIGUSR2", "time_limit", "time_limit"),
        ("SIGUSR2", "preempted", "preempted"),
        ("SIGTERM", "time_limit", "stopped"),
        ("SIGTERM SIGUSR2", "preempted", "preempted"),
        ("SIGUSR2 SIGTERM", "preempted", "preempted"),
        ("", None, "pool_gone"),
    ],
)
def test_a_worker_says_why_it_stops(signals, word, cause):
    """Slurm's warning has the cause that the pool learned from Slurm, whatever else comes."""
    pool = PoolWord()
    stop = StopRequest(None if word is None else pool.descriptor)
    if word is not None:
        pool.stop(word)
    for name in signals.split():
        stop._on_signal(getattr(signal, name), None)
    assert bool(stop) == bool(signals)
    assert stop.cause() == cause


def test_a_pool_that_does_not_learn_the_cause_has_told_that_the_end_is_near(monkeypatch):
    """While Slurm does not answer, a warning after that word is the limit's; without a word it is a preemption."""
    monkeypatch.setattr(protocol, "_CAUSE_WITHIN_S", 0.1)
    pool = PoolWord()
    stop = StopRequest(pool.descriptor)
    assert not stop.drains
    stop._on_signal(signal.SIGUSR2, None)
    assert stop.cause() == "preempted"
    pool.drain()
    assert stop.drains
    assert stop.cause() == "time_limit"


class OwnJobs:
    """Answers of Slurm about the own job, each given once and the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = 0

    def own_job(self):
        """Return the next answer."""
        self.calls += 1
        return self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)


def own(ends_in, state="RUNNING", *, preempted=False):
    """Return an answer about a job that ends in so many seconds."""
    return OwnJob(1, state, round(time.time() + ends_in), preempted)


def deadline(at_start, *later, run_s=60.0, warning_s=60.0):
    """Return a deadline and Slurm as it answers later."""
    slurm = OwnJobs(*later)
    return Deadline(slurm, at_start, run_s=run_s, warning_s=warning_s), slurm


def test_the_end_is_slurms_not_that_of_our_clock():
    """A job whose limit was lowered by --time-min ends earlier, a suspended or extended one later; Slurm is asked."""
    found, slurm = deadline(own(70), own(3600))
    assert not found.is_near()  # asked, as 70 s are within the warning and a first checkpoint
    assert not found.is_near()
    assert slurm.calls == 1
    found, _ = deadline(own(3600), own(3600))
    assert not found.is_near()
    found, _ = deadline(own(50), own(50), run_s=3600.0)
    assert found.is_near()
    assert found.is_due()


def test_without_an_answer_our_clock_counts():
    """A controller that is down, at the start or near the end, does not keep a job from stopping in time."""
    found, slurm = deadline(None, None)
    assert not found.is_near()
    assert slurm.calls == 0
    found, _ = deadline(own(50), None)
    assert found.is_due()
    assert found.cause() == "time_limit"


@pytest.mark.parametrize(
    ("ends_in", "at_the_signal", "cause"),
    [
        (100, own(100), "time_limit"),
        (100, own(3600), "preempted"),
        (3600, own(60), "time_limit"),
        (100, own(30, preempted=True), "preempted"),
        (100, own(0, "PENDING"), "preempted"),
        (3600, None, "preempted"),
    ],
)
def test_slurm_tells_why_its_warning_came(ends_in, at_the_signal, cause):
    """Also with a limit of two minutes, of which every moment is near the end; and one that was changed."""
    assert deadline(own(ends_in), at_the_signal)[0].cause() == cause


@pytest.mark.parametrize(("private", "alive"), [(True, None), (False, False)])
def test_a_worker_in_a_job_that_is_hidden_may_be_alive(paths, private, alive):
    """With PrivateData=jobs, another user's job is not in our squeue although it runs."""
    slurm = FakeQueue()
    slurm.only_uid = os.geteuid() if private else None
    job = {"job_id": "7", "array_job_id": "7", "array_task_id": "0", "uid": str(os.geteuid() + 1)}
    elsewhere = replace(current(), boot_id="another", host="n1", slurm=job)
    assert is_running(elsewhere, queue_of(paths, slurm)) is alive
    ours = replace(elsewhere, slurm=job | {"uid": str(os.geteuid())})
    assert is_running(ours, queue_of(paths, slurm)) is False


def test_the_last_pool_knows_that_it_is_the_last(paths, monkeypatch):
    """A pool journals why it ends, then counts the others in the queue that have not done so."""
    slurm = FakeQueue(row("7_0"), row("7_1"), row("7_2", state="PENDING"), row("7_3", state="FAILED"))
    for task, others in (("0", 2), ("2", 1), ("1", 0)):
        monkeypatch.setenv("SLURM_JOB_ID", f"7{task}")
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        told(paths, fault_event("requeue = false"))
        assert pools_that_go_on(paths, slurm) == others
