"""Runs a study on this machine, in the foreground, until it is finished or the user stops it."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

from cnn_sweep.errors import Interrupted
from cnn_sweep.execution.machine import default_workers
from cnn_sweep.execution.pool.supervisor import PoolSupervisor
from cnn_sweep.execution.study.threads import settle_threads
from cnn_sweep.execution.worker.protocol import WorkerSettings
from cnn_sweep.training.data.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from cnn_sweep.execution.pool.progress import Progress
    from cnn_sweep.execution.study.study_folder import StudyFolder


def run_local(
    study: StudyFolder,
    observe: Callable[[Progress], None],
    *,
    workers: int | None = None,
    threads: int | None = None,
    notify: Sequence[str] = (),
) -> Progress:
    """Train every unfinished trial of a study on this machine.

    Args:
        study: The study to run.
        observe: Called with the progress several times a second.
        workers: Number of worker processes; by default one per usable core.
        threads: Threads of each worker; by default the study's number.
        notify: Who is notified at the study's end, as in :func:`cnn_sweep.execution.pool.notifications.notify`.

    Returns:
        The study's progress at the end.

    Raises:
        Interrupted: The user asked to stop, here or by `cancel`; the study can be continued.
        StudyError: The study's workers have another number of threads.
        EnvironmentFault: Workers cannot start.
    """
    size = workers or default_workers()
    with study.sweep.locate_errors("data"):  # before workers start, so that an error is shown at once
        prepare(study.sweep.data, study.sweep.folder, study.data_root)
    threads = settle_threads(study.paths, study.sweep, threads)
    settings = WorkerSettings(study.paths.results, study.name, threads, since=time.time())
    supervisor = PoolSupervisor(study, settings, size, notify=notify)
    with _stopping_on_signals(supervisor) as asked:
        progress = supervisor.run(observe)
    if asked:
        raise Interrupted(f"stopped; `cnn-sweep resume {study.name}` continues")
    if supervisor.is_cancelled and progress.finished < progress.total:
        raise Interrupted(f"{study.name} was cancelled; `cnn-sweep resume {study.name}` continues")
    return progress


@contextlib.contextmanager
def _stopping_on_signals(supervisor: PoolSupervisor) -> Iterator[list[int]]:
    """Stop the workers after a checkpoint on the first signal, and kill them on the second.

    Yields:
        The signals received so far.
    """
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) == 1:
            supervisor.stop()
        else:
            supervisor.kill()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
