"""``run`` and ``resume``: train in the foreground behind one live display."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from cnn_sweep.cli.preparing import prepare_shown
from cnn_sweep.cli.reading import print_leaderboard
from cnn_sweep.execution.freezing.freeze import FrozenStudy, enlarge, freeze
from cnn_sweep.execution.pool.local import run_local
from cnn_sweep.sweep.spec import Sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cnn_sweep.execution.monitoring.progress import Progress

_TOP = 10
# Where the display is a file and not a terminal, one line this often, in seconds.
_LINE_EVERY_S = 10.0


@dataclass(frozen=True)
class How:
    """How to train on this machine.

    Attributes:
        workers: Worker processes; None for one a core.
        threads: Threads of each; None divides the cores.
        notify: Whom to tell of the end.
    """

    workers: int | None
    threads: int | None
    notify: Sequence[str] = ()


def run(sweep: Path, results: Path, how: How, *, extend: bool) -> int:
    """Start or continue the study of a sweep file; return the exit code."""
    loaded = Sweep.load(sweep)
    prepare_shown(loaded, results)  # before the study exists, so that a mistake in the data can be mended in the file
    return _train(freeze(loaded, results, extend=extend), how)


def resume(study: str, results: Path, how: How, *, more: Mapping[str, float | int]) -> int:
    """Continue a study by name, with larger limits if there are any; return the exit code."""
    found = enlarge(results, study, more)
    prepare_shown(found.sweep, results)
    return _train(found, how)


def _train(study: FrozenStudy, how: How) -> int:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    _warn_of_skipped(study, console)
    with _Display(study, console) as display:
        progress = run_local(study, display.show, workers=how.workers, threads=how.threads, notify=how.notify)
    _say_how_it_ended(study, progress, console)
    print_leaderboard(study.paths.results, study.paths.study, _TOP)
    return 1 if progress.counts.get("failed") else 0


def _warn_of_skipped(study: FrozenStudy, console: Console) -> None:
    plan = study.plan
    for note in plan.notes:
        console.print(note, markup=False)
    if plan.invalid:
        first = plan.invalid[0]
        console.print(
            f"{len(plan.invalid)} configurations are skipped, their network cannot be built; the first: "
            f"{first.params}: {first.reason} (`cnn-sweep plan` lists all)",
            markup=False,
        )


def _say_how_it_ended(study: FrozenStudy, progress: Progress, console: Console) -> None:
    name, counts = study.paths.study, progress.counts
    if progress.failing_alike is not None:
        left = progress.total - progress.finished
        console.print(f"{name}: stopped with {left} trials left: those so far failed alike", markup=False)
        console.print(f"  {progress.failing_alike}", markup=False)
    elif (limit := progress.ended_by) is not None:
        console.print(f"{name}: ended by its budget: {limit}; a larger one continues it", markup=False)
    elif progress.finished < progress.total:
        others = counts.get("running", 0)
        console.print(f"{name}: nothing left to claim here; {others} trials are running elsewhere", markup=False)
    elif not progress.done_here:
        console.print(f"{name}: finished already, nothing was run", markup=False)
    if counts.get("failed"):
        console.print(
            f"{counts['failed']} trials failed; `cnn-sweep leaderboard {name} --columns trial,state,cause` and "
            f"`cnn-sweep show {name} TRIAL` say why",
            markup=False,
        )


class _Display:
    """One line that keeps itself up to date on a terminal, and a line now and then elsewhere."""

    def __init__(self, study: FrozenStudy, console: Console) -> None:
        self._name = study.paths.study
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._printed = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        for note in progress.notes:
            self._console.print(f"{note}; its trial will be continued", markup=False)
        if self._console.is_terminal:
            self._live.update(_picture(self._name, progress), refresh=True)
        elif time.monotonic() - self._printed >= _LINE_EVERY_S:
            self._printed = time.monotonic()
            self._console.print(f"{self._name}: {_words(progress)}", markup=False, soft_wrap=True)


def _picture(name: str, progress: Progress) -> RichTable:
    grid = RichTable.grid(padding=(0, 1))
    grid.add_row(
        Text(name, style="bold"),
        ProgressBar(total=max(1, progress.total), completed=progress.finished, width=24),
        Text(_words(progress)),
    )
    return grid


def _words(progress: Progress) -> str:
    counts = progress.counts
    words = [f"{progress.finished}/{progress.total} done", f"{counts.get('running', 0)} running"]
    if counts.get("failed"):
        words.append(f"{counts['failed']} failed")
    if progress.best is not None:
        words.append(f"best trial {progress.best[0]}: {progress.best[1]:.4f}")
    words.append(f"{progress.per_minute:.1f} trials/min")
    words += map(str, progress.limits)
    if progress.left_s is not None:
        words.append(f"{_duration(progress.left_s)} left")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
