"""Real clusters for tests: the dev cluster that runs, and spare ones that a test starts and removes."""

import csv
import fcntl
import io
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from helpers.typed import READING, typed_here

from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.job_states import Incarnation

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "slurm" / "dev-cluster"
SPARE_LAB = Path(tempfile.gettempdir()) / "cnn-sweep-spare-cluster"  # not in a folder of pytest's: others must get in


SPEED_EPOCHS = 100
SPEED = f"""
study: speed
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: 2, kernel_size: 3, activation: relu}}
    - dropout: 0.25
    - flatten
    - output: softmax
space: {{rate: [0.01]}}
search: {{method: grid}}
training:
  epochs: {SPEED_EPOCHS}
  batch_size: 8
  optimizer: {{name: adam, learning_rate: $rate}}
"""


@dataclass(frozen=True)
class DevCluster:
    """A running cluster.

    Attributes:
        lab: Its folder.
        folder: Where jobs write down who they are.
        submitted: Ids of the jobs that were submitted from here.
        path: At most one PATH with stand-ins for Slurm's commands.
    """

    lab: Path
    folder: Path
    submitted: list[int] = field(default_factory=list)
    path: list[str] = field(default_factory=list)

    @property
    def environment(self):
        """Environment of every client of this cluster."""
        conf = self.lab / "etc" / "slurm.conf"
        path = self.path[-1] if self.path else os.environ["PATH"]
        return {**os.environ, "SLURM_LAB": str(self.lab), "SLURM_CONF": str(conf), "PATH": path}

    @property
    def slurm(self):
        """Slurm's commands on this cluster."""
        return SlurmCli(environment=self.environment)

    def script(self, name, *arguments):
        """Run one of the cluster's scripts, such as ``node.sh crash n1``."""
        command = [SCRIPTS / name, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, f"{name} {' '.join(arguments)}: {done.stdout}{done.stderr}"

    def submit(self, name, action, *options):
        """Submit the test job under a name, and return its id."""
        command = f"exec srun {sys.executable} {HERE / 'job.py'} {action} '{self.folder / name}'"
        ours = ("--parsable", f"--output={self.folder}/log-%j", "--open-mode=append", "--time=30")
        self.submitted.append(int(self.slurm.run("sbatch", *ours, *options, f"--wrap={command}")))
        return self.submitted[-1]

    def incarnations(self, name):
        """Return who the jobs of a name said they are, in the order in which they started."""
        path = self.folder / name
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Incarnation(**json.loads(line)) for line in lines]

    def wait_for_starts(self, *names, starts=1):
        """Wait until jobs of each name have started so often."""
        self.until(lambda: all(len(self.incarnations(name)) >= starts for name in names), 180, f"starts of {names}")

    def states(self, job_id):
        """Return squeue's state of each element of a job."""
        return {job: row.state for row in self.slurm.queue([job_id]) for job in row.jobs}

    def cancel_submitted(self):
        """Cancel what was submitted from here and did not end."""
        if self.submitted:
            self.slurm.run("scancel", *map(str, self.submitted))

    @staticmethod
    def until(condition, seconds, what, news=lambda: None):
        """Wait until a condition holds, and return what it gave; fail after some seconds, or so many without news."""
        seen, deadline = news(), time.monotonic() + seconds
        while not (result := condition()):
            if (newest := news()) != seen:
                seen, deadline = newest, time.monotonic() + seconds
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
            time.sleep(0.1)
        return result

    @contextmanager
    def exclusive(self):
        """Keep other tests, also in other processes, from this cluster meanwhile."""
        with Path(tempfile.gettempdir(), f"cnn-sweep-tests-of-{self.lab.name}.lock").open(
            "w", encoding="utf-8"
        ) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def alone(self):
        """Have this cluster exclusively with all its nodes up; no job outlives the block, however it ends."""
        with self.exclusive():
            self.script("heal.sh")  # an earlier storm may have left a node down or drained
            try:
                yield
            finally:
                self.cancel_submitted()


