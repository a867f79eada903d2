"""Runs a study on this machine, in the foreground, until it is finished or the user stops it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, Interrupted, faults_of_the_system
from cnn_sweep.execution.machine import default_workers
from cnn_sweep.execution.pool.notifications import notify_dead_end
from cnn_sweep.execution.pool.supervisor import PoolSupervisor
from cnn_sweep.execution.study.earlier_studies import with_learned
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.study.threads import settle_threads, threads_of
from cnn_sweep.execution.study.user_code import check_user_code, uses_user_code
from cnn_sweep.execution.worker.protocol import WorkerSettings
from cnn_sweep.journal.paths import StudyPaths, is_study
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.journal.sweep_files import restore_sweep_files
from cnn_sweep.journal.trust import check_code, check_study
from cnn_sweep.training.data.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from cnn_sweep.execution.pool.progress import Progress
    from cnn_sweep.sweep.sweep import Sweep


def begin_study(
    sweep: Sweep,
    results: Path,
    prepare_images: Callable[[Sweep, Path], object],
    *,
    threads: int | None = None,
    extend: bool = False,
) -> StudyFolder:
    """Check a sweep and prepare its images, then create its study or open the existing one.

    Args:
        sweep: The sweep to run.
        results: Root of all studies.
        prepare_images: Prepares the sweep's images below ``results`` and shows the progress.
        threads: Threads of each worker; by default the study's number.
        extend: Accept a sweep that only adds choices or trials to the study.

    Raises:
        InputError: The sweep, its code or its images are wrong.
        StudyError: The study exists with another sweep or another number of threads.
        EnvironmentFault: Others could put code into the study or the folder of the sweep.
    """
    paths = StudyPaths(results, sweep.study)
    check_study(paths)
    sweep = with_learned(sweep, results)
    restore_sweep_files(paths, sweep)  # raises before the images are prepared
    threads_of(paths, sweep, threads)  # raises before anything is written
    if not is_study(paths):  # an existing study has a copy of the code
        check_user_code(sweep)
        if uses_user_code(sweep):
            check_code(sweep.folder, results)
    prepare_images(sweep, results)  # before the study exists, so that mistakes in the data can be fixed in the sweep
    return StudyFolder.open_or_create(sweep, results, extend=extend)


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
        workers: Number of worker processes; by default as many as there are cores and memory for.
        threads: Threads of each worker; by default the study's number.
        notify: Who is notified at the study's end, as in :func:`cnn_sweep.execution.pool.notifications.notify`.

    Returns:
        The study's progress at the end.

    Raises:
        Interrupted: The user asked to stop, here or by `cancel`; the study can be continued.
        StudyError: The study's workers have another number of threads.
        EnvironmentFault: Workers cannot start, or others could put code into the study.
    """
    check_study(study.paths)
    with shared_modes(study.paths.results):
        return _run(study, observe, workers, threads, notify)


def _run(
    study: StudyFolder,
    observe: Callable[[Progress], None],
    size: int | None,
    threads: int | None,
    notify: Sequence[str],
) -> Progress:
    with study.sweep.locate_errors("data"):  # before workers start, so that an error is shown at once
        prepare(study.sweep.data, study.sweep.folder, study.data_root)
    threads = settle_threads(study.paths, study.sweep, threads)
    settings = WorkerSettings(study.paths.results, study.name, threads, since=time.time())
    with faults_of_the_system():
        supervisor = PoolSupervisor(study, settings, size or default_workers(threads), notify=notify)
    try:
        with _stopping_on_signals(supervisor) as asked, faults_of_the_system():
            progress = supervisor.run(observe)
    except EnvironmentFault as fault:
        notify_dead_end(study, str(fault), notify, since=settings.since)
        raise
    if asked:
        raise Interrupted(f"stopped; `cnn-sweep resume {study.name}` continues")
    if supervisor.is_cancelled and progress.finished < progress.total:
        raise Interrupted(f"{study.name} was cancelled; `cnn-sweep resume {study.name}` continues")
    return progress


@contextlib.contextmanager
def _stopping_on_signals(supervisor: PoolSupervisor) -> Iterator[list[int]]:
    """Stop the workers after a checkpoint on the first signal, and kill them on the second.

    In another thread than the main one, where Python allows no handlers, signals keep their meaning.

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

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
