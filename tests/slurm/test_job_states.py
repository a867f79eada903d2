"""What became of jobs, on a real cluster."""

import json
import shutil
import time
from dataclasses import dataclass, field, replace

import pytest

from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.job_states import Incarnation, job_statuses

CALM = ("--exclude=n3,n4",)
ON_N3 = ("--partition=low", "--nodelist=n3", "--cpus-per-task=2")


@dataclass(frozen=True)
class CountingCli(SlurmCli):
    """Slurm's commands, which are noted."""

    calls: list[str] = field(default_factory=list)

    def run(self, *command):
        """Note a command, and run it."""
        self.calls.append(command[0])
        return super().run(*command)


def end_jobs_in_every_way(cluster):
    """Let everything happen that ends a job, all at once, and wait until Slurm has noticed the last of it."""
    jobs = {
        "time limit": cluster.submit("time limit", "sleep", "--time=1", *CALM),
        "ok": cluster.submit("ok", "ok", *CALM),
        "raise": cluster.submit("raise", "raise", *CALM),
        "kill": cluster.submit("kill", "kill", *CALM),
        "memory": cluster.submit("memory", "eat", "--mem=300", *CALM),
        "scancel running": cluster.submit("scancel running", "sleep", "--array=0-1", *CALM),
        "scancel pending": cluster.submit("scancel pending", "sleep", "--array=0-5%1", *CALM),
        "requeue": cluster.submit("requeue", "first-sleeps", *CALM),
        "preempted": cluster.submit("preempted", "first-ignores-sigterm", *ON_N3),
        "gave way": cluster.submit("gave way", "sleep", *ON_N3),
        "node crash": cluster.submit("node crash", "sleep", "--nodelist=n4", "--no-requeue"),
        "node crash, requeued": cluster.submit("node crash, requeued", "first-sleeps", "--nodelist=n4", "--array=7"),
    }
    cluster.wait_for_starts(*jobs)
    cluster.slurm.run("scancel", f"{jobs['scancel running']}_1", f"{jobs['scancel pending']}_3")
    cluster.slurm.run("scontrol", "requeue", str(jobs["requeue"]))
    cluster.submit("high", "ok", "--partition=high", "--nodelist=n3", "--exclusive")
    cluster.script("node.sh", "crash", "n4")
    cluster.until(lambda: "NODE_FAIL" in cluster.states(jobs["node crash"]).values(), 60, "the end of n4")
    cluster.script("node.sh", "start", "n4")
    cluster.wait_for_starts("node crash, requeued", "preempted", "requeue", starts=2)
    cluster.until(lambda: "TIMEOUT" in cluster.states(jobs["time limit"]).values(), 150, "the time limit")
    return jobs


@pytest.fixture(scope="module")
def ended(dev_cluster, tmp_path_factory, request):
    """The cluster after its jobs ended in every way, and their ids; once for all processes of a test run."""
    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if hasattr(request.config, "workerinput") else shared) / "ended-jobs"
    cluster = replace(dev_cluster, folder=shared, submitted=[])
    with cluster.alone():
        if not shared.exists():
            shared.mkdir()
            (shared / "jobs.json").write_text(json.dumps(end_jobs_in_every_way(cluster)), encoding="utf-8")
    return cluster, json.loads((shared / "jobs.json").read_text(encoding="utf-8"))


def settled(cluster, *incarnations):
    """Return the statuses once accounting, which lags a second behind, has all of them."""

    def known():
        found = job_statuses(cluster.slurm, incarnations)
        return all(status.state != "unknown" for status in found.values()) and [found[one] for one in incarnations]

    return cluster.until(known, 30, "the accounts")


@pytest.mark.parametrize(
    ("event", "causes", "words"),
    [
        ("ok", ["completed"], "COMPLETED on n"),
        ("raise", ["exception"], "FAILED, exit code 1 on n"),
        ("kill", ["exception"], "FAILED, exit code 9 on n"),
        ("memory", ["out_of_memory"], "FAILED"),
        ("time limit", ["time_limit"], "TIMEOUT"),
        ("requeue", ["requeued", "completed"], "REQUEUED"),
        ("preempted", ["preempted", "completed"], "PREEMPTED on n3"),
        ("gave way", ["preempted"], "FAILED, exit code 15 on n3"),
        ("node crash", ["node_failure"], "NODE_FAIL on n4"),
        ("node crash, requeued", ["node_failure", "completed"], "NODE_FAIL on n4"),
    ],
)
def test_each_incarnation_has_its_own_cause_of_death(ended, event, causes, words):
    """Slurm's accounts tell for each start of a job how it ended."""
    cluster, _ = ended
    incarnations = cluster.incarnations(event)
    found = settled(cluster, *incarnations)
    assert [status.state for status in found] == ["dead"] * len(causes)
    assert [status.cause for status in found] == causes
    assert found[0].detail.startswith(words)
    assert incarnations[0].submitted <= found[0].ended <= time.time()


