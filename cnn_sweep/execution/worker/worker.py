"""The worker: a process that trains trials until nothing is left to claim, or until it is asked to stop.

A pool forks it from its fork server, or starts it as ``python -m cnn_sweep.execution.worker.worker SETTINGS``. It needs
no other process: it claims its trials itself, journals what happens, and merges the journals into the store when no
other process does.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import sys
import time
from typing import TYPE_CHECKING

from cnn_sweep import streams
from cnn_sweep.errors import CnnSweepError, EnvironmentFault
from cnn_sweep.execution.attempts.cancellation import end_untrained
from cnn_sweep.execution.attempts.candidates import NextAttempt, TrialPicker
from cnn_sweep.execution.attempts.liveness import LocalDetector, declare_lost
from cnn_sweep.execution.attempts.retries import failing_alike
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.study.user_code import uses_user_code
from cnn_sweep.execution.worker.attempt import AttemptRunner, WorkerContext
from cnn_sweep.execution.worker.memory_growth import GrowthWatch
from cnn_sweep.execution.worker.protocol import OWN_WORDS, Ending, StopRequest, WorkerSettings
from cnn_sweep.execution.worker.retention import drop_checkpoints
from cnn_sweep.execution.worker.store_merges import Merger
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Retire
from cnn_sweep.journal.heartbeat import beating
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.journal.trust import check_study
from cnn_sweep.search.pruning_rules import PruningRules
from cnn_sweep.training.graph_key import graph_key
from cnn_sweep.training.session import configure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.execution.worker.study_trainer import StudyTrainer


log = logging.getLogger(__name__)

# Seconds between reads of the journals, at first and at most; they grow, since many workers may share a file system.
_LOOK_FIRST_S = 0.3
_LOOK_MOST_S = 5.0
# A worker stops waiting if the others journal nothing for this many of their epochs, and at least for this many
# seconds. Those that are still alive continue with what is left.
_SILENT_EPOCHS = 4
_SILENT_S = 60.0
# Faults of a file system that is overloaded, or fails for a moment.
_MAY_PASS = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EMFILE, errno.ENOMEM})


class Worker:
    """Claims and trains trials of one study."""

    def __init__(self, study: StudyFolder, settings: WorkerSettings, stop: StopRequest) -> None:
        paths, writer = study.paths, new_writer_name()
        self._study = study
        self._settings = settings
        self._stop = stop
        self._merger = Merger(paths.results)
        self._journal = study.journal("worker", writer=writer, threads=settings.threads)
        self._journal.flush()
        self._history = History(paths, metric=study.sweep.objective.metric, more=study.sweep.further_metrics)
        self._claims = Claims(paths, writer, current())
        self._pruning = PruningRules(study.sweep, study.plan, self._history)
        self._picker = TrialPicker(
            study.plan, self._history, self._claims, self._graph_key, self._pruning, alone=settings.alone
        )
        self._growth = GrowthWatch()
        self._detectors = (LocalDetector(own_job=True),)  # the pool asks Slurm about other jobs, for all its workers
        self._trainer = _start_trainer(study, settings)
        self._runner = self._new_runner()

    def _new_runner(self) -> AttemptRunner:
        context = WorkerContext(
            self._study,
            self._history,
            self._claims,
            self._journal,
            self._stop,
            self._merger,
            self._settings,
            self._pruning,
        )
        return AttemptRunner(context, self._trainer)

    def _follow(self) -> None:
        """Go by a revision that was added to the study since; neither data nor compiled networks change with it."""
        newest = self._study.newest()
        if newest is self._study:
            return
        log.info("the study was extended: %d trials", len(newest.plan.trials))
        self._study = newest
        self._pruning = PruningRules(newest.sweep, newest.plan, self._history)
        self._picker.follow(newest.plan, self._pruning)
        self._runner = self._new_runner()

    def run(self) -> Ending:
        """Train until nothing is left to claim, the worker is asked to stop, or it has to be replaced; return why."""
        with beating(self._journal.path):
            return self._run()

    def _run(self) -> Ending:
        try:
            for _ in self._turns():
                if (claimed := self._claim()) is None:
                    return Ending.OUT_OF_MEMORY if self._picker.leaves_some_alone() else Ending.DONE
                ending = self._runner.run(claimed)
                self._merger.after_trial()
                if ending is Ending.DONE and (grown := self._growth.after_trial()) is not None:
                    log.info("ending, so that another worker replaces this one: %s", grown)
                    self._journal.append(Retire(time=time.time(), reason=f"grown: {grown}"))
                    ending = Ending.GROWN
                if ending is not Ending.DONE:
                    return ending
            return Ending.DONE
        finally:
            self._journal.close()
            self._merger.merge()

    def _turns(self) -> Iterator[int]:
        """Yield once per trial that may begin, until the worker must stop or has reached its number of trials."""
        for turn in itertools.count():
            if self._is_to_stop() or turn == self._settings.trials:
                return
            yield turn

    def _is_to_stop(self) -> bool:
        return bool(self._stop) or self._stop.drains

    def _claim(self) -> NextAttempt | None:
        """Claim a trial; if the results of running trials may let a paused one continue, wait for them."""
        idle_wait = IdleWait(self._history)
        while not self._is_to_stop():
            self._follow()
            self._history.refresh()
            if (reason := failing_alike(self._history, self._settings.since)) is not None:
                log.warning("beginning no more trials: all trials so far failed for the same reason: %s", reason)
                return None
            self._end(self._picker.claim_out_of_reach())
            claimed = self._picker.claim()
            if claimed is not None:
                return claimed
            if declare_lost(self._history, self._claims, self._journal, self._detectors):
                continue
            if (limit := self._pruning.budget.reached()) is not None:
                log.info("beginning no new trial: %s", limit)
                return None
            if self._end(self._picker.claim_leftovers()):
                continue
            if not self._pruning.is_worth_waiting() or not idle_wait.lasts():
                return None
            self._merger.while_training()
            idle_wait.sleep()
        return None

    def _end(self, claimed: Iterator[tuple[NextAttempt, str]]) -> bool:
        """End trials that will never continue, each with its cause; return whether there were any."""
        numbers = []
        for (number, attempt), cause in ((one.key, cause) for one, cause in claimed):
            end = End(time=time.time(), trial=number, attempt=attempt, state="pruned", cause=cause)
            end_untrained(self._study.plan.trials[number], self._history.trials.get(number), self._journal, end)
            numbers.append(number)
        if numbers:
            self._journal.flush()
        for number in numbers:
            drop_checkpoints(self._study.paths, number)
        return bool(numbers)

    def _graph_key(self, params: Mapping[str, object]) -> str:
        return graph_key(self._study.sweep.resolve(params))


class IdleWait:
    """Limits how long an idle worker waits for other workers' results, which may let a paused trial continue."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._news_at = time.monotonic()
        self._events = 0.0
        self._pause_s = _LOOK_FIRST_S

    def sleep(self) -> None:
        """Sleep a little, longer each time."""
        began = time.monotonic()
        time.sleep(self._pause_s)
        self._news_at += time.monotonic() - began - self._pause_s  # a suspended job suspends the others' news, too
        self._pause_s = min(_LOOK_MOST_S, 1.3 * self._pause_s)

    def lasts(self) -> bool:
        """Return whether to continue waiting; the caller has refreshed the history."""
        newest = max((worker.last_event for worker in self._history.workers.values()), default=0.0)
        if newest != self._events:
            self._events, self._news_at = newest, time.monotonic()
        epochs = (
            row.seconds
            for trial in self._history.trials.values()
            if trial.state == "running"
            for row in trial.last.epochs.values()
        )
        return time.monotonic() - self._news_at < max(_SILENT_S, _SILENT_EPOCHS * max(epochs, default=0.0))


