"""Limits of a search: epochs, hours, GPU hours, a value of the objective to reach, or a gain that is noise.

Once a limit is reached, no new trial begins; running trials finish. Every worker derives the amounts used from the
journals, so the limits hold across workers, jobs and days without a shared counter.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cnn_sweep.search.feasibility import constraint_values
from cnn_sweep.search.gain import Ended, looks
from cnn_sweep.sweep.spec.outcome_constraints import total_violation
from cnn_sweep.sweep.spec.search import GAIN_BELOW_NOISE
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.trials import AttemptHistory, TrialHistory
    from cnn_sweep.sweep.sweep import Sweep

_HOUR_S: Final = 3600.0
_Interval = tuple[float, float]


@dataclass(frozen=True)
class Limit:
    """One limit of a search and the amount used.

    Attributes:
        name: epochs, hours or gpu_hours; the metric that must reach a value; or gain_below_noise.
        used: Epochs or hours so far, the best value of the metric, or the gain of the last doubling; None if it has no
            value yet.
        limit: Epochs or hours allowed, the value to reach, or the noise; None if that is not known yet.
        reached: Whether the limit ends the search.
    """

    name: str
    used: float | None
    limit: float | None
    reached: bool

    @property
    def cure(self) -> str:
        """How to go on beyond it."""
        if self.name in ("epochs", "hours", "gpu_hours"):
            return "a larger one continues it (`cnn-sweep resume`)"
        return f"without `until: {self.name}` in its sweep file, `cnn-sweep run FILE --extend` continues it"

    def __str__(self) -> str:
        if self.limit is None:
            return f"{self.name} not known yet"
        if self.name == GAIN_BELOW_NOISE:
            return f"{self.name} {self.used:.2g} of {self.limit:.2g}"
        used = "none" if self.used is None else f"{self.used:.4g}" if self.name != "epochs" else f"{self.used:.0f}"
        return f"{self.name} {used} of {self.limit:.10g}"


class Budget:
    """The limits of a study other than the number of trials.

    Args:
        sweep: The newest revision of its sweep.
        history: History read from the journals; the caller refreshes it.
    """

    def __init__(self, sweep: Sweep, history: History) -> None:
        self._sweep = sweep
        self._search = sweep.search
        self._objective = sweep.objective
        self._history = history
        self._values: dict[int, tuple[int, float | None]] = {}

    def reached(self) -> Limit | None:
        """Return a limit that ends the search, or None."""
        return next((limit for limit in self.limits() if limit.reached), None)

    def limits(self) -> Iterator[Limit]:
        """Yield the limits that the sweep sets."""
        search = self._search
        if search.epochs is not None:
            used = sum(map(_epochs, self._history.trials.values()))
            yield Limit("epochs", used, search.epochs, used >= search.epochs)
        if search.hours is not None:
            hours = covered(map(_interval, self._attempts())) / _HOUR_S
            yield Limit("hours", hours, search.hours, hours >= search.hours)
        if search.gpu_hours is not None:
            hours = self._gpu_seconds() / _HOUR_S
            yield Limit("gpu_hours", hours, search.gpu_hours, hours >= search.gpu_hours)
        for name, goal in search.until.items():
            if name == GAIN_BELOW_NOISE:
                yield self._gain()
                continue
            best = self._best()
            reached = best is not None and (best == goal or self._objective.direction.better(best, goal))
            yield Limit(name, best, goal, reached)

    def _attempts(self) -> Iterator[AttemptHistory]:
        return (attempt for trial in self._history.trials.values() for attempt in trial.attempts.values())

    def _gpu_seconds(self) -> float:
        """Sum the seconds of all GPUs; workers on one host with equal lists of GPUs share them."""
        together: dict[tuple[str, ...], list[_Interval]] = defaultdict(list)
        for attempt in self._attempts():
            worker = self._history.workers.get(attempt.writer or "")
            if worker is None or worker.worker is None or not worker.worker.extra.get("gpus"):
                continue
            key = (worker.worker.identity.host, *map(str, worker.worker.extra["gpus"]))
            together[key].append(_interval(attempt))
        return sum((len(key) - 1) * covered(intervals) for key, intervals in together.items())

    def _gain(self) -> Limit:
        """Compare what the last doubling of the search gained with the noise."""
        finished = [trial for trial in self._history.trials.values() if trial.state in FINISHED]
        finished.sort(key=lambda trial: (trial.last.end.time if trial.last.end else math.inf, trial.number))
        ended = [
            Ended(start.configuration, self._value(trial) if trial.state == "complete" else None)
            for trial in finished
            if (start := trial.last.start) is not None
        ]
        look = None
        for look in looks(ended, self._objective.direction):
            if look.is_enough:
                break
        if look is None or look.gain is None or look.noise is None:
            return Limit(GAIN_BELOW_NOISE, None, None, reached=False)
        return Limit(GAIN_BELOW_NOISE, look.gain, look.noise, reached=look.is_enough)

    def _best(self) -> float | None:
        values = [value for trial in self._history.trials.values() if (value := self._value(trial)) is not None]
        return min(values, key=self._objective.direction.key, default=None)

    def _value(self, trial: TrialHistory) -> float | None:
        known = self._values.get(trial.number)
        if known is not None and known[0] == len(trial.attempts):
            return known[1]
        # A mean over the last epochs is a value only once no epoch can follow.
        is_known = self._objective.last_epochs is None or trial.state == "complete"
        best = trial.result(self._objective) if is_known else None
        is_feasible = not total_violation(constraint_values(trial, self._history, self._sweep))
        value = best[1] if best is not None and is_feasible else None
        if trial.state in FINISHED:
            self._values[trial.number] = len(trial.attempts), value
        return value


def _epochs(trial: TrialHistory) -> int:
    """Count a trial's epochs; an epoch repeated after a crash counts once."""
    return max(attempt.last_epoch for attempt in trial.attempts.values())


def _interval(attempt: AttemptHistory) -> _Interval:
    """Return the times of an attempt's start and of its last event, in seconds since 1970."""
    if attempt.start is None:
        return math.inf, -math.inf
    return attempt.start.time, attempt.end.time if attempt.end is not None else attempt.last_event


def covered(intervals: Iterable[_Interval]) -> float:
    """Return the length of the union of intervals, so that overlapping ones count once."""
    total, end = 0.0, -math.inf
    for begin, until in sorted(intervals):
        if until > max(begin, end):
            total += until - max(begin, end)
            end = until
    return total
