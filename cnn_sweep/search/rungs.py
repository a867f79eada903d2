"""Successive halving without a scheduler: who waits at which rung, and who may go on, follows from the journals.

A trial trains to a rung, pauses there with its checkpoint, and has a *result* at that rung: its best objective so far.
The asynchronous rule (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020, algorithm 2): of
a rung with n results, the best ``n // reduction`` trials go on; a worker takes the highest rung where one of those
waits.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.spec.search import AshaSpec, HyperbandSpec
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.sweep.direction import Direction


@dataclass(frozen=True)
class Ladder:
    """Where the rungs are.

    Attributes:
        min_epochs: The first rung, in epochs.
        reduction: Ratio between one rung and the next.
        brackets: Ladders that begin one rung higher than the one before, with fewer trials.
    """

    min_epochs: int = 1
    reduction: int = 3
    brackets: int = 1

    @classmethod
    def of(cls, spec: object) -> Ladder | None:
        """Return the ladder of a sweep's pruner; None if it has no rungs."""
        if isinstance(spec, HyperbandSpec):
            return cls(spec.min_epochs, spec.reduction, spec.brackets)
        return cls(spec.min_epochs, spec.reduction) if isinstance(spec, AshaSpec) else None

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial, a function of its number alone.

        In each round of numbers, bracket b of s has ceil(s / (s - b) * reduction ** (s - 1 - b)) trials: the sizes of
        Hyperband's (Li et al., JMLR 2018, algorithm 1).
        """
        order = _round(self.brackets, self.reduction)
        return order[number % len(order)]

    def level(self, bracket: int, rung: int) -> int:
        """Return the epochs of a rung, which is numbered from 0."""
        return self.min_epochs * int(self.reduction ** (bracket + rung))

    def next_level(self, number: int, epochs: int) -> int:
        """Return the first rung of a trial that is above a number of epochs."""
        bracket, rung = self.bracket(number), 0
        while self.level(bracket, rung) <= epochs:
            rung += 1
        return self.level(bracket, rung)


@cache
def _round(brackets: int, reduction: int) -> tuple[int, ...]:
    """Return the brackets of one round of trials; spread, so that a study that is cut short has trials of every one."""
    sizes = [-(-brackets * reduction ** (brackets - 1 - b) // (brackets - b)) for b in range(brackets)]
    places = sorted((((k + 0.5) / size, b) for b, size in enumerate(sizes) for k in range(size)))
    return tuple(b for _, b in places)


@dataclass(frozen=True)
class Promotion:
    """Why a trial that paused may go on.

    Attributes:
        rung: Epochs of the rung that it leaves.
        place: Its place among the results there, from 1 for the best.
        results: How many results the worker knew there.
        last: Whether it goes on since nothing else is left in the study and no trial is complete.
        seen: When the worker had read the journals, in seconds since 1970.
    """

    rung: int
    place: int
    results: int
    last: bool
    seen: float

    def to_data(self) -> dict[str, Any]:
        """Return what a journal holds."""
        return dict(self.__dict__)


def reported(trial: TrialHistory) -> dict[int, float]:
    """Return epoch to objective of all epochs that any attempt reported; NaN where there is none.

    An epoch that was trained again counts as it was first: the numbers are equal, and what is known only grows.
    """
    values: dict[int, float] = {}
    for number in sorted(trial.attempts):
        for epoch, row in trial.attempts[number].epochs.items():
            values.setdefault(epoch, math.nan if row.value is None else row.value)
    return values


def granted(trial: TrialHistory) -> float:
    """Return up to which epoch a trial may train: infinity for to its end, 0 if it never started."""
    starts = (attempt.start for attempt in trial.attempts.values() if attempt.start is not None)
    grants = [math.inf if start.until is None else start.until for start in starts]
    return max(*grants, *_pauses(trial), 0, 0)


def reached(trial: TrialHistory) -> int:
    """Return how many epochs of a trial were done, as far as is known."""
    return max(*_pauses(trial), *(attempt.last_epoch for attempt in trial.attempts.values()), 0, 0)


def _pauses(trial: TrialHistory) -> list[int]:
    """List the epochs after which a trial paused, which are also known where other lines are damaged."""
    return [a.end.epochs for a in trial.attempts.values() if a.end is not None and a.end.state == "paused"]


def is_resting(trial: TrialHistory) -> bool:
    """Tell whether a trial waits at a rung: it is not finished, and may train no further without a promotion."""
    return trial.state in ("paused", "interrupted") and 0 < granted(trial) <= reached(trial)


class Rungs:
    """The results at all rungs of a study, kept up to date with a history.

    Args:
        ladder: Where the rungs are.
        direction: What is better.
    """

    def __init__(self, ladder: Ladder, direction: Direction) -> None:
        self._ladder = ladder
        self._direction = direction
        self._known: dict[int, int] = {}  # trial to the highest rung (from 1) whose result stands below
        self._results: dict[tuple[int, int], list[tuple[float, int]]] = {}  # (epochs, bracket): best first
        self._seen: dict[int, int] = {}  # trial to its epochs when it was looked at last
        self._gone: set[tuple[int, int]] = set()  # (epochs, trial): went on from there, or is over

    def update(self, trials: Mapping[int, TrialHistory]) -> None:
        """Take the results that are new.

        Args:
            trials: Of the history, those that compete: first trainings of a configuration.
        """
        for number, trial in trials.items():
            epochs = sum(len(attempt.epochs) for attempt in trial.attempts.values())
            if self._seen.get(number) == epochs:
                continue
            self._seen[number] = epochs
            rung = self._known.get(number, 0)
            bracket = self._ladder.bracket(number)
            level = self._ladder.level(bracket, rung)
            values = reported(trial)
            while max(values, default=0) >= level:
                known = [v for epoch, v in values.items() if epoch <= level and math.isfinite(v)]
                best = min(map(self._direction.key, known), default=math.inf)
                insort(self._results.setdefault((level, bracket), []), (best, number))
                rung += 1
                level = self._ladder.level(bracket, rung)
            self._known[number] = rung

    def promotions(self, trials: Mapping[int, TrialHistory], seen: float) -> Iterator[tuple[int, Promotion]]:
        """Yield the trials that may go on, those of the highest rung first, the best first.

        Args:
            trials: As of `update`.
            seen: When the journals were read.
        """
        for (level, _), results in sorted(self._results.items(), reverse=True):
            quota = len(results) // self._ladder.reduction
            for place, (_, number) in enumerate(results[:quota], start=1):
                if self._rests_at(trials, number, level):
                    yield number, Promotion(level, place, len(results), last=False, seen=seen)

    def out_of_reach(self, trials: Mapping[int, TrialHistory], planned: Mapping[int, int]) -> Iterator[int]:
        """Yield trials that wait at their first rung and can never be among those that go on from it.

        Places there only get worse, and no more results can come than trials are planned.

        Args:
            trials: As of `update`.
            planned: Bracket to the number of trials that compete in it.
        """
        for bracket, count in planned.items():
            level = self._ladder.level(bracket, 0)
            for _, number in self._results.get((level, bracket), [])[max(1, count // self._ladder.reduction) :]:
                if self._rests_at(trials, number, level):
                    yield number

    def last_promotion(self, trials: Mapping[int, TrialHistory], seen: float) -> tuple[int, Promotion] | None:
        """Return the trial that goes on when nothing else can: the best that waits at the highest rung.

        A small study would otherwise end without a complete trial. Nothing is returned if there is one, or if somebody
        went on from that rung.
        """
        if any(trial.state == "complete" for trial in trials.values()):
            return None
        for (level, _), results in sorted(self._results.items(), reverse=True):
            for place, (_, number) in enumerate(results, start=1):
                if self._rests_at(trials, number, level):
                    return number, Promotion(level, place, len(results), last=True, seen=seen)
        return None

    def _rests_at(self, trials: Mapping[int, TrialHistory], number: int, level: int) -> bool:
        if (level, number) in self._gone:
            return False
        trial = trials[number]
        if granted(trial) > level or trial.state in FINISHED:
            self._gone.add((level, number))
        return granted(trial) == level and is_resting(trial)