def test_jobs_know_which_incarnation_they_are(ended):
    """A job reads its name, its restarts and its time of submission; each requeue is a new submission."""
    cluster, jobs = ended
    first, second = cluster.incarnations("requeue")
    assert first.job == second.job == str(jobs["requeue"])
    assert (first.restarts, second.restarts) == (0, 1)
    assert first.submitted <= first.started <= second.submitted + 1 <= second.started
    assert [one.job for one in cluster.incarnations("node crash, requeued")] == [
        f"{jobs['node crash, requeued']}_7"
    ] * 2


def test_elements_of_an_array_are_told_apart(ended):
    """Of an array whose elements were cancelled one by one, each has its own status."""
    cluster, jobs = ended
    found = settled(cluster, *cluster.incarnations("scancel running"))
    assert {status.cause for status in found} == {"cancelled"}
    ends = {
        one.job: status.ended
        for one, status in job_statuses(cluster.slurm, cluster.incarnations("scancel running")).items()
    }
    assert ends[f"{jobs['scancel running']}_1"] < ends[f"{jobs['scancel running']}_0"]


def test_a_pending_element_that_was_cancelled_alone_is_gone(ended):
    """Slurm forgets it at once: neither the queue nor the accounts know it, and it does not wait for ever."""
    cluster, jobs = ended
    (status,) = settled(cluster, Incarnation(f"{jobs['scancel pending']}_3", submitted=1))
    assert (status.state, status.cause) == ("dead", "gone")


def test_without_its_time_of_submission_an_incarnation_is_found_by_when_it_ran(ended):
    """A job that could not ask the controller as it started is still told from its other incarnations."""
    cluster, _ = ended
    known = cluster.incarnations("node crash, requeued")
    blind = [replace(one, submitted=None) for one in known]
    assert [status.cause for status in settled(cluster, *blind)] == ["node_failure", "completed"]


def test_a_job_of_another_time_or_cluster_is_not_taken_for_ours(ended):
    """The same id with another time of submission is another job; another cluster's jobs are left alone."""
    cluster, jobs = ended
    earlier = Incarnation(str(jobs["ok"]), submitted=1_600_000_000, started=1_600_000_001.0)
    later_start = Incarnation(str(jobs["ok"]), started=time.time() + 86_400)
    elsewhere = Incarnation("17", submitted=1_600_000_000, cluster="other")
    found = job_statuses(cluster.slurm, [earlier, later_start, elsewhere])
    assert (found[earlier].state, found[earlier].cause) == ("dead", "gone")
    assert (found[later_start].state, found[later_start].cause) == ("dead", "gone")
    assert found[elsewhere].state == "unknown"
    assert "belongs to cluster other; this is lab" in found[elsewhere].detail


def test_a_job_that_was_just_submitted_is_alive_until_it_ends(cluster):
    """Waiting, held, running and suspended jobs are left alone, and one call says so."""
    job = cluster.submit("alive", "sleep", "--hold")
    waiting = Incarnation(str(job))
    slurm = CountingCli(environment=cluster.environment)
    assert job_statuses(slurm, [waiting])[waiting].detail == "PENDING (JobHeldUser)"
    cluster.slurm.run("scontrol", "release", str(job))
    cluster.wait_for_starts("alive")
    (running,) = cluster.incarnations("alive")
    assert job_statuses(slurm, [running])[running].detail == "RUNNING"
    cluster.slurm.run("scontrol", "suspend", str(job))
    suspended = cluster.until(lambda: "SUSPENDED" in cluster.states(job).values(), 20, "suspension")
    assert suspended
    assert job_statuses(slurm, [running])[running].state == "alive"
    assert slurm.calls == ["squeue"] * 3


def test_a_requeued_job_is_dead_and_alive(cluster):
    """The incarnation before a requeue is dead at once; the one that waits and runs is alive."""
    job = cluster.submit("again", "sleep")
    cluster.wait_for_starts("again")
    (first,) = cluster.incarnations("again")
    cluster.slurm.run("scontrol", "requeue", str(job))
    cluster.until(lambda: "PENDING" in cluster.states(job).values(), 30, "the requeue")
    (status,) = settled(cluster, first)
    assert (status.state, status.cause) == ("dead", "requeued")
    cluster.wait_for_starts("again", starts=2)
    _, second = cluster.incarnations("again")
    assert [status.state for status in settled(cluster, first, second)] == ["dead", "alive"]


