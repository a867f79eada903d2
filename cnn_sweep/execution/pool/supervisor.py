"""The supervisor of a pool: starts as many workers as there is work for, and replaces those that die."""

from __future__ import annotations

import math
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.attempts.liveness import Death, LocalDetector, declare_lost, failure_detectors
from cnn_sweep.execution.attempts.retries import KILLED_FOR_MEMORY, failing_alike
from cnn_sweep.execution.pool.live_page import LiveWriter
from cnn_sweep.execution.pool.notifications import notice_of, notify
from cnn_sweep.execution.pool.pool import Pool
from cnn_sweep.execution.pool.progress import ProgressMeter
from cnn_sweep.execution.pool.when_finished import Follower
from cnn_sweep.execution.study.provenance import fault_event
from cnn_sweep.execution.study.user_code import uses_user_code
from cnn_sweep.execution.worker.retention import drop_leftovers
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.heartbeat import beating
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.store.merge import merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cnn_sweep.execution.pool.notifications import Notice
    from cnn_sweep.execution.pool.pool import WorkerExit
    from cnn_sweep.execution.pool.progress import Progress
    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.execution.worker.protocol import WorkerSettings
    from cnn_sweep.journal.events import Unsaved
    from cnn_sweep.journal.trials import AttemptHistory

_POLL_S = 0.05  # seconds between checks of the worker processes
_LOOK_S = 0.2  # default seconds between reads of the journals
# A pool asks Slurm about the attempts of other jobs at most this often, in seconds, and once when its work ends.
_ASK_EVERY_S = 60.0
# Workers of a pool that cannot go on have this many seconds for their checkpoints.
_STOP_WITHIN_S = 60.0
# The final merge waits this many seconds for another process that is merging.
_PATIENCE_S = 10.0


