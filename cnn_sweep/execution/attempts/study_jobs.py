"""What Slurm and this machine know about a study: its jobs in the queue, how others ended, and dead workers."""

from __future__ import annotations

import shutil
import time
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.attempts.liveness import Attempt, LocalDetector, SlurmDetector, deaths_among, owners_of
from cnn_sweep.execution.attempts.take_over import unseen_among
from cnn_sweep.execution.study.job_ends import JobEnds, ends_of_jobs
from cnn_sweep.execution.study.jobs import Queue, calls_of, found_in_queue, jobs_with, queue_from
from cnn_sweep.journal.decoding import from_json
from cnn_sweep.journal.events import End
from cnn_sweep.journal.log import read_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.execution.attempts.take_over import Unseen
    from cnn_sweep.journal.claims import Owner
    from cnn_sweep.journal.events import Submit
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.slurm.commands import SlurmCli

# A display asks Slurm once a minute; that answer says nothing about a worker that began since.
_OLD_ANSWER_S = 60.0
_END = f'{{"type":"{End.type}"'.encode()


class StudyJobs(NamedTuple):
    """A study's jobs and dead workers.

    Attributes:
        dead: Why the worker of each of these running trials is dead.
        queue: Its part of the queue; None without Slurm, or if it does not answer.
        ends: How its jobs ended since the newest submission; only asked while trials are left.
        submitted: When jobs were submitted last, in seconds since 1970; None if they never were.
        profile: The profile of that submission.
        trouble: Why the queue is not known; None if it is, or without Slurm.
        unseen: Running attempts whose workers can be seen neither here nor by Slurm.
    """

    dead: dict[int, str]
    queue: Queue | None = None
    ends: Sequence[JobEnds] = ()
    submitted: float | None = None
    profile: str | None = None
    trouble: str | None = None
    unseen: Sequence[Unseen] = ()

    @property
    def none_is_left(self) -> bool:
        """Whether jobs were submitted, and none of them is in the queue."""
        return self.submitted is not None and self.queue is not None and not self.queue.jobs


def jobs_of_study(paths: StudyPaths, running: Iterable[Attempt], slurm: SlurmCli, *, is_finished: bool) -> StudyJobs:
    """Ask Slurm, if it is available, and this machine about a study; with one call of squeue and at most two of sacct.

    Args:
        paths: Files of the study.
        running: Its running attempts.
        slurm: Slurm's commands, used only if this machine has them.
        is_finished: Whether no trial is left, so that nobody asks how jobs ended.
    """
    calls, owners = calls_of(paths), owners_of(paths, running)
    submits = calls.submits
    local = LocalDetector()
    found = StudyJobs(dead=_dead(paths, owners, local), unseen=unseen_among(paths, owners, [local]))
    if submits:
        found = found._replace(submitted=submits[-1].time, profile=submits[-1].profile)
    if shutil.which("squeue") is None:
        return found
    try:
        submits = [*submits, *found_in_queue(paths.study, calls, slurm)]
        ids = _ids(submits, owners)
        rows = slurm.queue(ids) if ids else []
    except EnvironmentFault as fault:
        return found._replace(trouble=f"jobs are not known: {fault}")
    settled = {one: owner for one, owner in owners.items() if owner.written < time.time() - _OLD_ANSWER_S}
    detector = SlurmDetector(slurm, rows)
    return found._replace(
        queue=queue_from(submits, rows, ids)._replace(visibility=cache(slurm.visibility)),
        ends=[] if is_finished else ends_of_jobs(paths, submits, rows, slurm),
        dead=_dead(paths, settled, detector) | found.dead,
        unseen=unseen_among(paths, {one.attempt: one.owner for one in found.unseen}, [detector]),
    )


def _ids(submits: Sequence[Submit], owners: Mapping[Attempt, Owner]) -> set[int]:
    """Return the IDs of the submitted jobs, and of those in which somebody typed `run`."""
    working = jobs_with(owner.identity for owner in owners.values() if owner.identity is not None)
    return working | {int(job["job"]) for submit in submits for job in submit.jobs}


def _dead(
    paths: StudyPaths, owners: Mapping[Attempt, Owner], *detectors: SlurmDetector | LocalDetector
) -> dict[int, str]:
    """Return why workers are dead, without those whose attempt ended after the caller had read about it."""
    return {
        attempt.trial: death.message
        for attempt, death in deaths_among(owners, detectors).items()
        if not _has_ended(paths, owners[attempt].writer, attempt)
    }


def _has_ended(paths: StudyPaths, writer: str | None, attempt: Attempt) -> bool:
    if writer is None:
        return False
    ends = (from_json(body) for body in read_from(paths.journal(writer)).bodies if body.startswith(_END))
    return any(isinstance(end, End) and (end.trial, end.attempt) == attempt for end in ends)
