"""A job of one task that runs one of this program's commands on a node, such as ``finalize``."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.array_jobs.slurm import python_command, single_job_script
from cnn_sweep.slurm.sbatch_errors import sbatch_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.profile import Profile


def submit_command(paths: StudyPaths, profile: Profile, words: Sequence[str], slurm: SlurmCli) -> tuple[int, Path]:
    """Submit a job that runs a command of a study.

    Args:
        paths: The study's files; the job's output goes where that of its pools does.
        profile: The cluster's settings; the job is never requeued.
        words: The command without the folder of the results.
        slurm: Slurm's commands.

    Returns:
        The job's ID, and the file with its standard output.

    Raises:
        SweepFileError: sbatch refused; the message has its words and the line of the profile.
        EnvironmentFault: The cluster does not answer.
    """
    folder = paths.slurm.resolve()
    module = ["-P", "-m", "cnn_sweep.cli.main", *words, "--results", str(paths.results.resolve())]
    command = f"{python_command(profile)} {shlex.join(module)}"
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as temporary:  # sbatch copies the script
        script = Path(temporary, "job.sh")
        text = single_job_script(profile, command, folder, name=f"{paths.study}-{words[0]}")
        script.write_text(text, encoding="utf-8")
        try:
            job = slurm.submit(script)
        except EnvironmentFault as fault:
            raise sbatch_error(str(fault).removeprefix("sbatch failed: "), profile) from None
    return job, paths.slurm / f"{job}_0_log.out"
