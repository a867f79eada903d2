"""``run`` and ``resume``: train in the foreground behind one live display."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from cnn_sweep.cli.preparing import prepare_shown
from cnn_sweep.cli.reading import print_leaderboard
from cnn_sweep.cli.tables import can_redraw
from cnn_sweep.execution.attempts.candidates import left_to_do
from cnn_sweep.execution.machine import usable_cores, useful_workers
from cnn_sweep.execution.pool.local import run_local
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.study.threads import threads_of
from cnn_sweep.execution.study.user_code import check_user_code
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.messages import plural
from cnn_sweep.report.live import in_words
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cnn_sweep.execution.pool.progress import Progress

_TOP = 10
# What the live line leaves out where a terminal is too narrow for all of it, what matters least first.
_LEAST: Final = ("rate", "running", "bar", "limits", "left", "best")
_BAR = 24
# Where the display is a file and not a terminal, one line this often, in seconds.
_LINE_EVERY_S = 10.0


@dataclass(frozen=True)
class How:
    """How to train on this machine.

    Attributes:
        workers: Worker processes; None for one a core.
        threads: Threads of each; None for those of the study.
        notify: Whom to tell of the end.
    """

    workers: int | None
    threads: int | None
    notify: Sequence[str] = ()


def run(sweep: Path, results: Path, how: How, *, extend: bool) -> int:
    """Start or continue the study of a sweep file; return the exit code."""
    loaded = Sweep.load(sweep)
    paths = StudyPaths(results, loaded.study)
    threads_of(paths, loaded, how.threads)  # refused before anything is written
    if not paths.sweep.is_file():  # a study that exists has a copy of the code
        check_user_code(loaded)
    prepare_shown(loaded, results)  # before the study exists, so that a mistake in the data can be mended in the file
    return _train(StudyFolder.open_or_create(loaded, results, extend=extend), how)


def resume(study: str, results: Path, how: How, *, more: Mapping[str, float | int]) -> int:
    """Continue a study by name, with larger limits if there are any; return the exit code."""
    found = StudyFolder.open(results, study)
    threads_of(found.paths, found.sweep, how.threads)
    if more:
        found = found.extend_search(more)
    prepare_shown(found.sweep, results)
    return _train(found, how)


def _train(study: StudyFolder, how: How) -> int:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    _warn_of_skipped(study, console)
    _say_what_idles(study, how, console)
    with _Display(study, console) as display:
        progress = run_local(study, display.show, workers=how.workers, threads=how.threads, notify=how.notify)
    console.print(f"{study.paths.study}: {_words(progress)}", markup=False)
    if (note := study.paths.read_note()) is not None:
        console.print(f"{study.paths.study}: note: {note}", markup=False)
    _say_how_it_ended(study, progress, console)
    print_leaderboard(study.paths.results, study.paths.study, _TOP)
    return 1 if progress.counts.get("failed") else 0


def _warn_of_skipped(study: StudyFolder, console: Console) -> None:
    plan = study.plan
    for note in plan.notes:
        console.print(note, markup=False)
    if plan.invalid:
        first = plan.invalid[0]
        console.print(
            f"{plural(len(plan.invalid), 'configuration')} skipped, since the network cannot be built; the first: "
            f"{first.params}: {first.reason} (`cnn-sweep plan` lists all)",
            markup=False,
        )


def _say_what_idles(study: StudyFolder, how: How, console: Console) -> None:
    """Say how to use the cores that the user's number of workers leaves idle, where there are trials for one more."""
    threads = threads_of(study.paths, study.sweep, how.threads)
    if how.workers is None or how.workers >= (most := useful_workers(threads)):
        return
    history = study.history()
    if len(left_to_do(study, history)) > how.workers:
        used = f"{how.workers * threads} of {usable_cores()} cores in use"
        more = f"`--workers {most}` trains more trials at once"
        console.print(f"{study.paths.study}: {used}; {more}", markup=False)


def _say_how_it_ended(study: StudyFolder, progress: Progress, console: Console) -> None:
    name, counts = study.paths.study, progress.counts
    if progress.failing_alike is not None:
        left = plural(progress.total - progress.finished, "trial")
        console.print(f"{name}: stopped with {left} left: those so far failed alike", markup=False)
        console.print(f"  {progress.failing_alike}", markup=False)
    elif (limit := progress.ended_by) is not None:
        console.print(f"{name}: ended by its budget: {limit}; a larger one continues it", markup=False)
    elif progress.finished < progress.total:
        others = plural(counts.get("running", 0), "trial")
        console.print(f"{name}: nothing left to claim here; {others} running elsewhere", markup=False)
    elif not progress.done_here:
        console.print(f"{name}: finished already, nothing was run", markup=False)
    if counts.get("failed"):
        console.print(
            f"{plural(counts['failed'], 'trial')} failed; `cnn-sweep leaderboard {name} --columns trial,cause,message` "
            f"and `cnn-sweep show {name} TRIAL` say why",
            markup=False,
        )


class _Display:
    """One line that keeps itself up to date on a terminal, and a line now and then elsewhere."""

    def __init__(self, study: StudyFolder, console: Console) -> None:
        self._name = study.paths.study
        self._console = console
        self._redraws = can_redraw(console)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._printed = time.monotonic()
        self._said_stopping = False

    def __enter__(self) -> Self:
        if self._redraws:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        for note in progress.notes:
            self._console.print(f"{note}; its trial will be continued", markup=False)
        if progress.stopping and not self._said_stopping:
            self._said_stopping = True
            words = "stopping after the running chunk; press Ctrl-C again to kill the workers"
            self._console.print(f"{self._name}: {words}", markup=False)
        if self._redraws:
            self._live.update(_picture(self._name, progress, self._console.width), refresh=True)
        elif time.monotonic() - self._printed >= _LINE_EVERY_S:
            self._printed = time.monotonic()
            self._console.print(f"{self._name}: {_words(progress)}", markup=False, soft_wrap=True)


def _picture(name: str, progress: Progress, width: int) -> RichTable:
    """Draw the live line; where the terminal is too narrow for it, without what matters least."""
    facts, bar = _facts(progress), True
    for least in _LEAST:
        if cell_len(name) + (_BAR + 1) * bar + 1 + cell_len(_joined(facts)) <= width:
            break
        facts.pop(least, None)
        bar = bar and least != "bar"
    picture = [ProgressBar(total=max(1, progress.total), completed=progress.finished, width=_BAR)] if bar else []
    grid = RichTable.grid(padding=(0, 1))
    grid.add_row(Text(name, "bold", no_wrap=True, overflow="ellipsis"), *picture, Text(_joined(facts), no_wrap=True))
    return grid


def _words(progress: Progress) -> str:
    return _joined(_facts(progress))


def _joined(facts: Mapping[str, str]) -> str:
    return ", ".join(filter(None, facts.values()))


def _facts(progress: Progress) -> dict[str, str]:
    """Say how far the study is: what is told to its words, in their order."""
    counts, best = progress.counts, progress.best
    rate, left = [*in_words(progress.pace), "", ""][:2]
    return {
        "done": f"{progress.finished}/{progress.total} done",
        "running": f"{counts['running']} running" if counts.get("running") else "",
        "failed": f"{counts['failed']} failed" if counts.get("failed") else "",
        "best": "" if best is None else f"best trial {best[0]}: {best[1]:.4f}",
        "limits": ", ".join(map(str, progress.limits)),
        "rate": rate,
        "left": left,
    }
