"""Real clusters for tests: the dev cluster that runs, and spare ones that a test starts and removes."""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cnn_sweep.execution.job_states import Incarnation
from cnn_sweep.execution.slurm_cli import SlurmCli

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "slurm" / "dev-cluster"
LOCK = Path(tempfile.gettempdir()) / "cnn-sweep-slurm-tests.lock"
SPARE_LAB = Path(tempfile.gettempdir()) / "cnn-sweep-spare-cluster"  # not in a folder of pytest's: others must get in


@dataclass(frozen=True)
class DevCluster:
    """A running cluster.

    Attributes:
        lab: Its folder.
        folder: Where jobs write down who they are.
        submitted: Ids of the jobs that were submitted from here.
    """

    lab: Path
    folder: Path
    submitted: list[int] = field(default_factory=list)

    @property
    def environment(self):
        """Environment of every client of this cluster."""
        return {**os.environ, "SLURM_LAB": str(self.lab), "SLURM_CONF": str(self.lab / "etc" / "slurm.conf")}

    @property
    def slurm(self):
        """Slurm's commands on this cluster."""
        return SlurmCli(environment=self.environment)

    def script(self, name, *arguments):
        """Run one of the cluster's scripts, such as ``node.sh crash n1``."""
        subprocess.run([SCRIPTS / name, *arguments], env=self.environment, check=True, capture_output=True)

    def submit(self, name, action, *options):
        """Submit the test job under a name, and return its id."""
        command = f"exec srun {sys.executable} {HERE / 'job.py'} {action} '{self.folder / name}'"
        ours = ("--parsable", f"--output={self.folder}/log-%j", "--open-mode=append", "--time=30")
        self.submitted.append(int(self.slurm.run("sbatch", *ours, *options, f"--wrap={command}")))
        return self.submitted[-1]

    def incarnations(self, name):
        """Return who the jobs of a name said they are, in the order in which they started."""
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [Incarnation(**json.loads(line)) for line in lines]

    def wait_for_starts(self, *names, starts=1):
        """Wait until jobs of each name have started so often."""
        self.until(lambda: all(len(self.incarnations(name)) >= starts for name in names), 60, f"starts of {names}")

    def states(self, job_id):
        """Return squeue's state of each element of a job."""
        return {job: row.state for row in self.slurm.queue([job_id]) for job in row.jobs}

    def cancel_submitted(self):
        """Cancel what was submitted from here and did not end."""
        if self.submitted:
            self.slurm.run("scancel", *map(str, self.submitted))

    @staticmethod
    def until(condition, seconds, what):
        """Wait until a condition holds, and return what it gave; fail after some seconds."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
            time.sleep(0.1)
        return result

    @staticmethod
    @contextmanager
    def exclusive():
        """Keep other tests, also in other processes, from all clusters meanwhile."""
        with LOCK.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def pytest_collection_modifyitems(items):
    """Mark every test of this folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.timeout(600))


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
    mine = replace(dev_cluster, folder=tmp_path, submitted=[])
    with mine.exclusive():
        yield mine
        mine.cancel_submitted()


@pytest.fixture
def spare_cluster(dev_cluster, tmp_path):
    """A function that starts a second cluster of one node with other knobs; it is removed afterwards."""
    knobs = {"SLURM_LAB": str(SPARE_LAB), "SLURM_PORT0": "17300", "SLURM_NODES": "1"}

    def start(**more):
        environment = {**os.environ, **knobs, **more}
        done = subprocess.run([SCRIPTS / "up.sh"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return DevCluster(SPARE_LAB, tmp_path)

    with dev_cluster.exclusive():
        try:
            yield start
        finally:
            environment = {**os.environ, **knobs, "SLURM_WIPE": "1"}
            subprocess.run([SCRIPTS / "down.sh"], env=environment, capture_output=True, check=True)
