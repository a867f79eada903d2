"""Measures the progress of a study: trials per state, the best trial, trials per minute, time left."""

from __future__ import annotations

import heapq
import math
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cnn_sweep.execution.attempts.retries import failing_alike
from cnn_sweep.search.budget import Budget
from cnn_sweep.search.feasibility import best_first
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnn_sweep.execution.study.study_folder import StudyFolder
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.budget import Limit


# The expected duration of a trial is the mean over this many recent ones.
_WINDOW: Final = 50
_FEWEST: Final = 5  # finished trials from which the spread of durations is estimated


@dataclass(frozen=True)
class Pace:
    """Speed of a study, as every display shows it.

    Attributes:
        per_minute: Trials that finish per minute; None before the first one has finished, and while none runs.
        left_s: Expected seconds until all trials are finished; None without a rate.
        between_s: The 95% interval of that time; None before five trials have finished.
    """

    per_minute: float | None
    left_s: float | None
    between_s: tuple[float, float] | None = None

    def without_end(self) -> Pace:
        """Return the speed of a study whose end is not known, because a budget may end it."""
        return replace(self, left_s=None, between_s=None)


def pace_of(took: Sequence[float], running: Sequence[float], to_come: int) -> Pace:
    """Estimate the speed of a study.

    The estimate uses the duration of trials and the number of running ones, so pauses of the study and workers that
    come and go do not distort it.

    Args:
        took: Duration of each finished trial in seconds, in the order of their ends.
        running: Seconds since the start of each running trial.
        to_come: Number of trials that neither run nor are finished.
    """
    last = took[-_WINDOW:]
    mean = sum(last) / len(last) if last else 0.0
    if not mean or not running:
        return Pace(None, None)
    work_s = max(to_come, 0) * mean + sum(max(mean - seconds, 0.0) for seconds in running)
    left_s = work_s / len(running)
    return Pace(60 * len(running) / mean, left_s, _interval(left_s, last, running, max(to_come, 0)))


def _interval(
    left_s: float, took: Sequence[float], running: Sequence[float], to_come: int
) -> tuple[float, float] | None:
    """Return an interval of the time left, which is meant to hold it in 95 of 100 moments.

    The sum of ``m`` durations to come has the prediction error ``s sqrt(m + m²/n)``, from ``n`` past ones with the
    standard deviation ``s`` (Hahn and Meeker, Statistical Intervals, 1991, section 4.7). The workers share it. Two
    things can only make the time longer. Long trials finish late, so the finished ones are too short a sample; the
    running ones are added as half a trial each, as in the actuarial estimator. And the workers do not end together, but
    within ``1 - 1/w`` of the longest trial (Graham, Bounds on multiprocessing timing anomalies, 1969).
    """
    if len(took) < _FEWEST:
        return None
    count, workers = len(took), len(running)
    trials = to_come + workers
    mean = statistics.fmean(took)
    error_s = _t_quantile(count - 1) * statistics.stdev(took) * math.sqrt(trials + trials**2 / count) / workers
    longer_s = max((sum(took) + sum(running)) / (count + workers / 2) - mean, 0.0) * trials / workers
    idle_s = (1 - 1 / workers) * max(*took, *running)
    return max(left_s - error_s, 0.0), left_s + error_s + longer_s + idle_s


def _t_quantile(df: int) -> float:
    """Return the 0.975 quantile of Student's t (Abramowitz and Stegun 26.7.5), within 2% from 4 degrees of freedom."""
    z = 1.959964
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)


@dataclass(frozen=True)
class Progress:
    """The state of a running study at one moment.

    Attributes:
        total: Number of planned trials.
        counts: Trials per state; ``waiting`` ones have not begun.
        workers: Number of live workers of this pool.
        best: (trial, value) of the best complete trial, or None.
        pace: Trials per minute, and seconds left.
        notes: What happened to workers and checkpoints since the previous progress, for the log.
        done_here: Number of trials that finished since this pool began.
        failing_alike: The error with which all trials of this run failed, if that stopped the study.
        limits: Limits of the search other than the number of trials.
        stopping: Whether the workers have been asked to stop.
        epochs: The last complete epoch of each running trial, by its number.
        epochs_planned: Epochs of each trial; None if they differ or are not known.
        follows: The command of ``when_finished`` that runs now; None before the end of the study.
    """

    total: int
    counts: Mapping[str, int]
    workers: int
    best: tuple[int, float] | None
    pace: Pace
    notes: tuple[str, ...] = ()
    done_here: int = 0
    failing_alike: str | None = None
    limits: tuple[Limit, ...] = ()
    stopping: bool = False
    epochs: Mapping[int, int] = field(default_factory=dict)
    epochs_planned: int | None = None
    follows: str | None = None

    @property
    def ended_by(self) -> Limit | None:
        """The limit that ended the search, or None."""
        return next((limit for limit in self.limits if limit.reached), None)

    @property
    def finished(self) -> int:
        """Number of trials that are complete, pruned or failed."""
        return sum(self.counts.get(state, 0) for state in FINISHED)


class ProgressMeter:
    """Measures the progress of a study since the meter was created."""

    def __init__(self, study: StudyFolder, history: History, since: float) -> None:
        """Begin to measure.

        Args:
            study: The study.
            history: Its history; the caller refreshes it.
            since: When the run began, in seconds since 1970.
        """
        self._since = since
        self._history = history
        self.follow(study)
        self._finished_before = self._counts()

    def follow(self, study: StudyFolder) -> None:
        """Measure the study as its newest revision plans it."""
        self._study = study
        self._budget = Budget(study.sweep, self._history)
        self._epochs_planned = study.sweep.epochs

    def read(self, *, workers: int, notes: tuple[str, ...] = (), stopping: bool = False) -> Progress:
        """Return the progress now; for the arguments, see :class:`Progress`."""
        counts = self._counts()
        total = len(self._study.plan.trials)
        finished = _finished(counts)
        done = finished - _finished(self._finished_before)
        return Progress(
            total=total,
            counts=counts,
            workers=workers,
            best=best_trial(self._study, self._history),
            pace=self._pace(total - finished),
            notes=notes,
            done_here=done,
            failing_alike=failing_alike(self._history, self._since),
            limits=tuple(self._budget.limits()),
            stopping=stopping,
            epochs={number: trial.last.last_epoch or trial.last.start_epoch for number, trial in self._running()},
            epochs_planned=self._epochs_planned,
        )

    def _running(self) -> list[tuple[int, TrialHistory]]:
        trials = self._history.trials
        return [(number, trials[number]) for number in sorted(trials) if trials[number].state == "running"]

    def _pace(self, unfinished: int) -> Pace:
        trials = self._history.trials.values()
        ended = [(end.time, trial.seconds) for trial in trials if (end := trial.last.end) and end.state in FINISHED]
        now = time.time()
        running = [now - trial.start.time for trial in trials if trial.state == "running" and trial.start is not None]
        took = [seconds for _, seconds in sorted(heapq.nlargest(_WINDOW, ended))]
        pace = pace_of(took, running, unfinished - len(running))
        return pace.without_end() if self._study.sweep.search.has_budget else pace

    def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter(trial.state for trial in self._history.trials.values())
        counts["waiting"] += len(self._study.plan.trials) - counts.total()
        return counts


def _finished(counts: Mapping[str, int]) -> int:
    return sum(counts.get(state, 0) for state in FINISHED)


def best_trial(study: StudyFolder, history: History) -> tuple[int, float] | None:
    """Return number and value of the best complete trial, the lowest number among equals; None if there is none."""
    found = best_first(history, study.sweep)
    return next(((number, value) for number, (_, value) in found.items()), None)
