"""Lets Slurm check a profile without submitting anything: ``sbatch --test-only``."""

from __future__ import annotations

import re
import shlex
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.array_jobs.slurm import single_job_script
from cnn_sweep.slurm.limits import refusals_of
from cnn_sweep.slurm.sbatch_errors import sbatch_error

if TYPE_CHECKING:
    from cnn_sweep.errors import Problem
    from cnn_sweep.slurm.cluster import Cluster
    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.profile import Profile

_START = re.compile(r"to start at (\S+)(?:.* on nodes (\S+))?")


def problems_on(cluster: Cluster, profile: Profile) -> list[Problem]:
    """Return why a cluster would not run a profile's tasks, each with its line."""
    return [profile.problem(refusal.key, refusal.message) for refusal in refusals_of(profile, cluster)]


class ExpectedStart(NamedTuple):
    """When and where a task would start.

    Attributes:
        at: Local time, in sbatch's words; empty if sbatch only accepts the task.
        nodes: Its nodes; empty if unknown.
        words: All that sbatch said.
    """

    at: str
    nodes: str
    words: str

    @property
    def wait_s(self) -> float | None:
        """Seconds from now until then; None if unknown."""
        try:
            return max(0.0, datetime.fromisoformat(self.at).timestamp() - time.time())
        except ValueError:
            return None

    def __str__(self) -> str:
        if not self.at:
            return self.words or "accepted"
        return f"would start at {self.at.replace('T', ' ')}" + (f" on {self.nodes}" if self.nodes else "")


def expected_start(profile: Profile, slurm: SlurmCli) -> ExpectedStart:
    """Let sbatch check a profile's task; return when and where it would start.

    Raises:
        SweepFileError: sbatch would refuse; the message has its words and the line of the profile.
        EnvironmentFault: The cluster does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as folder:
        script = Path(folder, "job.sh")
        text = single_job_script(profile, shlex.quote("true"), Path(folder))
        script.write_text(text, encoding="utf-8")
        try:
            words = slurm.test_submission(script)
        except EnvironmentFault as fault:
            raise sbatch_error(str(fault).removeprefix("sbatch failed: "), profile) from None
    found = _START.search(words)
    return ExpectedStart("" if found is None else found[1], (found and found[2]) or "", words)
