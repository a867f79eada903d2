"""``data prepare``, and the progress of the same where other verbs need the images."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cnn_sweep.cli.tables import can_redraw, print_table
from cnn_sweep.execution.study.study_folder import data_root
from cnn_sweep.messages import plural
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import MIRRORED, SPLITS, items, read_meta
from cnn_sweep.training.data.prepare import prepare as prepare_data
from cnn_sweep.training.data.prepare import read_report
from cnn_sweep.training.network.base_weights import fetch_weights

if TYPE_CHECKING:
    from pathlib import Path

_SHOWN = 20  # bad images on the terminal; the report has all
# Where the display is a file and not a terminal, one line this often, in seconds.
_LINE_EVERY_S = 10.0


def prepare(file: Path, results: Path, *, as_json: bool) -> None:
    """Prepare a sweep file's images and print what was found."""
    sweep = Sweep.load(file)
    began = time.monotonic()
    path, _ = _prepare(sweep, results)
    report = read_report(path)
    if as_json:
        print(json.dumps({"folder": str(path), **report}, indent=2))
        return
    height, width, channels = read_meta(path)["image_shape"]
    splits = [name for name in SPLITS if name in report["images"]]
    names = dict.fromkeys(name for split in splits for name in report["images"][split])
    rows = [{"class": name} | {split: report["images"][split].get(name, 0) for split in splits} for name in names]
    totals = {split: sum(report["images"][split].values()) for split in splits}
    print_table(Table(("class", *splits), (*rows, {"class": "all", **totals})))
    mirrored = sum(item.name.endswith(MIRRORED) for item in items(path, "train"))
    extra = f", {mirrored} of them mirrored" if mirrored else ""
    print(f"{plural(sum(totals.values()), 'image')} of {height} x {width} x {channels}{extra}, in {path}")
    _print_troubles(report, path)
    print(f"{time.monotonic() - began:.1f} s, and {report['seconds']:.1f} s when it was prepared", file=sys.stderr)


def prepare_shown(sweep: Sweep, results: Path) -> Path:
    """Prepare a sweep's images with a progress bar; what was found amiss is told where they are prepared now."""
    path, is_new = _prepare(sweep, results)
    if is_new:
        report = read_report(path)
        for line in report["notes"]:
            print(f"cnn-sweep: {line}", file=sys.stderr)
        if report["bad"]:
            bad = plural(len(report["bad"]), "image that cannot be used is", "images that cannot be used are")
            print(
                f"cnn-sweep: {bad} left out; `cnn-sweep data prepare` lists all, as does {path / 'report.json'}",
                file=sys.stderr,
            )
    return path


def _prepare(sweep: Sweep, results: Path) -> tuple[Path, bool]:
    """Prepare a sweep's images with a progress bar; return their folder, and whether they were prepared just now."""
    display = _Display(sweep.study)
    with display:
        with sweep.locating("model"):
            fetch_weights(sweep)
        with sweep.locating("data"):
            path = prepare_data(sweep.data, sweep.folder, data_root(results), observe=display.show, fetch=True)
    return path, display.was_needed


def _print_troubles(report: dict[str, Any], path: Path) -> None:
    for note in report["notes"]:
        print(f"note: {_printable(note)}")
    kinds = Counter(image["reason"] for image in report["converted"])
    for reason, count in kinds.most_common(_SHOWN):
        print(f"converted: {plural(count, 'image', 'images')}: {reason}")
    if len(kinds) > _SHOWN:
        print(f"converted: {len(kinds) - _SHOWN} more kinds; all are in {path / 'report.json'}")
    bad = report["bad"]
    if bad:
        print(f"{plural(len(bad), 'image', 'images')} cannot be used and {'is' if len(bad) == 1 else 'are'} left out:")
    reasons = Counter(image["reason"] for image in bad)
    if len(bad) > _SHOWN:
        for reason, count in reasons.most_common(_SHOWN):
            print(f"  {plural(count, 'image', 'images')}: {reason}")
        print("the first of them:")
    for image in bad[:_SHOWN]:
        print(f"  {_printable(image['file'])}: {image['reason']}")
    if len(report["bad"]) > _SHOWN:
        print(f"  and {len(report['bad']) - _SHOWN} more; all are in {path / 'report.json'}")


def _printable(name: str) -> str:
    """Return a text that may hold a file's name with what is no text in it as escapes: a name may be any bytes."""
    return name.encode(errors="backslashreplace").decode()


class _Display:
    """A progress bar on a terminal, and a line now and then elsewhere; nothing where nothing is to be done."""

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
