"""Shows the progress of training in the foreground: one live line on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from rich.cells import cell_len
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from cnn_sweep.cli.ui.terminal import can_redraw
from cnn_sweep.report.live import facts as facts_of
from cnn_sweep.report.live import joined, progress_in_words

if TYPE_CHECKING:
    from rich.console import Console

    from cnn_sweep.execution.pool.progress import Progress

# Facts that the live line drops on a narrow terminal, the least important first.
_DROPPED_FIRST: Final = ("rate", "epochs", "running", "bar", "limits", "left", "best")
_BAR = 24  # width of the progress bar, in cells
_LINE_EVERY_S = 10.0  # interval between lines if the display cannot be redrawn


class TrainingProgress:
    """Shows the progress of a study while it trains."""

    def __init__(self, study: str, console: Console) -> None:
        self._name = study
        self._console = console
        self._redraws = can_redraw(console)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._printed = time.monotonic()
        self._stopping_shown = False

    def __enter__(self) -> Self:
        if self._redraws:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Show the newest state."""
        for note in progress.notes:
            self._console.print(note, markup=False)
        if progress.stopping and not self._stopping_shown:
            self._stopping_shown = True
            words = "stopping once checkpoints are written; press Ctrl-C again to kill the workers"
            self._console.print(f"{self._name}: {words}", markup=False)
        if self._redraws:
            self._live.update(_picture(self._name, progress, self._console.width), refresh=True)
        elif progress.follows or time.monotonic() - self._printed >= _LINE_EVERY_S:
            self._printed = time.monotonic()
            self._console.print(f"{self._name}: {progress_in_words(progress)}", markup=False, soft_wrap=True)


def _picture(name: str, progress: Progress, width: int) -> RichTable:
    """Draw the live line; on a narrow terminal, drop the least important facts."""
    facts, bar = facts_of(progress), True
    for fact in _DROPPED_FIRST:
        if cell_len(name) + (_BAR + 1) * bar + 1 + cell_len(joined(facts)) <= width:
            break
        facts.pop(fact, None)
        bar = bar and fact != "bar"
    picture = [ProgressBar(total=max(1, progress.total), completed=progress.finished, width=_BAR)] if bar else []
    grid = RichTable.grid(padding=(0, 1))
    grid.add_row(Text(name, "bold", no_wrap=True, overflow="ellipsis"), *picture, Text(joined(facts), no_wrap=True))
    return grid
