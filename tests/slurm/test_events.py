"""Everything that Slurm does to a running study, each to a study of its own on a real cluster, all at the same time."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from cnn_sweep.errors import EnvironmentFault

SWEEP = """
study: {name}
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: $filters, kernel_size: 3, activation: relu}}
    - dropout: 0.25
    - flatten
    - output: softmax
space:
  filters: [{filters}]
search: {{method: grid, seed: 7}}
training:
  epochs: {epochs}
  batch_size: 8
  optimizer: {{name: adam, learning_rate: 0.01}}
  checkpoint_every_s: 0.5
"""
PROFILE = {"time_limit": 10, "memory": "1500M", "threads": 1}
EPOCHS = 200
WARNING_S = 60  # Slurm looks twice a minute, so its warning comes by then
AT_ONCE = 4  # studies of which something is wanted; two nodes have room for more
CHECKPOINT = b'"type":"checkpoint"'


class Stage:
    """Studies with one trial each, and what happens to them."""

    def __init__(self, desk, epochs_per_s):
        self.desk = desk
        self.epochs_per_s = epochs_per_s  # of a worker that has the machine for itself
        self.jobs = {}
        self.begun = time.monotonic()
        self.facts = {}

    def submit(self, name, filters="2", epochs=EPOCHS, **settings):
        """Submit a study under the name of its event."""
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in {**PROFILE, **settings}.items())
        sweep = self.desk.write(f"{name}.yaml", SWEEP.format(name=name, filters=filters, epochs=epochs))
        (self.jobs[name],) = self.desk.submit(sweep, self.desk.write(f"{name}.toml", lines))

    def has_checkpoint(self, *names):
        """Wait until a trial of each has a checkpoint: from there on it can be continued."""
        for name in names:
            self.desk.cluster.until(lambda name=name: self.desk.journaled(name, CHECKPOINT), 120, f"{name} to train")

    def node_of(self, name):
        """Return the node on which a study's job runs."""
        command = ("squeue", "--noheader", "--format=%N", f"--jobs={self.jobs[name]}")
        return self.desk.cluster.until(lambda: self.desk.cluster.slurm.run(*command).strip(), 60, f"{name} to run")

    def element_of(self, name):
        """Return the index of the array's element that has written a checkpoint."""
        journals = [path.read_bytes() for path in (self.desk.results / name / "journal").glob("*.jsonl")]
        training = next(journal for journal in journals if CHECKPOINT in journal)
        worker = json.loads(training.splitlines()[0][9:])  # after the checksum
        return worker["identity"]["slurm"]["array_task_id"]

    def play(self, event, failing):
        """Let an event happen, and wait until its study is complete all the same."""
        event(self, failing)
        name = event.__name__
        self.say(f"{name} happened")
        self.desk.wait_until_complete(name, 2 if "cancelled" in name else 1, 180)
        self.say(f"{name} is complete")

    def preempt(self, name):
        """Let a short job of high priority take the place of a study's job once it trains."""
        self.has_checkpoint(name)
        node = f"--nodelist={self.node_of(name)}"
        self.desk.cluster.submit(f"instead-of-{name}", "ok", "--partition=high", node, "--gres=gpu:2")

    def attempt_begins(self, name, attempt, seconds=90):
        """Wait until an attempt begins, and return when it did."""
        starts = self.desk.cluster.until(
            lambda: [
                json.loads(line[9:])
                for file in self.desk.results.glob(f"{name}/journal/*.jsonl")
                for line in file.read_text(encoding="utf-8").splitlines()
                if '"type":"start"' in line and f'"attempt":{attempt},' in line
            ],
            seconds,
            f"attempt {attempt} of {name}",
        )
        return starts[0]["time"]

    def say(self, what):
        """Note when something happened."""
        print(f"{time.monotonic() - self.begun:6.1f} s: {what}")

    @contextmanager
    def frozen_workers(self, name):
        """Stop the workers of a study, as a frozen node does; let them go on afterwards."""
        settings = f'"study": "{name}"'.encode()
        pids = [int(f.parent.name) for f in Path("/proc").glob("[0-9]*/cmdline") if settings in _read(f)]
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def outage(stage):
    """Controller and accounting are stopped until the trial has ended."""
    stage.submit("outage")
    stage.has_checkpoint("outage")
    cluster = stage.desk.cluster
    try:
        cluster.script("daemon.sh", "stop", "slurmdbd")
        cluster.script("daemon.sh", "stop", "slurmctld")
        stage.desk.wait_until_complete("outage", 1, 60)
    finally:
        cluster.script("daemon.sh", "start", "slurmdbd")
        cluster.script("daemon.sh", "start", "slurmctld")
    stage.say("outage is over")