class PoolSupervisor:
    """Runs a pool, and declares the attempts of dead workers lost in a journal of its own.

    Attributes:
        leaves_commands: Whether it was stopped before all commands of ``when_finished`` had run.
    """

    def __init__(
        self,
        study: StudyFolder,
        settings: WorkerSettings,
        size: int,
        *,
        look_every_s: float = _LOOK_S,
        notify: Sequence[str] = (),
    ) -> None:
        """Prepare a pool of up to ``size`` workers.

        Args:
            study: The study that they train.
            settings: Settings of each worker.
            size: Maximum number of workers.
            look_every_s: Seconds between reads of the journals, which may be on a shared file system.
            notify: Who is notified at the study's end, as in :func:`.notifications.notify`.
        """
        paths, writer = study.paths, new_writer_name()
        self._study = study
        self._size = size
        self._history = study.history()
        self._claims = Claims(paths, writer, current())
        self._journal = study.journal("pool", writer=writer)
        self._exits: dict[int, Death] = {}
        self._identity = current()
        self._detectors = failure_detectors(self._exits)
        self._own_detector = LocalDetector(self._exits, own_job=True)
        self._ask_at = 0.0
        self._filled = 0
        self._meter = ProgressMeter(study, self._history, settings.since)
        self._pool = Pool(settings, size, paths.logs, whole_keras=uses_user_code(study.sweep))
        self._since = settings.since
        self._unsaved: dict[int, Unsaved] = {}
        self._stopping = False
        self._look_every_s = look_every_s
        self._notify = notify
        self._live: LiveWriter | None = None
        self.leaves_commands = False

    def write_live_page(self, every_s: float) -> None:
        """Take part in writing the study's live page, which is renewed every so many seconds."""
        self._live = LiveWriter(self._study.paths, self._claims, every_s)

    def run(self, observe: Callable[[Progress], None]) -> Progress:
        """Keep workers running until none of them finds a trial to claim, or until all have stopped.

        Args:
            observe: Called with the study's progress regularly and at every death of a worker.

        Raises:
            EnvironmentFault: Workers cannot start.
        """
        drop_leftovers(self._study.paths, self._history)
        with beating(self._journal.path):
            return self._run(observe)

    def _run(self, observe: Callable[[Progress], None]) -> Progress:
        try:
            is_working = True
            while is_working:
                self._refill()
                self._watch(observe)
                # A pool that was asked to stop may have only seconds left; the next reader merges the rest.
                merge(self._study.paths.results, wait_s=0.0 if self._stopping else _PATIENCE_S)
                is_working = not self._stopping and self._follow()  # it may have been extended during the merge
            self._journal_early_end()
        except EnvironmentFault:
            self.stop()  # the other workers save what they trained
            self.wait_for_workers(_STOP_WITHIN_S)
            raise
        finally:
            self._pool.close()
            self._journal.close()
            if self._live:
                self._live.stop()
        self._history.refresh()
        progress = self._meter.read(workers=0)
        notice = notice_of(self._study.name, progress)
        self._send(notice)
        is_finished = notice is not None and notice.outcome == "finished" and not self._stopping
        if self._live:
            self._live.end(_end_of(self._study, notice) if notice and is_finished else None)
        if notice and is_finished:
            self._run_what_follows(notice, lambda step: observe(replace(progress, follows=step)))
        return progress

    def _run_what_follows(self, notice: Notice, tell: Callable[[str], None]) -> None:
        """Run the sweep's ``when_finished``; its failures are journaled and told, and change nothing in the study."""
        follower = Follower(self._study, self._claims, self._detectors, lambda: self._stopping)
        if problems := follower.run(tell):
            self._send(replace(notice, outcome="failed", text=f"{notice.text}; {'; '.join(problems)}"))
        self.leaves_commands = self._stopping and bool(follower.left())

    def _watch(self, observe: Callable[[Progress], None]) -> None:
        """Replace workers that die and report the progress, until none runs and none is needed."""
        look_at = 0.0
        while self._pool.running or self._pool.is_waiting or self._revive():
            time.sleep(_POLL_S)
            deaths = self._pool.reap()
            # A pool that is stopping is not refilled, so that alone needs no step.
            to_refill = self._pool.needs_refill and not self._stopping
            if deaths or to_refill or time.monotonic() >= look_at:
                look_at = time.monotonic() + self._look_every_s
                observe(self._step(deaths))

    def _send(self, notice: Notice | None) -> None:
        """Notify once per end; an extended study ends again, and so does one that is resumed after a failure."""
        if notice is None or self._stopping:
            return
        key = _end_of(self._study, notice) if notice.outcome == "finished" else str(round(self._since))
        notify(notice, self._notify, self._claims, key=key)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Let all workers finish their chunks and write checkpoints; start no others. Safe in a signal handler."""
        self._stopping = True
        self._pool.stop(number)

    def wait_for_workers(self, within_s: float = math.inf) -> None:
        """Return when all workers, which were asked to stop, have ended, or after so many seconds."""
        until = time.monotonic() + within_s
        while self._pool.running and time.monotonic() < until:
            self._pool.reap()
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Kill every worker; journaled results remain. Safe in a signal handler."""
        self._stopping = True
        self._pool.kill()

    def _revive(self) -> bool:
        """Start workers again if a trial was left or new ones are planned; return whether any run, or will soon."""
        extended = self._follow()
        self._history.refresh()
        if self._stopping or not (self._declare_lost(ask=True) or extended):
            return False
        self._fill()
        return self._pool.running > 0 or self._pool.is_waiting

    def _follow(self) -> bool:
        """Follow a revision that somebody added to the study since; return whether there was one."""
        newest = self._study.newest()
        if newest is self._study:
            return False
        self._study = newest
        self._meter.follow(newest)
        self._pool.expect_more_work()
        return True

    def _step(self, deaths: list[WorkerExit]) -> Progress:
        self._exits |= {death.pid: _death(death) for death in deaths}
        extended = self._follow()
        self._history.refresh()
        if not self._stopping and self.is_cancelled:
            self.stop()
        notes = [*map(_in_words, deaths), *self._news_of_checkpoints()]
        if deaths and not self._stopping:
            notes += self._pool.count_false_starts(deaths, began=self._began())
        to_refill = self._pool.needs_refill or extended or (self._may_ask() and self._is_short_of_work())
        if to_refill and not self._stopping:
            self._refill()
        notes += self._pool.news()
        if self._live and not self._stopping:
            self._live.look()
        return self._meter.read(workers=self._pool.running, notes=tuple(notes), stopping=self._stopping)

    def _journal_early_end(self) -> None:
        """Journal why this pool ends although trials are left, unless it was stopped."""
        self._history.refresh()
        if not self._stopping and (reason := failing_alike(self._history, self._since)) is not None:
            self._journal.append(
                fault_event(
                    f"no further trial was begun, because all so far failed alike: {reason}. Correct this, and resume"
                )
            )

    def _began(self) -> set[int]:
        """Return the process IDs of this pool's workers that have begun a trial."""
        attempts = (a for trial in self._history.trials.values() for a in trial.attempts.values())
        found = {self._own_worker(attempt) for attempt in attempts if attempt.start is not None}
        return {pid for pid in found if pid is not None}

    def _own_worker(self, attempt: AttemptHistory) -> int | None:
        """Return the process ID of an attempt's worker if it is one of this machine and job."""
        worker = self._history.workers.get(attempt.writer or "")
        identity = None if worker is None else worker.identity
        if identity is None or replace(identity, pid=0, started=0) != replace(self._identity, pid=0, started=0):
            return None
        return identity.pid

    def _news_of_checkpoints(self) -> Iterator[str]:
        """Yield, once each, which of this pool's trials cannot write checkpoints, and which can again."""
        for number, trial in self._history.trials.items():
            unsaved, said = trial.last.unsaved_since, self._unsaved.get(number)
            if trial.state != "running" or unsaved == said or self._own_worker(trial.last) is None:
                continue
            if unsaved is not None:
                self._unsaved[number] = unsaved
                yield f"trial {number} trains without a checkpoint of epoch {unsaved.epoch}: {unsaved.message}"
            else:
                del self._unsaved[number]
                yield f"trial {number} has a checkpoint again"

    @property
    def is_cancelled(self) -> bool:
        """Whether the user cancelled the whole study since this pool began."""
        return any(cancel.trial is None and cancel.time >= self._since for cancel in self._history.cancels)

    def _refill(self) -> None:
        """Declare the attempts of dead processes lost, and start as many workers as there are trials for."""
        self._declare_lost(ask=self._may_ask())
        self._fill()

    def _fill(self) -> None:
        self._pool.fill(min(self._size, len(left_to_do(self._study, self._history))))
        self._filled = self._pool.running

    def _may_ask(self) -> bool:
        return time.monotonic() >= self._ask_at

    def _is_short_of_work(self) -> bool:
        """Return whether a worker waits for the results of other workers, or one has ended."""
        running = self._pool.processes
        busy = {self._own_worker(t.last) for t in self._history.trials.values() if t.state == "running"}
        return len(running) < self._filled or bool(running - busy)

    def _declare_lost(self, *, ask: bool) -> bool:
        """Declare the attempts of dead processes lost; return whether there were any.

        Args:
            ask: Whether to ask Slurm about those of other jobs; otherwise only this pool's own are looked at.
        """
        detectors = self._detectors if ask else (self._own_detector,)
        if ask:
            self._ask_at = time.monotonic() + _ASK_EVERY_S
        lost = declare_lost(self._history, self._claims, self._journal, detectors)
        if lost:
            self._history.refresh()
            drop_leftovers(self._study.paths, self._history)
        return lost > 0


def _end_of(study: StudyFolder, notice: Notice) -> str:
    """Return what tells this end of a study from those after extensions."""
    return f"{len(study.revisions)}-{sum(notice.trials.values())}"


def _in_words(exited: WorkerExit) -> str:
    soon = f" in {exited.pause_s:.0f} s" if exited.pause_s >= 1 else ""
    return f"{exited}; its trial will be continued{soon}"


def _death(exited: WorkerExit) -> Death:
    cause = KILLED_FOR_MEMORY if exited.out_of_memory else "killed"
    return Death(cause, f"the worker {exited.how}")
