"""One study under a storm of everything that Slurm and its nodes can do, compared with a calm run."""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

# `make storm` sets 30; `make test-slurm-long` takes a short cut of the same storm.
EVENTS = int(os.environ.get("CNN_SWEEP_STORM_EVENTS", "6"))
SEED = os.environ.get("CNN_SWEEP_STORM_SEED", "1")
TRIALS = 8 + EVENTS**2 // 32  # a long storm also makes everything slower
SWEEP = f"""
study: {{name}}
data: {{{{source: digits, validation: 0.2, test: 0.2}}}}
model:
  layers:
    - conv2d: {{{{filters: 2, kernel_size: 3, activation: relu}}}}
    - dropout: 0.25
    - flatten
    - output: softmax
space:
  rate: {{{{low: 1.0e-3, high: 1.0e-1, log: true}}}}
search: {{{{method: random, trials: {TRIALS}, seed: 3}}}}
training:
  epochs: {{epochs}}
  batch_size: 8
  optimizer: {{{{name: adam, learning_rate: $rate}}}}
  checkpoint_every_s: 1
"""
PROFILE = """
partition = "low"
time_limit = 2
signal_delay_s = 60
memory = "1500M"
threads = 1
array_width = 8
array_throttle = 4
"""
NODES = ("n1", "n2", "n3", "n4")
OUTAGE_S = 20.0
TRIAL_S = 25  # that a trial takes a worker that has the machine for itself


class Storm:
    """A study's job, what has been done to it, and what is still to be repaired."""

    def __init__(self, desk, chance):
        self.desk = desk
        self.chance = chance
        self.jobs = []
        self.broken = {}
        self.done = Counter()
        self.resumes = 0
        self.begun = time.monotonic()

    def elements(self, *states):
        """Return name and node of the study's elements in some states."""
        rows = self.desk.cluster.slurm.queue(map(int, self.jobs))
        return [(job, row.nodes) for row in rows if row.state in states for job in row.jobs]

    def pick(self, *states):
        """Choose one of the elements in some states."""
        found = self.elements(*states)
        return self.chance.choice(found) if found else ("", "")

    def happen(self):
        """Let one event happen that can happen now."""
        for event in self.chance.sample(EVENT_KINDS, len(EVENT_KINDS)):
            if event(self):
                self.done[event.__name__] += 1
                print(f"{time.monotonic() - self.begun:6.1f} s: {event.__name__}")
                return

    def finished(self):
        """Tell whether all trials are complete, by the journals."""
        return self.desk.journaled("storm", b'"state":"complete"') >= TRIALS

    def let_pass(self, seconds):
        """Wait, repair what is due, and resume once if nothing runs any more."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.finished():
            for node, (when, repair) in list(self.broken.items()):
                if time.monotonic() >= when:
                    del self.broken[node]
                    repair(self, node)
            time.sleep(0.5)  # nothing is waited for: time is what a storm takes

    def resume_if_dead(self):
        """Do what a user would do who finds that nothing is in the queue."""
        if not self.finished() and not self.elements("RUNNING", "PENDING", "COMPLETING", "CONFIGURING"):
            self.resumes += 1
            self.jobs += self.desk.resume("storm", "storm.toml")
            print(f"{time.monotonic() - self.begun:6.1f} s: resumed")


def scancel_running(storm):
    """Cancel a running element."""
    job, _ = storm.pick("RUNNING")
    return job and storm.desk.cluster.slurm.run("scancel", job) is not None


def scancel_pending(storm):
    """Cancel an element that waits."""
    job, _ = storm.pick("PENDING")
    return job and storm.desk.cluster.slurm.run("scancel", job) is not None


def usr2(storm):
    """Send the signal of the warning."""
    job, _ = storm.pick("RUNNING")
    environment = storm.desk.cluster.environment
    return job and subprocess.run(["timeout", "1", "scancel", "--signal=USR2", job], env=environment, check=False)


def requeue(storm):
    """Put a running element back into the queue."""
    job, _ = storm.pick("RUNNING")
    return job and storm.desk.cluster.slurm.run("scontrol", "requeue", job) is not None


def _preempt(storm, grace_s):
    _, node = storm.pick("RUNNING")
    if not node or node in storm.broken:
        return False
    storm.desk.cluster.slurm.run("scontrol", "update", "PartitionName=low", f"GraceTime={grace_s}")
    options = ("--partition=high", f"--nodelist={node}", "--exclusive", "--time=1")
    return storm.desk.cluster.submit(f"high-{len(storm.desk.cluster.submitted)}", "ok", *options)


def preempt_with_grace(storm):
    """Let a job of high priority take a node."""
    return _preempt(storm, 3)


def preempt_at_once(storm):
    """The same without a grace time."""
    return _preempt(storm, 0)


def _node(storm):
    _, node = storm.pick("RUNNING")
    return node if node and node not in storm.broken and len(storm.broken) < 2 else ""


def crash(storm):
    """Cut a node's power."""
    if node := _node(storm):
        storm.desk.cluster.script("node.sh", "crash", node)
        storm.broken[node] = (time.monotonic() + 25, lambda storm, node: _script(storm, "start", node))
    return node


