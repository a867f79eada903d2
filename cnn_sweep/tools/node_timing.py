"""Times the shapes of a sweep on a node: the program of the job of ``plan --probe --job``, and who submits it.

The job starts it as ``python -m cnn_sweep.tools.node_timing FOLDER WORKERS``.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import CnnSweepError, EnvironmentFault
from cnn_sweep.execution.array_jobs.slurm import python_command
from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.tools.node_job import NodeJob
from cnn_sweep.tools.node_probe import QUESTION, REPORT
from cnn_sweep.tools.training_rates import Measured, Measurement, Timing, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.slurm.commands import SlurmCli
    from cnn_sweep.slurm.profile import Profile

WAIT_S: Final = 900.0  # longest wait for the job
_TIMING: Final = "timing.json"


def measure_on_node(timing: Timing, profile: Profile, slurm: SlurmCli, tell: Callable[[str], None]) -> Measured:
    """Let as many workers as a task has time the shapes in a job of one task.

    Args:
        timing: What each worker trains.
        profile: The cluster's settings.
        slurm: Slurm's commands.
        tell: Called with each new state of the job, in words.

    Raises:
        SweepFileError: sbatch refused; the message has its words and the line of the profile.
        EnvironmentFault: The job did not start in time, or could not measure; the message has its last line.
    """
    with NodeJob(timing.results, profile, slurm, tell) as job:
        program = f"{python_command(profile)} -P -m cnn_sweep.tools.node_timing"
        (job.folder / _TIMING).write_text(timing.to_json(), encoding="utf-8")
        number = job.submit(f"{program} {shlex.quote(str(job.folder))} {profile.workers}")
        outcome = job.wait(WAIT_S)
    if outcome.report is None:
        why = outcome.log or f"{outcome.state} {outcome.reason}".strip()
        raise EnvironmentFault(f"job {number} told no times: {why}")
    shapes = (tuple(Measurement(**one) for one in several) for several in outcome.report["shapes"])
    return Measured(outcome.report["start_s"], tuple(shapes))


def main() -> int:
    """Measure and write the report; return the process's exit code."""
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    nonce = json.loads((folder / QUESTION).read_text(encoding="utf-8"))["nonce"]
    try:
        found = measure(Timing.from_json((folder / _TIMING).read_text(encoding="utf-8")), workers)
    except CnnSweepError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the job's log
        return error.exit_code
    write_aside(folder / REPORT, json.dumps(asdict(found) | {"nonce": nonce}).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