def test_a_large_sparse_array_takes_one_call(cluster):
    """A thousand elements that wait, every third of them cancelled, are known by name after one call."""
    job = cluster.submit("many", "sleep", "--array=0-999", "--hold")
    cancelled = range(0, 1000, 3)
    cluster.slurm.run("scancel", *(f"{job}_{task}" for task in cancelled))
    slurm = CountingCli(environment=cluster.environment)
    everyone = [Incarnation(f"{job}_{task}") for task in range(1000)]
    begun = time.monotonic()
    found = cluster.until(lambda: _all_told(slurm, everyone), 30, "the accounts")
    took = time.monotonic() - begun
    assert [task for task in range(1000) if found[everyone[task]].state == "dead"] == list(cancelled)
    assert len(slurm.calls) <= 2 * took + 2


def _all_told(slurm, everyone):
    found = job_statuses(slurm, everyone)
    return found if all(status.state != "unknown" for status in found.values()) else None


def test_while_the_controller_or_the_accounts_are_down_nothing_is_declared_dead(cluster):
    """Who does not answer has not said that a job is dead."""
    cluster.submit("outage", "sleep")
    cluster.wait_for_starts("outage")
    (running,) = cluster.incarnations("outage")
    forgotten = Incarnation("1", submitted=1_600_000_000)
    try:
        cluster.script("daemon.sh", "stop", "slurmdbd")
        found = job_statuses(cluster.slurm, [running, forgotten])
        assert (found[running].state, found[forgotten].state) == ("alive", "unknown")
        assert "not in the queue, and sacct failed" in found[forgotten].detail
        cluster.script("daemon.sh", "stop", "slurmctld")
        found = job_statuses(cluster.slurm, [running, forgotten])
        assert {status.state for status in found.values()} == {"unknown"}
        assert "Unable to contact slurm controller" in found[running].detail
    finally:
        cluster.script("daemon.sh", "start", "slurmdbd")
        cluster.script("daemon.sh", "start", "slurmctld")
    assert job_statuses(cluster.slurm, [running])[running].state == "alive"


def test_a_job_id_that_is_given_out_again_is_another_job(spare_cluster):
    """After a controller lost its state, a new job has the id of an old one; each has its own status."""
    spare = spare_cluster()
    first_id = spare.submit("old", "raise")
    spare.wait_for_starts("old")
    (old,) = spare.incarnations("old")
    spare.until(lambda: job_statuses(spare.slurm, [old])[old].cause == "exception", 30, "its end")
    spare.script("down.sh")
    shutil.rmtree(spare.lab / "state" / "ctld")
    spare = spare_cluster()
    assert spare.submit("new", "sleep") == first_id
    spare.wait_for_starts("new")
    (new,) = spare.incarnations("new")
    assert (new.job, new.restarts) == (old.job, old.restarts)
    dead, alive = settled(spare, old, new)
    assert (dead.state, dead.cause, alive.state) == ("dead", "exception", "alive")


def test_a_cluster_without_accounts_is_judged_by_its_queue(spare_cluster):
    """Without sacct the queue tells how jobs ended as long as it remembers them; then they are gone."""
    spare = spare_cluster(SLURM_DBD="0", SLURM_MIN_JOB_AGE="5")
    for name in ("ok", "raise", "first-sleeps"):
        spare.submit(name, name)
    spare.wait_for_starts("ok", "raise", "first-sleeps")
    (fine,), (failed,), (first,) = (spare.incarnations(name) for name in ("ok", "raise", "first-sleeps"))
    spare.until(
        lambda: all(job_statuses(spare.slurm, [one])[one].state == "dead" for one in (fine, failed)), 20, "ends"
    )
    found = job_statuses(spare.slurm, [fine, failed, first])
    assert [found[one].cause for one in (fine, failed, first)] == ["completed", "exception", None]
    assert found[failed].detail == "FAILED, exit code 1 on n1"
    spare.slurm.run("scontrol", "requeue", first.job)
    spare.until(lambda: job_statuses(spare.slurm, [first])[first].cause == "requeued", 20, "the requeue")
    spare.until(lambda: job_statuses(spare.slurm, [fine])[fine].cause == "gone", 90, "the queue to forget")