def freeze(storm):
    """Let a node fall silent with all its processes; it comes back later, when Slurm has given its jobs to others."""
    if node := _node(storm):
        _signal_workers(node, signal.SIGSTOP)
        storm.desk.cluster.script("node.sh", "freeze", node)
        storm.broken[node] = (time.monotonic() + 40, _thaw)
    return node


def kill_slurmd(storm):
    """Kill a slurmd; the node's processes go on."""
    if node := _node(storm):
        storm.desk.cluster.script("node.sh", "kill-slurmd", node)
        storm.broken[node] = (time.monotonic() + 30, lambda storm, node: _script(storm, "start", node))
    return node


def _script(storm, verb, node):
    storm.desk.cluster.script("node.sh", verb, node)


def _thaw(storm, node):
    _signal_workers(node, signal.SIGCONT)
    storm.let_pass(3)
    _script(storm, "thaw", node)


def _signal_workers(node, number):
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = b"cnn_sweep.execution.worker" in (process / "cmdline").read_bytes()
            if ours and f"SLURMD_NODENAME={node}".encode() in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), number)
        except OSError:
            continue


def _outage(storm, daemon):
    storm.desk.cluster.script("daemon.sh", "stop", daemon)
    try:
        storm.let_pass(OUTAGE_S)
    finally:
        storm.desk.cluster.script("daemon.sh", "start", daemon)
    return True


def slurmctld_down(storm):
    """Stop the controller."""
    return _outage(storm, "slurmctld")


def slurmdbd_down(storm):
    """Stop the accounting."""
    return _outage(storm, "slurmdbd")


EVENT_KINDS = (
    scancel_running,
    scancel_pending,
    usr2,
    requeue,
    preempt_with_grace,
    preempt_at_once,
    crash,
    freeze,
    kill_slurmd,
    slurmctld_down,
    slurmdbd_down,
)


def tables(desk, study):
    """Return what a study is about, without who did it and when."""
    trials = "trial, configuration, seed, state, value, best_epoch, best_metrics_json, epochs, parameters"
    epochs = "SELECT trial, epoch, value, metrics_json FROM epochs WHERE counted AND study = ? ORDER BY trial, epoch"
    return (
        desk.query(f"SELECT {trials} FROM trials WHERE study = ? ORDER BY trial", study),
        desk.query(epochs, study),
    )


def events_of(desk, study):
    """Return the events of all journals by time."""
    lines = [
        line
        for file in desk.results.glob(f"{study}/journal/*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return sorted((json.loads(line[9:]) for line in lines), key=lambda event: event["time"])


def trained_twice_without_need(events):
    """Return attempts that began before the newest checkpoint of their trial that was journaled by then."""
    saved, wrong = Counter(), []
    for event in events:
        if event["type"] == "start" and event["epoch"] < saved[event["trial"]]:
            wrong.append((event, saved[event["trial"]]))
        if event["type"] == "checkpoint":
            saved[event["trial"]] = max(saved[event["trial"]], event["epoch"])
    return wrong


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_study_survives_a_storm(desk, epochs_per_s):
    """It ends complete after at most one resume; every trial once, every value equal to the calm run's."""
    epochs = round(TRIAL_S * epochs_per_s)
    storm = Storm(desk, random.Random(SEED))
    desk.write("storm.toml", PROFILE)
    storm.jobs += desk.submit(desk.write("storm.yaml", SWEEP.format(name="storm", epochs=epochs)), "storm.toml")
    try:
        desk.cluster.until(lambda: desk.journaled("storm", b'"type":"checkpoint"'), 60, "training")
        while storm.done.total() < EVENTS and not storm.finished():
            storm.happen()
            storm.let_pass(storm.chance.uniform(1, 9))
            storm.resume_if_dead()
        deadline = time.monotonic() + 900
        while not storm.finished():
            assert time.monotonic() < deadline, desk.status("storm")
            storm.let_pass(5)
            storm.resume_if_dead()
    finally:
        for node in storm.broken:
            _signal_workers(node, signal.SIGCONT)
        desk.cluster.slurm.run("scontrol", "update", "PartitionName=low", "GraceTime=3")
        desk.cluster.cancel_submitted()
        desk.cluster.script("heal.sh")
    desk.type("run", desk.write("calm.yaml", SWEEP.format(name="calm", epochs=epochs)), "--workers", 2, "--threads", 1)
    attempts = Counter(desk.query("SELECT state || ' ' || coalesce(cause, '') FROM attempts WHERE study = 'storm'"))
    twice = desk.query("SELECT count(*) FROM epochs WHERE study = 'storm' AND NOT counted")[0][0]
    print(f"{storm.done.total()} events: {dict(storm.done)}; {storm.resumes} resumes")
    print(f"attempts: {dict(attempts)}; {twice} epochs were trained twice")
    assert storm.resumes <= 1
    assert tables(desk, "storm") == tables(desk, "calm")
    assert trained_twice_without_need(events_of(desk, "storm")) == []
    assert storm.done.total() == EVENTS, "the study ended before the storm; give it more trials"
