"""Submits a study with a profile: plans jobs within the cluster's limits, submits and journals them."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.errors import CnnSweepError, InputError, Interrupted, StudyError, SweepFileError
from cnn_sweep.execution.array_jobs.sbatch_calls import SbatchCalls
from cnn_sweep.execution.array_jobs.slurm import UnsureFault, sbatch_scripts
from cnn_sweep.execution.array_jobs.task import TaskSettings
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.attempts.retries import KILLED_FOR_MEMORY, Retries
from cnn_sweep.execution.study.jobs import submissions
from cnn_sweep.execution.study.provenance import package_versions
from cnn_sweep.execution.study.threads import settle_threads, threads_of
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.journal.trust import check_study
from cnn_sweep.messages import few, plural
from cnn_sweep.slurm.array_plan import ArrayPlan, array_plan
from cnn_sweep.slurm.environment import notes_on_variables
from cnn_sweep.training.data.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnn_sweep.execution.array_jobs.slurm import Submitted
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.history import History
    from cnn_sweep.slurm.cluster import Cluster
    from cnn_sweep.slurm.profile import Profile

# A job's start, in seconds: Python on a shared file system, TensorFlow, and the first graph.
_START_S: Final = 60


class QueueFull(InputError):
    """As many pools of a study as the profile allows are in the queue already."""

    def __init__(self, study: str, pools: int, profile: str) -> None:
        self.study, self.profile = study, profile
        self.why = f"{plural(pools, 'pool')} in the queue, as many as array_width allows"
        super().__init__(f"study {study!r} has {self.why}")


@dataclass(frozen=True)
class Submission:
    """A planned submission.

    Attributes:
        study: The study.
        profile: The cluster's settings.
        cluster: The cluster's current limits.
        arrays: The arrays, within the cluster's limits.
        trials: Number of unfinished trials.
        memory_note: How the profile was changed because workers had run out of memory; None if it was not.
        submitted_before: Number of arrays that had ever been submitted when this was planned.
    """

    study: StudyFolder
    profile: Profile
    cluster: Cluster
    arrays: ArrayPlan
    trials: int
    memory_note: str | None = None
    submitted_before: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Differences from the profile, with their reasons."""
        return (
            *([self.memory_note] if self.memory_note else []),
            *notes_on_variables(self.profile, os.environ),
            *self._idle_cpus(),
            *self._short_limit(),
            *self.arrays.notes,
        )

    def _idle_cpus(self) -> list[str]:
        """Return advice on idle CPUs, unless the task has GPUs, where CPUs hardly matter."""
        profile = self.profile
        used, most = profile.workers * profile.worker_threads, profile.cpus // profile.worker_threads
        if most <= profile.workers or profile.gpus:
            return []
        advice = f"workers_per_task = {most} trains more trials at once"
        return [f"{used} of {profile.cpus} CPUs of each task in use; {advice}"]

    def _short_limit(self) -> list[str]:
        """Return advice where the larger part of each job is its start and the time after the warning."""
        limit_s, delay_s = self.profile.time_limit * 60, self.profile.signal_delay_s
        lost_s = _START_S + delay_s
        if limit_s >= 2 * lost_s:
            return []
        trains = f"about {limit_s - lost_s} s" if limit_s > lost_s else "no time"
        better = math.ceil(4 * lost_s / 60)
        note = (
            f"time_limit = {self.profile.time_limit} min leaves {trains} for training in each job: about {_START_S} s "
            f"pass before it trains, and workers stop {delay_s} s before the limit (signal_delay_s). "
            f"With {better} min, three quarters of each job would be training"
        )
        return [note]

    @property
    def settings(self) -> TaskSettings:
        """The settings of each array element."""
        return TaskSettings(
            results=self.study.paths.results.resolve(),
            study=self.study.name,
            digest=self.study.sweep.digest,
            versions=package_versions(),
            workers=self.profile.workers,
            threads=self.profile.worker_threads,
            trials=self.arrays.trials_per_task,
            run_s=self.profile.time_limit * 60.0 - self.profile.signal_delay_s,
            submitted=time.time(),
            warning_s=self.profile.signal_delay_s,
            requeue=self.profile.requeue,
            gpu_memory_mb=self.profile.gpu_memory,
            notify=self.profile.notify,
            stage=self.profile.stage,
            live_every_s=None if self.profile.live is None else self.profile.live.every_s,
            retries=Retries(
                infrastructure=self.profile.retry.infrastructure,
                exception=self.profile.retry.exception,
                out_of_memory=self.profile.retry.out_of_memory,
            ),
        )

    def scripts(self) -> list[str]:
        """Return the exact sbatch scripts."""
        return sbatch_scripts(self.arrays, self.profile, self.settings, self.study.paths.slurm.resolve())

    def commit(self, tell: Callable[[Submitted], None]) -> None:
        """Submit array by array, and journal each.

        If nothing is submitted, a study created for this submission is removed.

        Args:
            tell: Called with each submitted array.

        Raises:
            SweepFileError: sbatch refused; nothing was submitted.
            StudyError: Another command submits the study, or submitted it since this was planned; or started it with
                another number of threads at this moment.
            Interrupted: The user interrupted this command, or cancelled the study meanwhile.
            EnvironmentFault: The controller does not answer, or the jobs' IDs cannot be journaled.
        """
        study, writer = self.study, new_writer_name()
        check_study(study.paths)
        with shared_modes(study.paths.results):
            self._commit(study, writer, tell)

    def _commit(self, study: StudyFolder, writer: str, tell: Callable[[Submitted], None]) -> None:
        with Claims(study.paths, writer, current()).submission(), study.journal("login", writer=writer) as journal:
            try:
                self._check_nobody_else_submitted()
                with study.sweep.locate_errors("data"):
                    prepare(study.sweep.data, study.sweep.folder, study.data_root)
                settle_threads(study.paths, study.sweep, self.profile.worker_threads)
                calls = SbatchCalls(study, self.profile, self.settings, self.cluster.name, journal)
                calls.submit_all(self.arrays.arrays, tell)
            except (UnsureFault, Interrupted):
                raise
            except CnnSweepError:
                if study.created:
                    study.discard()
                raise

    def _check_nobody_else_submitted(self) -> None:
        arrays = submissions(self.study.paths)
        if len(arrays) != self.submitted_before:
            jobs = few([submit.jobs[0]["job"] for submit in arrays[self.submitted_before :]], 3)
            name = self.study.name
            raise StudyError(
                f"study {name!r} was submitted by another command at this moment, as job {jobs}; `cnn-sweep status "
                f"{name}` shows what it has"
            )


