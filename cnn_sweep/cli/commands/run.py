"""``run``: trains a sweep in the foreground on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from cnn_sweep.cli.commands.leaderboard import print_leaderboard
from cnn_sweep.cli.ui.image_preparation import prepare_images
from cnn_sweep.cli.ui.options import RESULTS, Extend, Notify, Results, Set, SweepFile, Threads, Trust, Workers
from cnn_sweep.cli.ui.studies import followed_in_words
from cnn_sweep.cli.ui.sweeps import load_sweep
from cnn_sweep.cli.ui.terminal import Console
from cnn_sweep.cli.ui.training_progress import TrainingProgress
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.attempts.take_over import silent_attempts, take_over, unseen_attempts, unseen_in_words
from cnn_sweep.execution.machine import (
    WORKER_BYTES,
    default_workers,
    usable_cores,
    usable_memory,
    visible_gpus,
    wanted_workers,
)
from cnn_sweep.execution.pool.local import begin_study, run_local
from cnn_sweep.execution.pool.when_finished import end_of
from cnn_sweep.execution.study.in_use import who_trains
from cnn_sweep.execution.study.jobs import outcomes
from cnn_sweep.execution.study.threads import threads_of
from cnn_sweep.messages import plural
from cnn_sweep.report.live import progress_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.execution.attempts.take_over import Unseen
    from cnn_sweep.execution.pool.progress import Progress
    from cnn_sweep.execution.study.study_folder import StudyFolder

_TOP = 10  # rows of the leaderboard at the end


@dataclass(frozen=True)
class LocalOptions:
    """Options of training on this machine.

    Attributes:
        workers: Number of worker processes; None for one per core.
        threads: Threads of each worker; None for the study's.
        notify: Shell commands and https addresses that receive a message at the end.
        take_over: Whether to take trials over from silent processes that cannot be seen from here.
    """

    workers: int | None
    threads: int | None
    notify: Sequence[str] = ()
    take_over: bool = False


def run(
    sweep: SweepFile,
    workers: Workers = None,
    threads: Threads = None,
    extend: Extend = False,
    notify: Notify = [],  # noqa: B006 - typer copies it
    changes: Set = [],  # noqa: B006 - typer copies it
    _trust: Trust = False,
    results: Results = RESULTS,
) -> None:
    """Run a sweep on this machine: start its study, or continue the unfinished trials.

    Examples:
      cnn-sweep run sweeps/digits.yaml
      cnn-sweep run sweeps/digits.yaml --set study=quick --set training.epochs=2
    """
    study = begin_study(load_sweep(sweep, changes), results, prepare_images, threads=threads, extend=extend)
    train(study, LocalOptions(workers, threads, notify))


def train(study: StudyFolder, options: LocalOptions) -> None:
    """Train a study's unfinished trials, show the progress, then print the outcome and the leaderboard.

    Raises:
        typer.Exit: With exit code 1 if trials failed, or silent processes that cannot be seen hold some; else 0.
    """
    code = train_here(study, options)
    print_leaderboard(study.paths.results, study.paths.study, _TOP)
    raise typer.Exit(code)


def train_here(study: StudyFolder, options: LocalOptions) -> int:
    """Train as :func:`train` does, but return the exit code, and print no leaderboard."""
    name = study.paths.study
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    _warn_of_skipped(study, console)
    _mention_others(study, console)
    memory = usable_memory()  # read once, so that what is said and what is done agree
    workers = options.workers or default_workers(threads_of(study.paths, study.sweep, options.threads), memory)
    _mention_idle_cores(study, options, memory, console)
    if options.take_over:
        take_over(study, lambda words: console.print(f"{name}: {words}", markup=False))
    else:
        _print_unseen(name, silent_attempts(study), console)
    with TrainingProgress(name, console) as display:
        progress = run_local(study, display.show, workers=workers, threads=options.threads, notify=options.notify)
    console.print(f"{name}: {progress_in_words(progress)}", markup=False)
    if (note := study.paths.read_note()) is not None:
        console.print(f"{name}: note: {note}", markup=False)
    unseen = unseen_attempts(study) if progress.finished < progress.total else []
    _print_outcome(name, progress, console, unseen)
    for line in followed_in_words(name, outcomes(study.paths, end_of(len(study.paths.revisions()), progress.total))):
        console.print(f"{name}: {line}", markup=False)
    return 1 if progress.counts.get("failed") or any(one.is_silent for one in unseen) else 0


def _warn_of_skipped(study: StudyFolder, console: Console) -> None:
    plan = study.plan
    for note in plan.notes:
        console.print(note, markup=False)
    if plan.invalid:
        first = plan.invalid[0]
        console.print(
            f"skipped {plural(len(plan.invalid), 'configuration')} whose network cannot be built; the first: "
            f"{first.params}: {first.reason} (`cnn-sweep plan` lists all)",
            markup=False,
        )


def _mention_others(study: StudyFolder, console: Console) -> None:
    """Say who trains the study already, which may be a command in another terminal that was forgotten."""
    if (others := who_trains(study.paths)) is not None:
        name = study.paths.study
        words = f"is being trained already by {others}; this command adds its workers to them, on other trials"
        console.print(f"{name} {words} (`cnn-sweep cancel {name}` stops all)", markup=False)


def _mention_idle_cores(study: StudyFolder, options: LocalOptions, memory: float, console: Console) -> None:
    """Say why cores stay idle although there are trials for them: too few workers were asked for, or fit in memory."""
    threads = threads_of(study.paths, study.sweep, options.threads)
    fitting = default_workers(threads, memory)
    workers = options.workers or fitting
    if workers >= wanted_workers(threads) or visible_gpus() or len(left_to_do(study, study.history())) <= workers:
        return
    said = f"{study.paths.study}: {workers * threads} of {usable_cores()} cores in use"
    if workers < fitting:
        console.print(f"{said}; `--workers {fitting}` trains more trials at once", markup=False)
    elif options.workers is None:
        why = f"a worker needs about {WORKER_BYTES / 1e9:.0f} GB, and {memory / 1e9:.1f} GB may be used"
        console.print(f"{said}: {why} (`--workers` sets another number of workers)", markup=False)


def _print_outcome(name: str, progress: Progress, console: Console, unseen: Sequence[Unseen]) -> None:
    counts = progress.counts
    if progress.failing_alike is not None:
        left = plural(progress.total - progress.finished, "trial")
        console.print(f"{name}: stopped with {left} left: all trials so far failed for the same reason", markup=False)
        console.print(f"  {progress.failing_alike}", markup=False)
    elif (limit := progress.ended_by) is not None:
        console.print(f"{name}: budget used up: {limit}; {limit.cure}", markup=False)
    elif progress.finished < progress.total:
        others = max(0, counts.get("running", 0) - len(unseen))
        running = f"; {plural(others, 'trial')} running elsewhere" if others or not unseen else ""
        console.print(f"{name}: no trials left to start{running}", markup=False)
    elif not progress.done_here:
        console.print(f"{name}: already finished; nothing to run", markup=False)
    _print_unseen(name, unseen, console)
    if counts.get("failed"):
        console.print(
            f"{plural(counts['failed'], 'trial')} failed; `cnn-sweep leaderboard {name} --columns trial,cause,message` "
            f"and `cnn-sweep show {name} TRIAL` show the reasons",
            markup=False,
        )


def _print_unseen(name: str, unseen: Sequence[Unseen], console: Console) -> None:
    for line in unseen_in_words(name, unseen):
        console.print(f"{name}: {line}", markup=False)
