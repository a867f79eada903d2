"""A study's jobs in Slurm's queue: which are there, how they are, and how to end them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.execution.job_states import LIVING
from cnn_sweep.journal.history import History

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.execution.slurm_cli import SlurmCli
    from cnn_sweep.execution.slurm_rows import QueueRow
    from cnn_sweep.journal.events import Submit
    from cnn_sweep.journal.paths import StudyPaths

# Slurm's clock and that of the login node that submitted differ by less, in seconds.
_CLOCKS_DIFFER_S = 60.0


@dataclass(frozen=True)
class JobState:
    """One array in the queue.

    Attributes:
        job: Its id.
        tasks: Elements that were submitted.
        states: Elements per state and reason, such as ``PENDING: AssocMaxJobsLimit``; those that are over are left out.
    """

    job: str
    tasks: int
    states: Mapping[str, int]


def jobs_in_queue(paths: StudyPaths, slurm: SlurmCli) -> list[JobState]:
    """Ask with one call how a study's jobs are; those that are over are left out.

    Raises:
        EnvironmentFault: Slurm does not answer.
    """
    history = History(paths)
    history.refresh()
    submitted = {int(job["job"]): (job, submit) for submit in history.submits for job in submit.jobs}
    if not submitted:
        return []
    rows = slurm.queue(submitted)
    found = []
    for number, (job, submit) in submitted.items():
        states: Counter[str] = Counter()
        for row in _living_rows(number, submit, rows):
            waits = row.state == "PENDING" and row.reason not in {"None", ""}
            states[f"{row.state}: {row.reason}" if waits else row.state] += len(row.jobs)
        if states:
            found.append(JobState(str(number), int(job["tasks"]), dict(states)))
    return found


def _living_rows(job: int, submit: Submit, rows: list[QueueRow]) -> Iterator[QueueRow]:
    """Yield the rows of a job that are alive and were submitted when ours was: ids are given out again."""
    for row in rows:
        if int(row.jobs[0].partition("_")[0]) != job or row.state not in LIVING or row.submitted is None:
            continue
        late = row.submitted - submit.time
        if abs(late) <= _CLOCKS_DIFFER_S or (row.restarts > 0 and late > 0):
            yield row


def pools_in_queue(paths: StudyPaths, slurm: SlurmCli) -> int:
    """Count the pools of a study that run or wait."""
    return sum(sum(job.states.values()) for job in jobs_in_queue(paths, slurm))
