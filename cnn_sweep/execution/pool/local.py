"""Run a study on this machine, in the foreground, until it is finished or the user stops it."""

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
        study: What to run.
        observe: Told several times a second how far it is.
        workers: Worker processes; one a usable core by default.
        threads: Threads of each worker; by default those of the study.
        notify: Whom to tell that the study ended, as of :func:`cnn_sweep.execution.pool.notifications.notify`.

    Returns:
        How far the study is at the end.

    Raises:
        Interrupted: The user asked to stop, here or by `cancel`; the study can be continued.
        StudyError: The study's workers have another number of threads.
        EnvironmentFault: Workers cannot even begin.
    """
    size = workers or default_workers()
    with study.sweep.locating("data"):  # here, so that a fault is seen at once
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
    """Let the first interrupt stop the workers after a checkpoint, and the second at once.

    Yields:
        The signals that came.
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
