"""Prepares a sweep's images and shows a progress bar."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cnn_sweep.cli.ui.terminal import Console, can_redraw, warn
from cnn_sweep.journal.paths import data_root
from cnn_sweep.messages import plural
from cnn_sweep.training.data.prepare import prepare, read_report
from cnn_sweep.training.network.base_weights import fetch_weights

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.sweep.sweep import Sweep

_LINE_EVERY_S = 10.0  # interval between lines if the display cannot be redrawn


def prepare_images(sweep: Sweep, results: Path) -> Path:
    """Prepare a sweep's images if necessary, warn of problems, and return their folder."""
    path, is_new = prepare_with_progress(sweep, results)
    if is_new:
        report = read_report(path)
        for line in report["notes"]:
            warn(line)
        if report["bad"]:
            bad = plural(len(report["bad"]), "image that cannot be used is", "images that cannot be used are")
            warn(f"{bad} left out; `cnn-sweep data prepare` lists all, as does {path / 'report.json'}")
    return path


def prepare_with_progress(sweep: Sweep, results: Path) -> tuple[Path, bool]:
    """Prepare a sweep's images behind a progress bar; return their folder, and whether any work was needed."""
    display = _Display(sweep.study)
    with display:
        with sweep.locate_errors("model"):
            fetch_weights(sweep)
        with sweep.locate_errors("data"):
            path = prepare(sweep.data, sweep.folder, data_root(results), observe=display.show, fetch=True)
    return path, display.was_needed


class _Display:
    """Shows a progress bar on a terminal, occasional lines elsewhere, and nothing if no work is needed."""

    def __init__(self, study: str) -> None:
        console = Console(stderr=True)
        self.was_needed = False
        self._study = study
        self._redraws = can_redraw(console)
        self._bar = Progress(
            TextColumn(f"{study}: images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        )
        self._task = self._bar.add_task("images", total=None)
        self._printed = time.monotonic()

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: int, total: int) -> None:
        if not self.was_needed and self._redraws:
            self._bar.start()
        self.was_needed = True
        self._bar.update(self._task, completed=done, total=total)
        if not self._redraws and time.monotonic() - self._printed >= _LINE_EVERY_S:
            self._printed = time.monotonic()
            print(f"{self._study}: {done} of {total} images", file=sys.stderr)