def plan_submission(
    study: StudyFolder, history: History, profile: Profile, cluster: Cluster, *, busy: int = 0
) -> Submission:
    """Divide the unfinished trials into arrays.

    Args:
        study: A study with unfinished trials.
        history: Its history.
        profile: The cluster's settings.
        cluster: The cluster's limits.
        busy: Number of pools of this study that are in the queue already.

    Raises:
        QueueFull: As many pools as ``array_width`` allows are in the queue already.
        SweepFileError: The cluster would refuse, or the study has another number of threads; the message lists every
            reason with its line of the profile.
    """
    if busy >= profile.array_width:
        raise QueueFull(study.name, busy, profile.source)
    left = len(left_to_do(study, history))
    starved = sum(
        trial.state == "interrupted" and trial.last.cause == KILLED_FOR_MEMORY for trial in history.trials.values()
    )
    changes, memory_note = _after_out_of_memory(profile, starved)
    profile = _with_threads(profile.model_copy(update=changes), study)
    arrays = array_plan(left, profile.model_copy(update={"array_width": profile.array_width - busy}), cluster)
    arrays.raise_refusals(profile)
    before = sum(len(submit.jobs) for submit in history.submits)
    return Submission(study, profile, cluster, arrays, left, memory_note, submitted_before=before)


def _with_threads(profile: Profile, study: StudyFolder) -> Profile:
    """Return a profile with the study's number of threads.

    Raises:
        SweepFileError: The profile has another number, or too few CPUs for the study's number.
    """
    try:
        threads = threads_of(study.paths, study.sweep, profile.threads)
    except StudyError as error:
        raise SweepFileError(profile.source, [profile.problem("threads", str(error))]) from error
    found = profile.model_copy(update={"threads": threads})
    if problems := [found.problem(key, message) for key, message in found.contradictions()]:
        raise SweepFileError(profile.source, problems)
    return found


def _after_out_of_memory(profile: Profile, starved: int) -> tuple[dict[str, int], str | None]:
    """Return changes of the profile that give each worker more memory, and a sentence about them.

    Args:
        profile: The cluster's settings.
        starved: Number of trials whose workers were killed for their memory use.
    """
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
    return changes, f"{plural(starved, 'trial')} ran out of memory: {', '.join(words)}"
