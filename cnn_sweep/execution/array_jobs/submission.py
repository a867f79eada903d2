"""From a study and a profile to jobs in the queue: planned under the cluster's limits, submitted, journaled."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cnn_sweep.errors import InputError
from cnn_sweep.execution.array_jobs.slurm import sbatch_scripts, submit
from cnn_sweep.execution.array_jobs.task import TaskSettings
from cnn_sweep.execution.environment.provenance import package_versions, worker_event
from cnn_sweep.execution.scheduling.giving_up import OUT_OF_MEMORY, Retries
from cnn_sweep.execution.scheduling.picking import left_to_do
from cnn_sweep.journal.events import Submit
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.search.budget import Budget
from cnn_sweep.slurm.limits import ArrayPlan, array_plan
from cnn_sweep.training.data.prepare import prepare

if TYPE_CHECKING:
    from cnn_sweep.execution.array_jobs.slurm import Submitted
    from cnn_sweep.execution.freezing.freeze import FrozenStudy
    from cnn_sweep.slurm.cluster import Cluster
    from cnn_sweep.slurm.profile import Profile


@dataclass(frozen=True)
class Submission:
    """What is to be submitted.

    Attributes:
        study: What is run.
        profile: The cluster's settings.
        cluster: The cluster as it was found.
        arrays: The arrays, cut to its limits.
        trials: Trials that are not finished.
        gentler: How the profile was changed because workers ran out of memory before; None if it was not.
    """

    study: FrozenStudy
    profile: Profile
    cluster: Cluster
    arrays: ArrayPlan
    trials: int
    gentler: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What differs from the profile and why."""
        return (*([self.gentler] if self.gentler else []), *self.arrays.notes)

    @property
    def settings(self) -> TaskSettings:
        """What each array element is told."""
        return TaskSettings(
            results=self.study.paths.results.resolve(),
            study=self.study.paths.study,
            digest=self.study.sweep.digest,
            versions=package_versions(),
            workers=self.profile.workers,
            threads=self.profile.worker_threads,
            trials=self.arrays.trials_per_task,
            run_s=self.profile.time_limit * 60.0 - self.profile.signal_delay_s,
            submitted=time.time(),
            requeue=self.profile.requeue,
            gpu_memory_mb=self.profile.gpu_memory,
            notify=self.profile.notify,
            retries=Retries(
                infrastructure=self.profile.retry.infrastructure,
                exception=self.profile.retry.exception,
                out_of_memory=self.profile.retry.out_of_memory,
            ),
        )

    def scripts(self) -> list[str]:
        """Give the sbatch scripts, exactly."""
        return sbatch_scripts(self.arrays, self.profile, self.settings, self.study.paths.slurm.resolve())

    def commit(self) -> list[Submitted]:
        """Submit, and journal the jobs' ids.

        Raises:
            SweepFileError: sbatch refused; nothing was submitted.
            EnvironmentFault: The controller does not answer.
        """
        prepare(self.study.sweep.data, self.study.sweep.folder, self.study.data_root)
        jobs = submit(self.arrays, self.profile, self.settings, self.study.paths.slurm.resolve())
        with JournalWriter(self.study.paths.journal(new_writer_name())) as journal:
            journal.append(worker_event(threads=0))
            journal.append(
                Submit(
                    time=time.time(),
                    jobs=[asdict(job) for job in jobs],
                    profile=self.profile.source,
                    cluster=self.cluster.name,
                )
            )
        return jobs


def plan_submission(study: FrozenStudy, profile: Profile, cluster: Cluster, *, busy: int = 0) -> Submission:
    """Cut the work that is left into arrays.

    Args:
        study: What to run.
        profile: How.
        cluster: What is allowed there.
        busy: Pools of this study that are in the queue already.

    Raises:
        InputError: Nothing is left to do, or the profile's width is in the queue already.
        SweepFileError: The cluster would refuse; every reason, at the line of the profile that caused it.
    """
    history = History(study.paths, metric=study.sweep.objective.metric)
    history.refresh()
    left = len(left_to_do(study, history))
    if left == 0 and (limit := Budget(study.sweep, history).reached()) is not None:
        raise InputError(f"study {study.paths.study!r} was ended by its budget: {limit}; a larger one continues it")
    if left == 0:
        raise InputError(f"study {study.paths.study!r} is finished; there is nothing to submit")
    if busy >= profile.array_width:
        raise InputError(f"{busy} pools of study {study.paths.study!r} are in the queue, as many as array_width allows")
    starved = sum(
        trial.state == "interrupted" and trial.last.cause == OUT_OF_MEMORY for trial in history.trials.values()
    )
    changes, gentler = _after_out_of_memory(profile, starved)
    profile = profile.model_copy(update=changes)
    arrays = array_plan(left, profile.model_copy(update={"array_width": profile.array_width - busy}), cluster)
    arrays.raise_refusals(profile)
    return Submission(study, profile, cluster, arrays, left, gentler)


def _after_out_of_memory(profile: Profile, starved: int) -> tuple[dict[str, int], str | None]:
    """Return settings with more memory a worker where trials were lost for want of it, and a sentence about them."""
    retry, memory = profile.retry, profile.memory
    sharing = "workers_per_task" if profile.workers_per_gpu is None else "workers_per_gpu"
    workers = int(getattr(profile, sharing))
    if starved == 0 or retry.out_of_memory == 0:
        return {}, None
    changes: dict[str, int] = {}
    if memory is not None and retry.memory_factor > 1:
        changes["memory"] = math.ceil(memory * retry.memory_factor)
    if retry.fewer_workers and workers > 1:
        changes[sharing] = workers // 2
    words = [f"{name} = {value}" for name, value in changes.items()] or [
        "nothing changes: set memory_factor, or fewer_workers with several workers, in the profile's [retry]"
    ]
    return changes, f"{starved} trials ran out of memory: {', '.join(words)}"
