"""``status --watch``: follows a study, on a page of the terminal or as lines in a pipe or a file."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cnn_sweep.cli.ui.interrupt import interruptible
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.tables import table_box
from cnn_sweep.cli.ui.terminal import Console, can_redraw
from cnn_sweep.errors import InputError
from cnn_sweep.messages import listed, plural
from cnn_sweep.report.leaderboards.leaderboard import shown
from cnn_sweep.report.live import (
    Moment,
    ended_jobs_in_words,
    first_rung_in_words,
    in_words,
    is_over,
    limits_in_words,
    line,
    lost_in_words,
    moment,
    sparkline,
    unsaved_in_words,
)
from cnn_sweep.slurm.commands import RareSlurmCli
from cnn_sweep.study import known_studies
from cnn_sweep.sweep.states import FINISHED, counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cnn_sweep.cli.ui.interrupt import Interrupt
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.slurm.commands import SlurmCli

    _Look = Callable[[], tuple[dict[str, Any], Moment]]

_SPARKS = 60


def follow(results: Path, study: str | None, interval_s: float) -> None:
    """Show a study until all its trials are finished or the user interrupts.

    Raises:
        InputError: No study is named, and there are none or several.
    """
    name = study if study is not None else _only_study(results)
    look = partial(_look, results, name, RareSlurmCli())
    with interruptible() as interrupt:
        console = Console()
        if can_redraw(console):
            _page(look, interval_s, interrupt, console)
        else:
            _lines(look, interval_s, interrupt)


def _only_study(results: Path) -> str:
    names = known_studies(results)
    if len(names) != 1:
        raise InputError(f"--watch shows one study; studies in {results}: {listed(names)}")
    return names[0]


def _look(results: Path, name: str, slurm: SlurmCli) -> tuple[dict[str, Any], Moment]:
    study = open_merged(results, name)
    with study.store:
        report = study.status(slurm=slurm)
        return report, moment(study.store, name, time.time(), has_budget=bool(report["limits"]))


def _line(report: dict[str, Any], found: Moment) -> str:
    return ", ".join(filter(None, (line(report, found), report["idle"])))


def _lines(look: _Look, interval_s: float, interrupt: Interrupt) -> None:
    while True:
        report, found = look()
        print(_line(report, found), flush=True)
        if is_over(report) or interrupt.wait(interval_s):
            return


def _page(look: _Look, interval_s: float, interrupt: Interrupt, console: Console) -> None:
    report, found = look()
    with Live(_screen(report, found, console), console=console, screen=True, auto_refresh=False) as live:
        while not is_over(report) and not interrupt.wait(interval_s):
            report, found = look()
            live.update(_screen(report, found, console), refresh=True)
    console.print(page(report, found))


def _screen(report: dict[str, Any], found: Moment, console: Console) -> Group:
    """Lay out the page with as many workers as fit on the screen."""
    room = console.height - len(console.render_lines(page(report, found, most=0)))
    return page(report, found, most=max(0, room))


def page(report: dict[str, Any], found: Moment, *, most: int | None = None) -> Group:
    """Lay out the page of a study, with all of its workers or at most ``most``."""
    counts = report["trials"]
    done = sum(count for state, count in counts.items() if state in FINISHED)
    pace = ", ".join([f"{found.epochs_per_s:.3g} epochs/s", *in_words(found.pace)])
    workers = report["workers"]
    parts: list[Any] = [
        Text(f"{report['study']}: {done} of {plural(report['planned'], 'trial')}", style="bold"),
        Padding(ProgressBar(total=max(report["planned"], 1), completed=done, width=_SPARKS), 0),  # on its own line
        Text(counted(counts) or "no trials"),
        Text(pace),
        Text(f"{plural(workers['alive'], 'worker')} alive, {workers['unknown']} on other hosts"),
    ]
    if best := report["best"]:
        parts.append(Text(f"best trial {best['trial']}: {report['metric']} {shown(best['value'])}"))
        parts.append(Text(sparkline(found.best, _SPARKS), style="cyan"))
    parts += [Text(f"failed: {count} by {cause}", style="red") for cause, count in report["causes"].items()]
    parts += [Text(f"budget: {limit}") for limit in limits_in_words(report)]
    parts += [Text(words) for words in first_rung_in_words(report)]
    parts += [Text(fault, style="red") for fault in report["faults"]]
    parts += [Text(line, style="red") for line in report["held"]]
    parts += [_jobs(report["jobs"])] if report["jobs"] else []
    parts += [Text(words) for words in ended_jobs_in_words(report)]
    parts += [Text(report["idle"], style="red")] if report["idle"] else []
    dead = {trial["trial"] for trial in report["dead"]}
    running = [row for row in found.running if row["trial"] not in dead]
    rows = running[:most]
    parts += [_running(rows)] if running else []
    parts += [Text(words, style="red") for words in unsaved_in_words(report["running"])]
    parts += [Text(words, style="red") for words in lost_in_words(report)]
    if left := len(running) - len(rows):
        parts.append(Text(f"and {plural(left, 'more running trial')}"))
    return Group(*parts)


def _jobs(jobs: list[dict[str, Any]]) -> Table:
    table = Table("job", "elements (asked once a minute)", box=table_box())
    for job in jobs:
        table.add_row(Text(str(job["job"])), Text("; ".join([counted(job["states"]), *job["cures"]])))
    return table


def _running(rows: list[Row]) -> Table:
    table = Table("worker", "job", "trial", "epoch", "s/epoch", box=table_box())
    for row in rows:
        worker = f"{row['host']}:{row['pid']}" if row["host"] else "?"
        values = (worker, row["job"], row["trial"], row["epoch"] or 0, row["epoch_seconds"])
        table.add_row(*(Text(shown(value)) for value in values))
    return table
