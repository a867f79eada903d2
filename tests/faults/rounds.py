"""One round of a campaign: a study, real processes, some faults, what a user types after each, and the verdict."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from faults.checker import Expected, Journals, Verdict, judge, processes_of, tracebacks
from faults.fault_shim import Shim

_INJECTED = Path(__file__).parent / "injected"
_DOCUMENTED = {0, 1, 2, 3, 130, -signal.SIGINT, -signal.SIGTERM, 143}
# Nothing takes a tenth of this on a quiet machine.
_COMMAND_S = 300.0

_SWEEP = """
study: s
data:
  source: arrays
  train: {{x: "data.npz:x", y: "data.npz:y"}}
  validation: {{x: "data.npz:xv", y: "data.npz:yv"}}
  class_names: ["no", "yes"]
model: {{layers: [flatten, {{dropout: $rate}}, {{output: softmax}}]}}
space: {space}
search: {search}
{pruner}
objective: {{metric: val_loss, direction: minimize}}
models: {{keep: 1}}
training:
  epochs: {epochs}
  batch_size: 4
  optimizer: {{name: sgd, learning_rate: $learning_rate}}
  checkpoint_every_s: {checkpoint_every_s}
"""
_PRUNERS = {
    "asha": "{asha: {min_epochs: 2, reduction: 2}}",
    "auto": "{asha: {min_epochs: auto, reduction: 2}}",
    "predictive": "{predictive: {min_epochs: 2}}",
}
_RANGES = {"rate": {"low": 0.0, "high": 0.9}, "learning_rate": {"low": 0.01, "high": 1.0, "log": True}}


@dataclass
class Plan:
    """The settings of a round, from which everything in it follows.

    Attributes:
        study: grid, tpe, asha, auto (asha that chooses its first rung) or predictive.
        storage: honest, dishonest (locks are said to be unreliable), lying (they are), mounts (two of one folder) or
            small (a full disk can be had).
        trials: Number of trials at first; even.
        epochs: Epochs of a trial.
        epoch_s: Seconds of an epoch.
        checkpoint_every_s: Seconds between checkpoints.
        workers: Workers of a command.
        real: Whether networks are trained.
        early: Whether the first fault may come before the first epoch.
        dies_after: Epoch after which each worker dies in the next one; 0 for never.
        attempts: Most attempts of a trial that no fault disturbs.
        tries: Commands that end without anything new in the journals, before the study counts as stuck.
        mutant: What is wrong with the package on purpose.
    """

    study: str = "grid"
    storage: str = "honest"
    trials: int = 8
    epochs: int = 12
    epoch_s: float = 0.03
    checkpoint_every_s: float = 0.1
    workers: int = 2
    real: bool = False
    early: bool = False
    dies_after: int = 0
    attempts: int = 8
    tries: int = 5
    mutant: str = ""


@dataclass
class Fault:
    """A fault that was done.

    Attributes:
        kind: Its name.
        recovery_s: Seconds from its end to the next event in the journals, or to the end of the study.
    """

    kind: str
    recovery_s: float | None = None


@dataclass
class Result:
    """What came of a round."""

    number: int
    plan: Plan
    faults: list[Fault] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0


class RoundEndedError(Exception):
    """The round was ended while it was being played."""


class Round:
    """The study of a round, its processes and its files."""

    def __init__(self, folder, plan, *, library, chance, number=0):
        self.folder, self.plan, self.chance = folder, plan, chance
        self.result = Result(number, plan)
        self.processes: dict[subprocess.Popen[bytes], tuple[object, ...]] = {}  # with their words
        self.expected = Expected(0, plan.epochs, real=plan.real, attempts=plan.attempts, pruned=plan.study in _PRUNERS)
        self._logged = 0
        self._closed = False
        self._mounted: list[Path] = []
        self._token = f"FAULTS_ROUND={os.getpid()}-{number}-{id(self)}"
        folder.mkdir(parents=True)
        self.shim = None if library is None else Shim(library, folder / "control")
        self.homes = self._storage()
        self.results = self.homes[0] / "results"
        rates = [self._rate(number) for number in range(plan.trials // 2)]
        self._choices = {"rate": [0.0, 0.5], "learning_rate": rates}
        self._write_data()
        self.write_sweep()

    # --- files ---

    def _storage(self):
        home = self.folder / "home"
        home.mkdir()
        if self.plan.storage == "small":
            self._mount(["mount", "-t", "tmpfs", "-o", "size=4m", "none", home], home)
        if self.plan.storage != "mounts":
            return (home,)
        mounts = (self.folder / "a", self.folder / "b")
        for mount in mounts:
            mount.mkdir()
            stale = "attr_timeout=2,entry_timeout=2,negative_timeout=1"
            self._mount(["bindfs", "-o", stale, home, mount], mount)
        return mounts

    def _mount(self, command, folder):
        subprocess.run(command, check=True, capture_output=True)
        self._mounted.append(folder)

    def _write_data(self):
        pixels = np.arange(8 * 16, dtype=np.uint8).reshape(8, 4, 4, 1)
        labels = np.arange(8) % 2
        with (self.folder / "data.npz").open("wb") as file:
            np.savez(file, x=pixels, y=labels, xv=pixels + 100, yv=labels)

    def write_sweep(self):
        """Write the sweep file of the round, as far as it has grown."""
        plan, space, pruner = self.plan, _RANGES, ""
        search = {"method": "random" if plan.study in _PRUNERS else plan.study, "seed": 7}
        if plan.study == "grid":
            space, self.expected.grid = self._choices, self._choices
            self.expected.trials = len(self._choices["rate"]) * len(self._choices["learning_rate"])
        else:
            self.expected.trials = search["trials"] = self.expected.trials or plan.trials
        if plan.study in _PRUNERS:
            pruner = f"pruner: {_PRUNERS[plan.study]}"
        text = _SWEEP.format(
            space=space, search=search, pruner=pruner, epochs=plan.epochs, checkpoint_every_s=plan.checkpoint_every_s
        ).replace("True", "true")
        self.sweep.write_text(text, encoding="utf-8")

    @staticmethod
    def _rate(number):
        return round(0.01 * (number + 1), 3)

    def grow(self):
        """Add trials to the sweep file; `run --extend` makes them trials of the study."""
        if self.plan.study == "grid":
            rates = self._choices["learning_rate"]
            rates.append(self._rate(len(rates)))
        else:
            self.expected.trials += 3
        self.write_sweep()

    @property
    def sweep(self):
        """The sweep file."""
        return self.folder / "sweep.yaml"

    @property
    def study(self):
        """The study's folder."""
        return self.results / "s"

    def journals(self):
        """Return the journals, as they are behind any mount."""
        return sorted((self.folder / "home" / "results" / "s" / "journal").glob("*.jsonl"))

    def events(self):
        """Count the lines of the journals."""
        total = 0
        for journal in self.journals():
            with contextlib.suppress(OSError):
                total += journal.read_bytes().count(b"\n")
        return total

    # --- processes ---

    @property
    def environment(self):
        """The variables of every process of the round."""
        plan = self.plan
        name, value = self._token.split("=")
        locks = {"dishonest": "dishonest", "lying": "dishonest", "mounts": "dishonest"}.get(plan.storage)
        return (
            {key: text for key, text in os.environ.items() if not key.startswith(("CNN_SWEEP_", "FAULTS_"))}
            | {name: value, "PYTHONPATH": str(_INJECTED), "FAULTS_EPOCH_S": str(plan.epoch_s), "PYTHONUNBUFFERED": "1"}
            | ({"CNN_SWEEP_LOCKS": locks} if locks else {"CNN_SWEEP_LOCKS": "honest"})
            | ({"FAULTS_REAL": "1"} if plan.real else {})
            | ({"FAULTS_MUTANT": plan.mutant} if plan.mutant else {})
            | ({"FAULTS_DIES_AFTER": str(plan.dies_after)} if plan.dies_after else {})
            | ({} if self.shim is None else self.shim.environment)
        )

    def start(self, *words, home=0):
        """Start a command in a process group of its own, as a terminal would."""
        if self._closed:
            raise RoundEndedError
        self._logged += 1
        command = [sys.executable, "-m", "cnn_sweep.cli.main", *map(str, words)]
        with (self.folder / f"{self._logged:03}-{words[0]}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--results", str(self.homes[home % len(self.homes)] / "results")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
            )
        self.processes[process] = words
        return process

    def do(self, *words, home=0):
        """Run a command to its end; return its exit code."""
        process = self.start(*words, home=home)
        if not self._ends([process]):
            self.result.verdict.add("loops", f"{words} did not end")
            self._end(process)
        return process.returncode

    def _ends(self, processes):
        """Wait for processes; return False if they take too long, or begin a trial again and again."""
        deadline = time.monotonic() + _COMMAND_S
        while any(process.poll() is None for process in processes):
            if time.monotonic() > deadline or self._begun_most() > self.expected.attempts:
                return False
            time.sleep(0.05)
        return True

    def _begun_most(self):
        """Return how often the trial was begun that was begun most often."""
        starts = Counter()
        for journal in self.journals():
            starts.update(re.findall(rb'"type":"start","time":[^,]*,"trial":(\d+),', journal.read_bytes()))
        return max(starts.values(), default=0)

    def train(self, *, home=0):
        """Run or resume the study in the background, as a user would who finds that nothing runs."""
        words = ["resume", "s"] if (self.study / "sweep.yaml").is_file() else ["run", self.sweep]
        return self.start(*words, "--workers", self.plan.workers, "--threads", 1, home=home)

    def trainers(self):
        """Return the pools that run now."""
        return [p for p, words in self.processes.items() if p.poll() is None and words[0] in {"run", "resume"}]

    def workers(self):
        """Return the process IDs of the workers that run now."""
        return self._children_that_run("execution.worker.worker")

    def fork_servers(self):
        """Return the process IDs of the processes from which pools fork their workers now."""
        return self._children_that_run("execution.worker.fork_server")

    def _children_that_run(self, module):
        found = []
        for pool in self.trainers():
            for child in children(pool.pid):
                with contextlib.suppress(OSError):
                    if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(child)
        return found

    def _end(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    # --- the round ---

    def wait(self, *, events, seconds):
        """Wait for some lines in the journals, or for some seconds; return whether the lines came."""
        before, deadline = self.events(), time.monotonic() + seconds
        while self.trainers() and time.monotonic() < deadline:
            if self.events() - before >= events:
                return True
            time.sleep(0.03)
        return False

    def begin(self):
        """Start the study; wait until it trains, unless the plan says that there is something to break before."""
        if self.plan.storage == "lying":
            self.shim.open_locks()
        self.train()
        if not self.plan.early:
            while self.trainers() and not any(b'"epoch"' in journal.read_bytes() for journal in self.journals()):
                time.sleep(0.03)

    def suffer(self, kind, fault):
        """Do a fault, hold it, undo it, and get the study going again; return whether the fault applied."""
        if not self.trainers() and not self.complete():
            self.train()
        self.wait(events=self.chance.randint(1, 12), seconds=self.chance.uniform(0.1, 2.0))
        done = fault(self)
        if next(done, "no") == "no":
            return False
        time.sleep(self.chance.choice([0.0, self.chance.uniform(0.0, 0.3), self.chance.uniform(0.3, 1.5)]))
        for _ in done:
            pass
        self.result.faults.append(Fault(kind, self.recover()))
        return True

    def recover(self):
        """Do what a user would until something new is in the journals; return the seconds, or None if stuck."""
        before, began = self.events(), time.monotonic()
        for _ in range(self.plan.tries):
            if not self.trainers():
                if self.complete():
                    return time.monotonic() - began
                self.train()
            if self.wait(events=max(1, before + 1 - self.events()), seconds=_COMMAND_S):
                return time.monotonic() - began
        self.result.verdict.add("loops", "nothing new in the journals, however often the study was resumed")
        return None

    def complete(self):
        """Return whether undamaged lines of the journals say that each trial has ended for good."""
        ends = Journals(self.study).ends
        ended = {trial for trial in ends if any(end["state"] in ("complete", "pruned") for end in ends[trial].values())}
        return len(ended | self.expected.cancelled) >= self.expected.trials

    def finish(self):
        """Resume until nothing is left; judge."""
        if self.shim is not None:
            self.shim.clear()
        tries, most = 0, self.events()
        while self._ends(self.trainers()) and not self.complete() and tries < self.plan.tries:
            code = self.do("resume", "s", "--workers", self.plan.workers, "--threads", 1)
            tries = 0 if self.events() > most + 3 else tries + 1
            most = max(most, self.events())
            if code == 2:
                self.result.verdict.add("lost", f"resume says that the user made a mistake: {self._last_words()}")
                break
        for process in self.trainers():
            self.result.verdict.add("loops", f"{self.processes[process]} does not end")
            self._end(process)
        # A bit that flipped in a page which nothing reads is found by a check; who doubts a disk is told to make one.
        doubted = self.expected.store_damaged and self.do("store", "check")
        again = doubted or self.expected.destroyed
        if self.do("store", "rebuild" if again else "merge") or self.do("leaderboard", "s"):
            self.result.verdict.add("lost", f"no leaderboard: {self._last_words()}")
        self._judge()

    def _judge(self):
        mine = self.result.verdict
        found = judge(self.study, self.results / "sweeps.db", self.expected)
        for kind, texts in mine.problems.items():
            found.problems[kind] = texts + found.problems[kind]
        self.result.verdict = found
        for process, words in self.processes.items():
            if process.poll() is None:
                found.add("left", f"the command {words} still runs")
            elif process.returncode not in _DOCUMENTED and process.returncode != -signal.SIGKILL:
                found.add("tracebacks", f"{words} ended with exit code {process.returncode}")
        for log in sorted(self.folder.glob("*.log")):
            for trace in tracebacks(log.read_text(encoding="utf-8", errors="replace")):
                found.add("tracebacks", f"{log}: {trace}")

    def _last_words(self):
        log = max(self.folder.glob("*.log"))
        return log.read_text(encoding="utf-8", errors="replace").strip()[-300:]

    def close(self):
        """End what still runs, which is a problem of the study, and unmount."""
        self._closed = True
        for process in list(self.processes):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGCONT)
                self._end(process)
        deadline = time.monotonic() + 10
        while (left := processes_of(self._token)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            self.result.verdict.add("left", f"process {pid}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in self._mounted:
            unmount = ["fusermount", "-u", "-z"] if self.plan.storage == "mounts" else ["umount"]
            subprocess.run([*unmount, folder], check=False, capture_output=True)
        if self.shim is not None:
            self.shim.close()


def children(pid):
    """Return the process IDs of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
    except OSError:
        return []


def storages():
    """Return the storages that this machine and this user can have."""
    found = ["honest", "honest", "dishonest"]
    if shutil.which("cc"):
        found.append("lying")
    if os.geteuid() == 0:
        found.append("small")
    if shutil.which("bindfs") and shutil.which("fusermount") and os.access("/dev/fuse", os.R_OK | os.W_OK):
        found.append("mounts")
    return found


def random_plan(chance, kinds=None):
    """Draw the settings of a round."""
    study = chance.choice(["grid"] * 5 + ["asha"] * 4 + ["tpe"])
    return Plan(
        study=study,
        storage=chance.choice(kinds or storages()),
        trials=chance.choice([6, 8, 10]),
        epochs=chance.choice([8, 12, 16]),
        epoch_s=chance.choice([0.02, 0.04, 0.08]),
        checkpoint_every_s=chance.choice([0.05, 0.2, 0.5]),
        workers=chance.choice([1, 2, 2, 3]),
        early=chance.random() < 0.1,
    )


def random_of(seed, number):
    """Return the random numbers of a round."""
    return random.Random(f"{seed} {number}")
