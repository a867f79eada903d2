"""Journaled calls of sbatch: whenever a command is killed, the journals say which jobs are or may be in the queue."""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import CnnSweepError, EnvironmentFault, Interrupted
from cnn_sweep.execution.array_jobs.slurm import Submitted, UnsureFault, comment_of, has_files, submit
from cnn_sweep.execution.study.jobs import SBATCH_TAKES_S, calls_of, found_in_queue, is_cancelled_since
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import Submit, Submitting
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.messages import few
from cnn_sweep.slurm.commands import SlurmCli

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cnn_sweep.execution.array_jobs.task import TaskSettings
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.log import JournalWriter
    from cnn_sweep.slurm.array_plan import Array
    from cnn_sweep.slurm.profile import Profile

log = logging.getLogger(__name__)

# After a call of sbatch that got no answer, the queue is searched for its job, after these pauses in seconds.
_LOOK_AFTER_S: Final = (0.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class SbatchCalls:
    """Submits arrays of a study one by one; only one process may do so at a time.

    Attributes:
        study: The study.
        profile: The cluster's settings.
        settings: The settings of each element.
        cluster: The cluster's name.
        journal: This process's journal.
    """

    study: StudyFolder
    profile: Profile
    settings: TaskSettings
    cluster: str
    journal: JournalWriter

    def submit_all(self, arrays: Sequence[Array], tell: Callable[[Submitted], None]) -> None:
        """Submit arrays; if a later one is refused, those in the queue do the rest of the work.

        Args:
            arrays: The arrays.
            tell: Called with each submitted array.

        Raises:
            SweepFileError: sbatch refused the first.
            Interrupted: The user interrupted this command, or cancelled the study meanwhile.
            EnvironmentFault: The controller does not answer, or the first cannot be journaled.
        """
        submitted: list[Submitted] = []
        try:
            for array in arrays:
                submitted.append(self._submit(array))
                tell(submitted[-1])
                self._stop_if_cancelled(submitted)
        except KeyboardInterrupt:
            raise Interrupted(self._interrupted(submitted)) from None
        except CnnSweepError as error:
            if not submitted or isinstance(error, Interrupted):
                raise
            log.warning("only %d of %d arrays are submitted: %s", len(submitted), len(arrays), error)

    def _submit(self, array: Array) -> Submitted:
        key = secrets.token_hex(4)
        comment = comment_of(self.profile, self.study.name, key)
        call = Submitting(time.time(), key, comment, array.tasks, self.profile.source, self.cluster)
        self.journal.append(call)
        folder = self.study.paths.slurm.resolve()
        try:
            job = submit(array, self.profile, self.settings, folder, comment=comment)
        except UnsureFault as fault:
            job = self._find(call, fault)
        except CnnSweepError:
            self.journal.append(_ended(call))
            raise
        try:
            self.journal.append(_ended(call, asdict(job)))
        except EnvironmentFault as fault:
            raise UnsureFault(
                f"job {job.job} is in the queue and will run, but its number cannot be journaled: {fault}; "
                f"`scancel {job.job}` ends it"
            ) from fault
        return job

    def _find(self, call: Submitting, fault: UnsureFault) -> Submitted:
        """Find the job of a call of sbatch that got no answer, and give it its files."""
        log.warning("sbatch got no answer; looking for its job in the queue")
        calls = calls_of(self.study.paths)._replace(unsettled=[call])
        for pause_s in _LOOK_AFTER_S:
            time.sleep(pause_s)
            with suppress(EnvironmentFault):
                for found in found_in_queue(self.study.name, calls, SlurmCli()):
                    job = Submitted(**found.jobs[0])
                    fault.complete(job)
                    return job
        raise fault

    def _stop_if_cancelled(self, submitted: Sequence[Submitted]) -> None:
        if is_cancelled_since(self.study.paths, self.settings.submitted):
            SlurmCli().run("scancel", *(job.job for job in submitted))
            raise Interrupted(f"study {self.study.name!r} was cancelled meanwhile, and with it the jobs submitted here")

    def _interrupted(self, submitted: Sequence[Submitted]) -> str:
        name = self.study.name
        jobs = f": job {few([job.job for job in submitted], 3)} stays in the queue" if submitted else ""
        return (
            f"interrupted{jobs}. `cnn-sweep status {name}` shows what is in the queue, `cnn-sweep cancel {name}` "
            f"cancels it, and `cnn-sweep resume {name} --profile {self.profile.source}` submits what is missing"
        )


def settle_submissions(study: StudyFolder) -> list[str]:
    """Find out what became of calls of sbatch that were interrupted or got no answer; return notes for the user.

    Their jobs in the queue are journaled; a job that lacks files, so that it would fail, is cancelled.

    Raises:
        StudyError: Another command submits the study at this moment.
        EnvironmentFault: Slurm does not answer.
    """
    paths = study.paths
    if not calls_of(paths).unsettled:
        return []
    slurm, writer, notes = SlurmCli(), new_writer_name(), []
    with Claims(paths, writer, current()).submission(), study.journal("login", writer=writer) as journal:
        calls = calls_of(paths)
        found = {submit.key: submit for submit in found_in_queue(study.name, calls, slurm)}
        for call in calls.unsettled:
            if (submit := found.get(call.key)) is not None:
                (job,) = submit.jobs
                is_whole = has_files(job["job"], call.tasks, paths.slurm.resolve())
                if not is_whole:
                    slurm.run("scancel", job["job"])
                journal.append(submit if is_whole else _ended(call))
                outcome = "is in the queue" if is_whole else "is cancelled, because it lacked files"
                notes.append(f"job {job['job']} of an interrupted submission {outcome}")
            elif time.time() - call.time > SBATCH_TAKES_S:  # until then, a slow controller may queue it
                journal.append(_ended(call))
    return notes


def _ended(call: Submitting, *jobs: dict[str, Any]) -> Submit:
    return Submit(time.time(), list(jobs), call.profile, call.cluster, call.key)