@dataclass(frozen=True)
class Desk:
    """A login node's shell, in a folder with sweep files and results.

    Attributes:
        cluster: Where jobs go.
        folder: Where sweep files are.
        user: Whose it is; None for that of the tests.
    """

    cluster: DevCluster
    folder: Path
    user: str | None = None

    @property
    def results(self):
        """Root of the studies."""
        return self.folder / "results"

    def write(self, name, text):
        """Write a file, and return its path."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name

    @property
    def environment(self):
        """Environment of what is typed here."""
        ours = self.cluster.environment | {"CNN_SWEEP_RESULTS": str(self.results), "COLUMNS": "200"}
        if self.user is None:
            return ours
        home = pwd.getpwnam(self.user).pw_dir
        return ours | {"HOME": home, "USER": self.user, "LOGNAME": self.user, "TMPDIR": tempfile.gettempdir()}

    @property
    def identity(self):
        """Options of ``subprocess.run`` for a process of the user."""
        if self.user is None:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "umask": 0o022}

    def type(self, *words, code=0, **environment):
        """Type a command; fail unless it exits as expected."""
        done = self.type_freely(*words, **environment)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def type_freely(self, *words, **environment):
        """Type a command, however it ends."""
        if self.user is None and words[0] in READING and not environment:
            return typed_here(words, self.folder, self.environment)
        return subprocess.run(
            [sys.executable, "-m", "cnn_sweep.cli.main", *map(str, words)],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
            **self.identity,
        )

    def submit(self, sweep, profile, *words):
        """Submit a sweep file; return the jobs' ids."""
        return self._jobs(self.type("submit", sweep, "--profile", profile, *words))

    def resume(self, study, profile):
        """Continue a study on the cluster; return the jobs' ids."""
        return self._jobs(self.type("resume", study, "--profile", profile))

    def _jobs(self, done):
        jobs = [line.split()[1] for line in done.stdout.splitlines()]
        self.cluster.submitted.extend(map(int, jobs))
        return jobs

    def status(self, study):
        """Return ``status --json``."""
        return json.loads(self.type("status", study, "--json").stdout)

    def wait_until_complete(self, study, trials, seconds):
        """Wait until so many trials of a study have ended well, by its journals; fail after seconds without news there.

        How long a study takes depends on what else this machine does: only one that stands still is a failure.
        """
        try:
            self.cluster.until(
                lambda: self.journaled(study, b'"state":"complete"') >= trials,
                seconds,
                f"a line in the journals of {study}, and {trials} complete trials",
                news=lambda: sum(file.stat().st_size for file in self._journals(study)),
            )
        except AssertionError as error:
            error.add_note(self.type_freely("status", study).stdout)
            raise

    def journaled(self, study, text):
        """Count how often a text stands in a study's journals."""
        return sum(file.read_bytes().count(text) for file in self._journals(study))

    def _journals(self, study):
        return self.results.glob(f"{study}/journal/*.jsonl")

    def query(self, sql, *values):
        """Read the store as it is after a merge."""
        self.type("store", "merge")
        with sqlite3.connect(self.results / "sweeps.db") as store:
            return store.execute(sql, values).fetchall()

    def attempts(self, study, trial=0):
        """Return state and cause of each attempt at a trial."""
        return self.query(
            "SELECT state, cause FROM attempts WHERE study = ? AND trial = ? ORDER BY attempt", study, trial
        )

    def board(self, study):
        """Return the leaderboard without the times, as texts."""
        rows = csv.DictReader(io.StringIO(self.type("leaderboard", study, "--format", "csv").stdout))
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def pytest_collection_modifyitems(items):
    """Mark every test of this folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.timeout(1200))


def _unavailable(reason):
    if os.environ.get("CNN_SWEEP_REQUIRE_SLURM") == "1":
        pytest.fail(f"CNN_SWEEP_REQUIRE_SLURM=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def dev_cluster(tmp_path_factory):
    """The dev cluster, without the right to use it alone: see ``cluster``."""
    lab = Path(os.environ.get("SLURM_LAB", Path(tempfile.gettempdir()) / "slurm-dev-cluster"))
    found = DevCluster(lab, tmp_path_factory.mktemp("jobs"))
    try:
        done = subprocess.run(["scontrol", "ping"], env=found.environment, capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        _unavailable("Slurm is not installed: make cluster-up (as root, on Debian)")
    if done.returncode != 0:
        _unavailable(f"no dev cluster runs at {lab}: make cluster-up")
    return found


@pytest.fixture
def cluster(dev_cluster, tmp_path):
    """The dev cluster, for this test alone; what the test leaves in the queue is cancelled."""
    mine = replace(dev_cluster, folder=tmp_path, submitted=[], path=[])
    with mine.alone():
        yield mine


@pytest.fixture
def desk(cluster, tmp_path):
    """A folder on the login node of the dev cluster."""
    return Desk(cluster, tmp_path)


@pytest.fixture
def counted(desk, tmp_path):
    """Stand-ins for Slurm's commands that count; a function that returns and forgets the calls since its last one.

    Calls from jobs are left out; with ``from_jobs=True`` they are returned by job instead.
    """
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scontrol", "sinfo", "sacctmgr", "scancel", "sstat", "sreport"):
        script = folder / name
        text = f'#!/bin/sh\necho {name} "${{SLURM_JOB_ID:-login}}" >>{calls}\nexec {shutil.which(name)} "$@"\n'
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
    desk.cluster.path.append(f"{folder}:{os.environ['PATH']}")
    seen = 0

    def since(*, from_jobs=False):
        nonlocal seen
        words = calls.read_text(encoding="utf-8").splitlines()[seen:] if calls.exists() else []
        seen += len(words)
        made = [(name, where) for name, _, where in (line.partition(" ") for line in words)]
        if from_jobs:
            return Counter(where for _, where in made if where != "login")
        return Counter(name for name, where in made if where == "login")

    return since


@pytest.fixture
def desk_of(cluster):
    """A function that gives the desk of one of the cluster's ordinary users: a folder in their home."""
    homes = []

    def found(user):
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            _unavailable(f"the cluster has no user {user}: SLURM_USERS='alice bob' make cluster-up")
        folder = Path(tempfile.mkdtemp(dir=account.pw_dir))
        homes.append(folder)
        os.chown(folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o755)
        return Desk(cluster, folder, user)

    yield found
    for folder in homes:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def desk_at():
    """The type of desks, for tests that choose cluster and folder themselves."""
    return Desk


@pytest.fixture(scope="session")
def epochs_per_s(dev_cluster, tmp_path_factory):
    """How fast a worker that has this machine for itself trains a small network: trials last as long as events need."""
    desk = Desk(dev_cluster, tmp_path_factory.mktemp("speed"))
    desk.type("run", desk.write("speed.yaml", SPEED), "--workers", 1, "--threads", 1)
    (seconds,) = desk.query("SELECT sum(seconds) FROM trials")[0]
    return SPEED_EPOCHS / seconds


@pytest.fixture
def spare_cluster(dev_cluster, tmp_path):
    """A function that starts a second cluster of one node with other knobs; it is removed afterwards."""
    spare = DevCluster(SPARE_LAB, tmp_path)
    knobs = {"SLURM_LAB": str(SPARE_LAB), "SLURM_PORT0": "17300", "SLURM_NODES": "1"}

    def start(**more):
        environment = {**os.environ, **knobs, **more}
        done = subprocess.run([SCRIPTS / "up.sh"], env=environment, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return spare

    with spare.exclusive():
        try:
            yield start
        finally:
            environment = {**os.environ, **knobs, "SLURM_WIPE": "1"}
            subprocess.run([SCRIPTS / "down.sh"], env=environment, capture_output=True, check=True)
