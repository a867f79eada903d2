"""Run a study on this machine, in the foreground, until it is finished or the user stops it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from cnn_sweep.errors import Interrupted
from cnn_sweep.execution.freeze import worker_event
from cnn_sweep.execution.picking import remaining
from cnn_sweep.execution.pool import Pool
from cnn_sweep.execution.progress import Progress, ProgressMeter
from cnn_sweep.execution.reconcile import declare_lost
from cnn_sweep.execution.settings import WorkerSettings
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.store.merge import merge
from cnn_sweep.training import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from cnn_sweep.execution.freeze import FrozenStudy

_POLL_S = 0.2
# A warm worker holds TensorFlow and its graphs: about this much memory, in bytes.
_WORKER_BYTES = 1.5e9


def default_workers() -> int:
    """One worker a usable core, as far as memory allows."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(usable_cores(), int(memory / _WORKER_BYTES)))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_local(
    study: FrozenStudy,
    observe: Callable[[Progress], None],
    *,
    workers: int | None = None,
    threads: int | None = None,
) -> Progress:
    """Train every unfinished trial of a study on this machine.

    Args:
        study: What to run.
        observe: Told several times a second how far it is.
        workers: Worker processes; one a usable core by default.
        threads: Threads of each worker; by default the cores are divided between the workers.

    Returns:
        How far the study is at the end.

    Raises:
        Interrupted: The user asked to stop; the study can be continued.
        EnvironmentFault: Workers cannot even begin.
    """
    wanted = workers or default_workers()
    if study.info is not None:
        data.prepare(study.sweep.data, study.sweep.folder, study.paths.results / "data")
    run = _LocalRun(study, wanted, threads or max(1, usable_cores() // wanted))
    with run.stopping_on_signals():
        return run.until_finished(observe)


class _LocalRun:
    """A pool, and the journal in which its keeper declares dead workers' attempts lost."""

    def __init__(self, study: FrozenStudy, workers: int, threads: int) -> None:
        paths = study.paths
        writer = new_writer_name()
        self._study = study
        self._history = History(paths, metric=study.sweep.objective.metric)
        self._history.refresh()
        self._claims = Claims(paths, writer, current())
        self._journal = JournalWriter(paths.journal(writer))
        self._journal.append(worker_event(threads=0))
        self._meter = ProgressMeter(study, self._history)
        self._pool = Pool(WorkerSettings(paths.results, paths.study, threads), workers, paths.folder / "logs")
        self._workers = workers
        self._interrupts = 0

    def until_finished(self, observe: Callable[[Progress], None]) -> Progress:
        try:
            self._refill()
            while self._pool.running:
                time.sleep(_POLL_S)
                observe(self._step())
        finally:
            self._pool.kill()
            self._journal.close()
        merge(self._study.paths.results, wait_s=10.0)
        self._history.refresh()
        if self._interrupts:
            raise Interrupted(f"stopped; `cnn-sweep resume {self._study.paths.study}` continues")
        return self._meter.read(workers=0)

    def _step(self) -> Progress:
        deaths = self._pool.reap()
        progressed = self._history.refresh()
        if deaths and not self._interrupts:
            self._pool.count_false_starts(deaths, progressed=progressed)
            self._refill()
        return self._meter.read(workers=self._pool.running, notes=tuple(str(death) for death in deaths))

    def _refill(self) -> None:
        """Free the trials of dead workers and start as many workers as there are trials for."""
        if declare_lost(self._history, self._claims, self._journal):
            self._history.refresh()
        self._pool.fill(min(self._workers, len(remaining(self._study.plan, self._history))))

    @contextlib.contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Let the first interrupt stop the workers after a checkpoint, and the second at once."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._interrupts += 1
            if self._interrupts == 1:
                self._pool.stop()
            else:
                self._pool.kill()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