def nodes_fail(stage):
    """One node dies, another one falls silent; yields them, and then waits for new copies of their jobs elsewhere."""
    cluster, script = stage.desk.cluster, stage.desk.cluster.script
    stage.submit("crash", epochs=3 * EPOCHS)  # it trains until the other one does
    crashed = stage.node_of("crash")
    stage.submit("freeze", exclude=[crashed])
    frozen = stage.node_of("freeze")
    stage.has_checkpoint("crash", "freeze")
    with stage.frozen_workers("freeze"):
        script("node.sh", "freeze", frozen)
        script("node.sh", "crash", crashed)
        stage.say("a node crashed, another one froze")
        yield [crashed, frozen]
        job = int(stage.jobs["crash"])
        cluster.until(lambda: "RUNNING" not in cluster.states(job).values(), 60, "Slurm to notice")
        down = time.time()
        stage.say("Slurm has noticed")
        stage.facts["from down to running, s"] = stage.attempt_begins("crash", 1) - down
        stage.attempt_begins("freeze", 1)
        stage.say("both trials run elsewhere")
    # The first copy wakes up before its slurmd, so it goes on beside the second for a moment.
    stage.desk.cluster.until(lambda: stage.desk.journaled("freeze", b"superseded"), 60, "the first copy to notice")
    script("node.sh", "thaw", frozen)
    script("node.sh", "start", crashed)
    stage.say("the nodes are back")


def slurmd_killed(stage, failing):
    """Kill one slurmd: the job's processes live on while Slurm starts a second copy."""
    stage.submit("slurmd_killed", exclude=[node for node in ("n1", "n2", "n3", "n4") if node not in failing])
    stage.has_checkpoint("slurmd_killed")
    node = stage.node_of("slurmd_killed")
    with stage.frozen_workers("slurmd_killed"):
        stage.desk.cluster.script("node.sh", "kill-slurmd", node)
        stage.attempt_begins("slurmd_killed", 1)
    stage.desk.cluster.until(lambda: stage.desk.journaled("slurmd_killed", b"superseded"), 60, "the first copy")
    stage.desk.cluster.script("node.sh", "start", node)
    stage.say("slurmd is back")


def time_limit(stage, failing):
    """The warning comes before the trial has ended."""
    epochs = max(EPOCHS, round(WARNING_S * stage.epochs_per_s))
    stage.submit("time_limit", epochs=epochs, time_limit=2, signal_delay_s=60, exclude=failing)


def pending_cancelled(stage, failing):
    """One of two elements is cancelled while it waits for the other."""
    stage.submit("pending_cancelled", filters="2, 3", array_width=2, array_throttle=1, exclude=failing)
    stage.desk.cluster.slurm.run("scancel", f"{stage.jobs['pending_cancelled']}_1")


def cancelled(stage, failing):
    """One of two elements is cancelled while it trains."""
    stage.submit("cancelled", filters="2, 3", array_width=2, exclude=failing)
    stage.has_checkpoint("cancelled")
    stage.desk.cluster.slurm.run("scancel", f"{stage.jobs['cancelled']}_{stage.element_of('cancelled')}")


def preempted(stage, failing):
    """A job of higher priority takes the node; the grace time is long enough for a checkpoint."""
    stage.submit("preempted", partition="low", gpus_per_node=2, exclude=failing)
    stage.preempt("preempted")


def preempted_at_once(stage, failing):
    """The same without a grace time."""
    stage.submit("preempted_at_once", partition="rude", gpus_per_node=2, exclude=failing)
    stage.preempt("preempted_at_once")


def usr2(stage, failing):
    """Somebody sends the warning's signal."""
    stage.submit("usr2", exclude=failing)
    stage.has_checkpoint("usr2")
    command = ["timeout", "1", "scancel", "--signal=USR2", stage.jobs["usr2"]]  # it would send it again and again
    subprocess.run(command, env=stage.desk.cluster.environment, check=False)


def requeue(stage, failing):
    """An administrator puts the job back into the queue."""
    stage.submit("requeue", exclude=failing)
    stage.has_checkpoint("requeue")
    stage.desk.cluster.slurm.run("scontrol", "requeue", stage.jobs["requeue"])


HARMLESS_TO_NODES = (time_limit, preempted, preempted_at_once, cancelled, usr2, requeue, pending_cancelled)


@pytest.fixture(scope="module")
def calm(dev_cluster, desk_at, tmp_path_factory):
    """The epochs of a run that nobody disturbed, on this machine."""
    desk = desk_at(dev_cluster, tmp_path_factory.mktemp("calm"))
    desk.type(
        "run",
        desk.write("calm.yaml", SWEEP.format(name="calm", filters="2, 3", epochs=EPOCHS)),
        "--workers",
        1,
        "--threads",
        1,
    )
    return epochs(desk, "calm")


