"""Live progress of a running study: its speed, its best value so far, and the time left."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.execution.pool.progress import Pace, pace_of
from cnn_sweep.messages import few, plural
from cnn_sweep.report.leaderboards.leaderboard import shown
from cnn_sweep.store import queries, report_queries
from cnn_sweep.sweep.states import counted, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cnn_sweep.execution.pool.progress import Progress
    from cnn_sweep.report.leaderboards.leaderboard import Row
    from cnn_sweep.store.reader import StoreReader

_TRIALS_SHOWN: Final = 2  # running trials whose epochs a line of progress shows
_BARS: Final = "▁▂▃▄▅▆▇█"
# Longest time, in seconds, over which the rate of epochs is measured.
_WINDOW_S = 120.0


@dataclass(frozen=True)
class Moment:
    """A study's progress at one moment.

    Attributes:
        running: Running attempts, see :func:`cnn_sweep.store.report_queries.running`.
        epochs_per_s: Recent epochs of all workers per second.
        best: The best value after each complete trial, in the order in which they ended.
        pace: Trials per minute, and seconds left.
    """

    running: list[Row]
    epochs_per_s: float
    best: list[float]
    pace: Pace


def moment(store: StoreReader, study: str, now: float, *, has_budget: bool = False) -> Moment:
    """Read the progress of a study whose journals have just been merged.

    Args:
        store: The store with the study.
        study: The study's name.
        now: Seconds since 1970.
        has_budget: Whether a budget may end the search, so that the time left is unknown.
    """
    summary = queries.study_summary(store, study)
    endings = report_queries.endings(store, study)
    values = [value for _, state, value in endings if state == "complete" and value is not None]
    running = report_queries.running(store, study)
    spent = [now - row["started"] for row in running if row["started"] is not None]
    pace = pace_of([seconds for seconds, _, _ in endings], spent, summary["planned"] - len(endings) - len(spent))
    return Moment(
        running=running,
        epochs_per_s=_epochs_per_s(store, study, now),
        best=list(itertools.accumulate(values, summary["direction"].better_of)),
        pace=pace.without_end() if has_budget else pace,
    )


def is_over(report: dict[str, Any]) -> bool:
    """Return whether a study is finished, by its ``status``: no trial is left, or a limit of the search is reached."""
    is_ended = any(limit["reached"] for limit in report["limits"]) and not report["trials"]["running"]
    return is_ended or not unfinished(report["trials"])


def _epochs_per_s(store: StoreReader, study: str, now: float) -> float:
    """Divide the number of recent epochs by the time since the first of them began."""
    count, began = report_queries.epochs_since(store, study, now - _WINDOW_S)
    took = min(now - began, _WINDOW_S)
    return count / took if took > 0 else 0.0


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as a row of bars; if there are too many, as the last value of each of ``width`` equal parts."""
    if not values:
        return ""
    count = min(width, len(values))
    picked = [values[(place + 1) * len(values) // count - 1] for place in range(count)]
    low, high = min(picked), max(picked)
    if high == low:
        return _BARS[-1] * count
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in picked)


def line(report: dict[str, Any], found: Moment) -> str:
    """Format the progress as one line, for logs and pipes."""
    best = report["best"]
    parts = [
        f"{report['study']}: {counted(report['trials']) or 'no trials'} of {report['planned']}",
        f"{plural(report['workers']['alive'], 'worker')} alive",
        f"{found.epochs_per_s:.3g} epochs/s",
        *([f"best trial {best['trial']}: {report['metric']} {best['value']:.5g}"] if best else []),
        *in_words(found.pace),
    ]
    return ", ".join(parts)


def in_words(pace: Pace) -> Iterator[str]:
    """Yield the known parts of a study's pace as words."""
    if pace.per_minute is not None:
        yield f"{pace.per_minute:.3g} trials/min"
    if pace.left_s is not None:
        between = "" if pace.between_s is None else f" ({clock(pace.between_s[0])} to {clock(pace.between_s[1])})"
        yield f"{clock(pace.left_s)} left{between}"


def clock(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def progress_in_words(progress: Progress) -> str:
    """Return the progress as one line."""
    return joined(facts(progress))


def joined(facts: Mapping[str, str]) -> str:
    """Return the facts that apply as one line."""
    return ", ".join(filter(None, facts.values()))


def epochs_in_words(epochs: Mapping[int, int], planned: int | None) -> str:
    """Return the last complete epoch of the first running trials as words.

    >>> epochs_in_words({3: 12, 4: 9}, 50), epochs_in_words({3: 12}, None), epochs_in_words({}, 50)
    ('trial 3: epoch 12 of 50, trial 4: epoch 9 of 50', 'trial 3: epoch 12', '')
    """
    of = "" if planned is None else f" of {planned}"
    shown = [f"trial {number}: epoch {epoch}{of}" for number, epoch in itertools.islice(epochs.items(), _TRIALS_SHOWN)]
    return ", ".join([*shown, *(["…"] if len(epochs) > _TRIALS_SHOWN else [])])


def facts(progress: Progress) -> dict[str, str]:
    """Return the facts of the line by name, in order; one that does not apply is empty."""
    counts, best = progress.counts, progress.best
    rate, left = [*in_words(progress.pace), "", ""][:2]
    return {
        "done": f"{progress.finished}/{progress.total} done",
        "running": f"{counts['running']} running" if counts.get("running") else "",
        "epochs": epochs_in_words(progress.epochs, progress.epochs_planned),
        "failed": f"{counts['failed']} failed" if counts.get("failed") else "",
        "best": "" if best is None else f"best trial {best[0]}: {best[1]:.4f}",
        "limits": ", ".join(map(str, progress.limits)),
        "rate": rate,
        "left": left,
        "follows": f"running {progress.follows}" if progress.follows else "",
    }


def limits_in_words(report: dict[str, Any]) -> Iterator[str]:
    """Yield how much of each limit of a study's budget is used."""
    for limit in report["limits"]:
        if limit["limit"] is None:
            yield f"{limit['name']}: not known yet"
            continue
        used = "none" if limit["used"] is None else shown(limit["used"])
        end = ", which ended the search" if limit["reached"] else ""
        yield f"{limit['name']} {used} of {shown(limit['limit'])}{end}"


def first_rung_in_words(report: dict[str, Any]) -> Iterator[str]:
    """Yield which rung pilots chose as the first one that decides, and by which evidence."""
    if (first := report["first_rung"]) is not None:
        yield f"first rung that decides: {first['text']}"


def unsaved_in_words(running: list[dict[str, Any]]) -> Iterator[str]:
    """Yield which of the running trials cannot write their checkpoints, and why."""
    for trial in running:
        if trial["unsaved"] is not None:
            since = f"since epoch {trial['saved_epoch']}" if trial["saved_epoch"] else "yet"
            yield f"trial {trial['trial']} has no checkpoint {since}: {trial['unsaved']}; it is tried again"


def lost_in_words(report: dict[str, Any]) -> Iterator[str]:
    """Yield which trials train epochs again, because their checkpoints are gone."""
    if lost := report["lost"]:
        which = few([f"{one['trial']} from epoch {one['from_epoch'] + 1}" for one in lost])
        gone = plural(len(lost), "checkpoint is", "checkpoints are")
        yield f"{gone} gone; trials that go on without one train again: {which}"


def jobs_in_words(jobs: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the jobs in the queue, and below each what to do about its stuck elements."""
    for job in jobs:
        yield f"job {job['job']}: {counted(job['states'])}"
        yield from (f"  {cure}" for cure in job["cures"])


def ended_jobs_in_words(report: dict[str, Any]) -> Iterator[str]:
    """Yield how jobs ended, and below each the likely cause and the cure, unless a fault says the same."""
    for job in report["ended_jobs"]:
        yield f"job {job['job']}: {job['text']}"
        if not any(job["cause"] and job["cause"] in fault for fault in report["faults"]):
            yield from (f"  {words}" for words in (job["cause"], job["cure"]) if words)
