"""``store merge``, ``store rebuild`` and ``store check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.messages import plural
from cnn_sweep.store import merge as store

if TYPE_CHECKING:
    from pathlib import Path

# How long a command that was typed waits for another merger, in seconds.
_PATIENCE_S = 30.0


def merge(results: Path) -> None:
    """Merge, and say how much."""
    _report(store.merge(results, wait_s=_PATIENCE_S))


def rebuild(results: Path) -> None:
    """Rebuild, and say how much."""
    _report(store.rebuild(results))


def _report(report: store.MergeReport) -> None:
    if report.skipped:
        raise EnvironmentFault(f"store not merged: {report.skipped}")
    print(f"{plural(report.events, 'event')} in {report.seconds:.2f} s")
    if report.bad_lines:
        print(f"skipped {plural(report.bad_lines, 'damaged journal line')} (`cnn-sweep store check` names all)")


def check(results: Path) -> int:
    """Print every finding; return the exit code."""
    report = store.check(results)
    for finding in report.findings:
        print(finding)
    print("the store and the journals are sound" if report.sound else plural(len(report.findings), "finding"))
    return 0 if report.sound else EnvironmentFault.exit_code