def _start_trainer(study: StudyFolder, settings: WorkerSettings) -> StudyTrainer:
    memory = None if settings.alone else settings.gpu_memory_mb
    configure(settings.threads, gpu_memory_mb=memory, whole_keras=uses_user_code(study.sweep))
    from cnn_sweep.execution.worker.study_trainer import StudyTrainer  # noqa: PLC0415 - starts TensorFlow, after its configuration

    return StudyTrainer(study, staged_in=settings.stage)


def main() -> int:
    """Run one worker; return the process's exit code."""
    streams.start_log()  # before TensorFlow is imported, which would add a log of its own
    settings = WorkerSettings.from_argument(sys.argv[1])
    stop = StopRequest(settings.word)
    stop.listen()
    try:
        check_study(StudyPaths(settings.results, settings.study))
        with shared_modes(settings.results):
            return Worker(StudyFolder.open(settings.results, settings.study), settings, stop).run()
    except CnnSweepError as error:
        message, exit_code = str(error), error.exit_code
    except OSError as error:
        file = "" if error.filename is None else f"{error.filename}: "
        message = f"{file}{error.strerror or error}; check the file system, then resume"
        # Another worker may have more luck; if not, the pool soon starts no more.
        exit_code = 1 if error.errno in _MAY_PASS else EnvironmentFault.exit_code
    with contextlib.suppress(OSError):  # the log, where this goes, may be on the file system that fails
        print(f"{OWN_WORDS}{message}", file=sys.stderr)  # noqa: T201 - this is the worker's command line
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
