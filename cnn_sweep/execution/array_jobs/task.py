"""A pool inside one element of a Slurm array, which stops on signals and before its time limit.

Queued jobs are pickled with these classes: keep this module's path and their names.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep import streams
from cnn_sweep.errors import EnvironmentFault, faults_of_the_system
from cnn_sweep.execution.array_jobs.deadline import Deadline
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.attempts.take_over import silent_attempts, unseen_in_words
from cnn_sweep.execution.pool.notifications import notify_dead_end
from cnn_sweep.execution.pool.supervisor import PoolSupervisor
from cnn_sweep.execution.study.jobs import pools_that_go_on
from cnn_sweep.execution.study.provenance import fault_event, package_versions
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.protocol import STOP_SIGNALS, PoolWord, WorkerSettings
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.sweep.states import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from cnn_sweep.execution.attempts.retries import Retries
    from cnn_sweep.execution.pool.progress import Progress

log = logging.getLogger(__name__)

_LOG_EVERY_S = 60.0
_LOOK_EVERY_S = 3.0
# Before a requeue, a pool waits this long for a controller that is down, and asks it this often, in seconds.
_CONTROLLER_BACK_S = 60.0
_ASK_AGAIN_S = 2.0
# After SIGTERM a pool waits to be killed, because Slurm requeues a preempted job only if it had to kill it. No grace
# time is longer than this, in seconds.
_LONGEST_GRACE_S = 3600.0
# Slurm is asked about this job for no longer than this, in seconds, as the time after its warning may be short.
_ASKING_S = 5.0


@dataclass(frozen=True)
class TaskSettings:
    """Settings of each array element of a submission.

    Attributes:
        results: Root of all studies.
        study: The study's name.
        digest: Digest of the submitted sweep.
        versions: Versions of the packages where the submission was made.
        workers: Number of workers of the pool.
        threads: Threads of each worker.
        trials: Number of trials after which the pool ends; None if it runs until nothing is left to claim.
        run_s: Seconds from the start to the warning before the time limit, should Slurm not say when it comes.
        submitted: When the jobs were submitted, in seconds since 1970.
        requeue: Whether a pool that stops early with work left requeues its job.
        retries: How often failed trials are retried.
        gpu_memory_mb: GPU memory that each worker may use, in MB; None for as much as it needs.
        notify: Who is notified at the study's end.
        warning_s: Seconds between the warning and the time limit.
        stage: Where on a node its workers keep a copy of the data; None for no copy.
        live_every_s: Seconds between renewals of the study's live page; None for no page.
    """

    results: Path
    study: str
    digest: str
    versions: Mapping[str, str]
    workers: int
    threads: int
    trials: int | None
    run_s: float
    submitted: float
    requeue: bool
    retries: Retries
    gpu_memory_mb: int | None = None
    notify: tuple[str, ...] = ()
    warning_s: float = 90.0
    stage: str | None = None
    live_every_s: float | None = None


class TaskRun:
    """One incarnation of an array element."""

    def __init__(self, settings: TaskSettings) -> None:
        """Open the study.

        Raises:
            EnvironmentFault: This node's packages, or the study, differ from those submitted.
        """
        streams.start_log()
        self._settings = settings
        self._study = StudyFolder.open(settings.results, settings.study)
        with self._telling_of_faults():
            _check_same(settings, self._study)
        slurm = SlurmCli(timeout_s=_ASKING_S)
        own = slurm.own_job()
        if own is not None and own.submitted is not None:  # with the job's ID it identifies this incarnation
            os.environ["CNN_SWEEP_SUBMIT_TIME"] = str(own.submitted)
        self._deadline = Deadline(slurm, own, run_s=settings.run_s, warning_s=settings.warning_s)
        self._word = PoolWord()
        self._draining = False
        self._supervisor = PoolSupervisor(
            self._study,
            self._worker_settings(),
            settings.workers,
            look_every_s=_LOOK_EVERY_S,
            notify=settings.notify,
        )
        if settings.live_every_s is not None:
            self._supervisor.write_live_page(settings.live_every_s)
        self._terminated = False
        self._stopped_for = "its time limit"
        self._logged = 0.0

    def run(self) -> bool:
        """Run the pool; return whether another incarnation of this task has work to do."""
        signal.signal(signal.SIGTERM, self._on_terminate)
        with self._telling_of_faults():
            progress = self._supervisor.run(self._observe)
        left = progress.total - progress.finished
        log.info("%d of %d trials are finished", progress.finished, progress.total)
        if left and not self._draining and not self._terminated:
            self._tell_of_silent()
        if self._terminated and (left or self._supervisor.leaves_commands):
            log.info("waiting to be killed, as scancel, a preemption and a requeue all do")
            time.sleep(min(_LONGEST_GRACE_S, max(0.0, self._deadline.warning - time.time())))
        return bool(left) and self._draining

    def stop(self) -> None:
        """Let the workers write their checkpoints, and wait for them; further signals are ignored."""
        # A function, not SIG_IGN: Python reports an error for an ignored signal that arrived together with this one.
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: None)
        # The child that requeues the job ignores them, too: after a short grace time Slurm sends more.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self._supervisor.stop(signal.SIGUSR2)
        cause = self._deadline.cause()
        self._word.stop(cause)
        near = "the time limit is near" if cause == "time_limit" else "this job is preempted"
        log.warning("%s: stopping after a checkpoint", near)
        self._supervisor.wait_for_workers()
        self._stopped_for = "its time limit" if cause == "time_limit" else "a preemption"
        if self._settings.requeue:
            _wait_for_controller()

    def end(self) -> None:
        """Say how a study is continued whose job is not requeued although trials are left."""
        study = self._study
        if left := len(left_to_do(study, study.history())):
            cure = f"`cnn-sweep resume {study.name} --profile …` continues"
            log.warning("%d of %d trials are left; %s", left, len(study.plan.trials), cure)
            self._tell(f"a job stopped for {self._stopped_for}, and requeue = false keeps it away", cure)

    def _tell_of_silent(self) -> None:
        """Tell of trials that no pool can train, because silent processes that cannot be seen hold them."""
        study = self._study
        if words := unseen_in_words(study.name, silent_attempts(study)):
            self._tell("; ".join(word.strip() for word in words).replace(":;", ":"))

    @contextmanager
    def _telling_of_faults(self) -> Iterator[None]:
        """Tell the user of an error that keeps the pool from working."""
        try:
            with faults_of_the_system():
                yield
        except EnvironmentFault as fault:
            with suppress(EnvironmentFault):  # the fault may be that nothing can be journaled
                self._tell(str(fault))
            raise

    def _tell(self, message: str, cure: str | None = None) -> None:
        """Journal why this pool ends, for `status`, and notify if no other pool goes on; `status` has its own cure."""
        study, settings = self._study, self._settings
        with study.journal("pool") as journal:
            journal.append(fault_event(message))
        reason = message if cure is None else f"{message}; {cure}"
        try:
            if settings.notify and pools_that_go_on(study.paths, SlurmCli()) == 0:
                notify_dead_end(study, reason, settings.notify, since=settings.submitted)
        except EnvironmentFault as fault:
            log.warning("nobody is notified, because other pools may go on: %s", fault)

    def _worker_settings(self) -> WorkerSettings:
        settings = self._settings
        trials = None if settings.trials is None else -(-settings.trials // settings.workers)
        return WorkerSettings(
            results=settings.results,
            study=settings.study,
            threads=settings.threads,
            since=settings.submitted,
            trials=trials,
            retries=settings.retries,
            gpu_memory_mb=settings.gpu_memory_mb,
            stage=settings.stage,
            word=self._word.descriptor,
        )

    def _on_terminate(self, number: int, _frame: FrameType | None) -> None:
        log.warning("%s: stopping after a checkpoint", signal.Signals(number).name)
        self._terminated = True
        self._supervisor.stop()

    def _observe(self, progress: Progress) -> None:
        if not self._draining and self._deadline.is_near():
            self._draining = True
            self._word.drain()
        if self._draining and not self._terminated and self._deadline.is_due():
            signal.raise_signal(signal.SIGUSR2)
        for note in progress.notes:
            log.warning("%s", note)
        if time.monotonic() - self._logged >= _LOG_EVERY_S:
            self._logged = time.monotonic()
            log.info("%s", counted(progress.counts))


def _wait_for_controller() -> None:
    """Wait until the controller, which a requeue needs, answers, but no longer than a minute."""
    deadline = time.monotonic() + _CONTROLLER_BACK_S
    while time.monotonic() < deadline:
        try:
            SlurmCli(timeout_s=10.0).run("scontrol", "ping")
        except EnvironmentFault as fault:
            log.warning("waiting for the controller: %s", fault)
            time.sleep(_ASK_AGAIN_S)
        else:
            return


def _check_same(settings: TaskSettings, study: StudyFolder) -> None:
    if settings.digest not in {revision.digest for revision in study.revisions}:
        raise EnvironmentFault(
            f"study {settings.study!r} has another sweep than was submitted; "
            f"`cnn-sweep resume {settings.study} --profile …` submits it"
        )
    here = package_versions()
    different = [
        f"{name} is {here.get(name, 'missing')}, submitted with {version}"
        for name, version in settings.versions.items()
        if here.get(name) != version
    ]
    if different:
        raise EnvironmentFault(
            f"{sys.executable}: not the environment that submitted: {'; '.join(different)}. "
            "Submit from the environment that the nodes have, or set `python` in the profile"
        )
