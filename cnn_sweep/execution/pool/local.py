"""Run a study on this machine, in the foreground, until it is finished or the user stops it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from cnn_sweep.errors import Interrupted
from cnn_sweep.execution.environment.gpus import visible_gpus
from cnn_sweep.execution.pool.supervisor import PoolSupervisor
from cnn_sweep.execution.study.threads import settle_threads
from cnn_sweep.execution.worker.settings import WorkerSettings
from cnn_sweep.training.data.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from cnn_sweep.execution.monitoring.study_progress import Progress
    from cnn_sweep.execution.study.frozen import FrozenStudy

# A warm worker holds TensorFlow and its graphs: about this much memory, in bytes.
_WORKER_BYTES = 1.5e9
# While one of them prepares its next epoch, another one computes.
_WORKERS_PER_GPU = 2


def default_workers() -> int:
    """One worker a usable core, as far as memory allows; on GPUs a few for each of them."""
    wanted = min(usable_cores(), most_workers())
    gpus = visible_gpus()
    return max(1, min(wanted, _WORKERS_PER_GPU * len(gpus)) if gpus else wanted)


def most_workers() -> int:
    """Workers that fit into this machine's memory, at least one."""
    return max(1, int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _WORKER_BYTES))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def useful_workers(threads: int) -> int:
    """Workers of so many threads that keep all usable cores busy, as far as memory allows; on GPUs cores hardly matter.

    Returns:
        At least 1.
    """
    return 1 if visible_gpus() else max(1, min(usable_cores() // threads, most_workers()))


def run_local(
    study: FrozenStudy,
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
        notify: Whom to tell that the study ended, as of :func:`cnn_sweep.execution.monitoring.notifications.notify`.

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
    settings = WorkerSettings(study.paths.results, study.paths.study, threads, since=time.time())
    supervisor = PoolSupervisor(study, settings, size, notify=notify)
    with _stopping_on_signals(supervisor) as asked:
        progress = supervisor.run(observe)
    if asked:
        raise Interrupted(f"stopped; `cnn-sweep resume {study.paths.study}` continues")
    if supervisor.is_cancelled and progress.finished < progress.total:
        raise Interrupted(f"{study.paths.study} was cancelled; `cnn-sweep resume {study.paths.study}` continues")
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
