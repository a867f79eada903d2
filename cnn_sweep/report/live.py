"""A moment of a study that is running: how fast it is, how good, how long it will take."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.store import queries, report_queries
from cnn_sweep.sweep.states import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cnn_sweep.report.leaderboards.leaderboard import Row

_BARS: Final = "▁▂▃▄▅▆▇█"
# Rates are of the last so many seconds, or trials.
_WINDOW_S = 120.0
_WINDOW_TRIALS = 50


@dataclass(frozen=True)
class Moment:
    """What is going on.

    Attributes:
        running: Attempts that run, as of :func:`cnn_sweep.store.report_queries.running`.
        epochs_per_s: Epochs of all workers per second, lately.
        best: Best value after each complete trial, in the order in which they ended.
        trials_per_min: Trials that finished per minute, lately; None if fewer than two did.
        left_s: Seconds until the planned trials are done at that rate; None if there is none.
    """

    running: list[Row]
    epochs_per_s: float
    best: list[float]
    trials_per_min: float | None
    left_s: float | None


def moment(results: Path, study: str, now: float) -> Moment:
    """Look at a study, whose journals were merged just now.

    Args:
        results: Root of all studies.
        study: The study's name.
        now: In seconds since 1970.
    """
    summary = queries.study_summary(results, study)
    endings = report_queries.endings(results, study)
    values = [value for _, state, value in endings if state == "complete" and value is not None]
    rate = _rate([ended for ended, _, _ in endings], now)
    left = summary["planned"] - len(endings)
    running = report_queries.running(results, study)
    return Moment(
        running=running,
        epochs_per_s=report_queries.epochs_since(results, study, now - _WINDOW_S) / _WINDOW_S,
        best=list(itertools.accumulate(values, max if summary["direction"] == "maximize" else min)),
        trials_per_min=None if rate is None else 60 * rate,
        left_s=left / rate if rate and left and running else None,
    )


def _rate(ended: Sequence[float], now: float) -> float | None:
    """Return the trials that finish per second, from the last ones up to now."""
    last = ended[-_WINDOW_TRIALS:]
    if len(last) < 2 or now <= last[0]:
        return None
    return (len(last) - 1) / (now - last[0])


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as a line of small bars, the last of as many equal parts as there is room for."""
    if not values:
        return ""
    count = min(width, len(values))
    picked = [values[(place + 1) * len(values) // count - 1] for place in range(count)]
    low, high = min(picked), max(picked)
    if high == low:
        return _BARS[-1] * count
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in picked)


def line(report: dict[str, Any], found: Moment) -> str:
    """Say all of it in one line, for logs and pipes."""
    best = report["best"]
    parts = [
        f"{report['study']}: {counted(report['trials']) or 'no trials'} of {report['planned']}",
        f"{report['workers']['alive']} workers alive",
        f"{found.epochs_per_s:.3g} epochs/s",
        *([f"best trial {best['trial']}: {report['metric']} {best['value']:.5g}"] if best else []),
        *([f"{clock(found.left_s)} left"] if found.left_s is not None else []),
    ]
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