def epochs(desk, study):
    """Return trial, epoch and metrics of the epochs that count."""
    counted = "SELECT trial, epoch, value, metrics_json FROM epochs WHERE counted AND study = ? AND epoch <= ?"
    return desk.query(f"{counted} ORDER BY trial, epoch", study, EPOCHS)


@pytest.fixture(scope="module")
def stage(dev_cluster, desk_at, tmp_path_factory, epochs_per_s):
    """The desk after every event happened and every study ended."""
    folder = tmp_path_factory.mktemp("events")
    cluster = replace(dev_cluster, folder=folder, submitted=[])
    stage = Stage(desk_at(cluster, folder), epochs_per_s)
    rude = "PartitionName=rude", "Nodes=ALL", "PriorityTier=1", "PreemptMode=REQUEUE", "GraceTime=0", "State=UP"
    with cluster.alone():
        try:
            outage(stage)
            cluster.slurm.run("scontrol", "create", *rude)  # only now: a controller that is started anew forgets it
            failing = nodes_fail(stage)
            nodes = next(failing)
            with ThreadPoolExecutor(AT_ONCE) as threads:
                others = [threads.submit(stage.play, event, nodes) for event in HARMLESS_TO_NODES]
                next(failing, None)
                slurmd_killed(stage, nodes)
                for done in others:
                    done.result()
            for name in ("crash", "freeze", "slurmd_killed"):
                stage.desk.wait_until_complete(name, 1, 120)
            stage.say("all studies are complete")
            yield stage
        finally:
            cluster.cancel_submitted()
            cluster.script("heal.sh")
            cluster.until(lambda: not cluster.slurm.run("squeue", "--noheader").strip(), 60, "an empty queue")
            with suppress(EnvironmentFault):  # it was not made yet
                cluster.slurm.run("scontrol", "delete", "PartitionName=rude")


@pytest.mark.parametrize(
    ("event", "first"),
    [
        ("outage", ("complete", None)),
        ("usr2", ("interrupted", "preempted")),
        ("time_limit", ("interrupted", "time_limit")),
        ("preempted", ("interrupted", "preempted")),
        # SIGTERM and SIGUSR2 come within milliseconds; a worker that is quicker to end has seen only one of them.
        ("preempted_at_once", ("interrupted", "preempted", "stopped")),
        ("requeue", ("interrupted", "stopped")),
        ("cancelled", ("interrupted", "stopped")),
        ("pending_cancelled", ("complete", None)),
        ("crash", ("lost", "node_failure")),
        ("freeze", ("interrupted", "superseded")),
        ("slurmd_killed", ("interrupted", "superseded")),
    ],
)
def test_a_study_survives(stage, calm, event, first):
    """The attempt ends with its cause, the trial is continued without anybody typing, and no bit differs."""
    attempts = stage.desk.attempts(event)
    other = stage.desk.attempts(event, trial=1)  # which of two trials an element has is chance
    state, *causes = first
    found = attempts + other if event == "cancelled" else attempts[:1]
    assert {(state, cause) for cause in causes}.intersection(found)
    assert {tried[-1][0] for tried in (attempts, other) if tried} == {"complete"}
    done = epochs(stage.desk, event)
    assert done == [row for row in calm if row[0] <= done[-1][0]]


def test_logs_tell_what_happened(stage):
    """Who reads what the jobs printed finds why they stopped, and no traceback."""
    logs = {file: file.read_text(encoding="utf-8") for file in stage.desk.results.glob("*/slurm/*.err")}
    assert [file for file, text in logs.items() if "Traceback" in text] == []
    warned = ("usr2", "time_limit", "preempted")
    told = {file.parents[1].name for file, text in logs.items() if "every checkpoint is written; requeueing" in text}
    assert told.issuperset(warned)
    assert "interrupted (time_limit) after epoch" in stage.desk.type("logs", "time_limit").stdout


def test_two_copies_count_once(stage):
    """What a frozen worker still wrote after its trial was given away is kept, and does not count."""
    rows = stage.desk.query(
        "SELECT epoch, sum(counted) FROM epochs WHERE study IN ('freeze', 'slurmd_killed') GROUP BY study, epoch"
    )
    assert {counted for _, counted in rows} == {1}


def test_a_node_failure_costs_less_than_a_minute(stage):
    """From the moment when Slurm knows that a node is down until its trial runs elsewhere."""
    seconds = stage.facts["from down to running, s"]
    print(f"{seconds:.1f} s from node failure to training elsewhere")
    assert seconds < 60
