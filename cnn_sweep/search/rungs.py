"""Successive halving without a scheduler: rungs and promotions are derived from the journals.

A trial trains to a rung and pauses there with a checkpoint. Its *result* at the rung is its best objective so far. The
rule is asynchronous (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020, algorithm 2): at a
rung with n results, the best ``n // reduction`` trials may continue. A worker takes one from the highest such rung.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cnn_sweep.sweep.spec.search import AshaSpec, HyperbandSpec, PredictiveSpec
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.first_rung import FirstRung, Pilots
    from cnn_sweep.sweep.direction import Direction


@dataclass(frozen=True)
class Ladder:
    """The rungs of a pruner, in epochs.

    Attributes:
        min_epochs: The first rung, in epochs.
        reduction: Ratio between one rung and the next.
        brackets: Number of brackets; each starts one rung higher than the previous one, with fewer trials.
    """

    min_epochs: int = 1
    reduction: float = 3
    brackets: int = 1

    @classmethod
    def of(cls, spec: object) -> Ladder | None:
        """Return the ladder of a pruner's settings; None if it has no rungs."""
        if isinstance(spec, HyperbandSpec):
            return cls(spec.min_epochs, spec.reduction, spec.brackets)
        if isinstance(spec, PredictiveSpec):
            return FineLadder(spec.min_epochs)
        if isinstance(spec, AshaSpec):
            return cls(1 if spec.min_epochs == "auto" else spec.min_epochs, spec.reduction)
        return None

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial: a function of its number alone, so that all workers agree.

        In each round of numbers, bracket b of s has ceil(s / (s - b) * reduction ** (s - 1 - b)) trials: the sizes of
        brackets in Hyperband (Li et al., JMLR 2018, algorithm 1).
        """
        order = _round(self.brackets, self.reduction)
        return order[number % len(order)]

    def level(self, bracket: int, rung: int) -> int:
        """Return the epochs of a rung; rungs are numbered from 0."""
        return self.min_epochs * int(self.reduction ** (bracket + rung))

    def next_level(self, number: int, epochs: int) -> int:
        """Return the epochs of the first rung of a trial above a number of epochs."""
        bracket, rung = self.bracket(number), 0
        while self.level(bracket, rung) <= epochs:
            rung += 1
        return self.level(bracket, rung)


@dataclass(frozen=True)
class FineLadder(Ladder):
    """Rungs that are each about one and a half times as far as the one before."""

    reduction: float = 1.5

    def level(self, bracket: int, rung: int) -> int:  # noqa: ARG002 - there is one bracket
        """Return the epochs of a rung; rungs are numbered from 0."""
        level = self.min_epochs
        for _ in range(rung):
            level = max(level + 1, round(level * self.reduction))
        return level

    def levels(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs of all rungs below a number of epochs, and that number."""
        below: list[int] = []
        while (level := self.level(0, len(below))) < epochs:
            below.append(level)
        return (*below, epochs)


@cache
def _round(brackets: int, reduction: float) -> tuple[int, ...]:
    """Return the brackets of one round of trials, interleaved so that a study that ends early has trials of each."""
    sizes = [math.ceil(brackets * reduction ** (brackets - 1 - b) / (brackets - b)) for b in range(brackets)]
    places = sorted((((k + 0.5) / size, b) for b, size in enumerate(sizes) for k in range(size)))
    return tuple(b for _, b in places)


@dataclass(frozen=True)
class Promotion:
    """Why a paused trial may continue; journaled, so that it can be checked later.

    Attributes:
        rung: Epochs of the rung that it leaves.
        place: Its rank among the results at the rung; 1 is the best.
        results: Number of results at the rung that the worker knew.
        last: Whether it continues because nothing else is left and no trial is complete.
        seen: When the worker read the journals, in seconds since 1970.
        chance: Its predicted probability of being the best of all; None if rungs decide by rank.
        inputs: Digest of what the prediction was made from.
        first: Epochs of the first rung that decides, if pilots have chosen it.
    """

    rung: int
    place: int
    results: int
    last: bool
    seen: float
    chance: float | None = None
    inputs: str | None = None
    first: int | None = None

    def to_data(self) -> dict[str, Any]:
        """Return the data for a journal; what a pruner does not have is left out."""
        return {name: value for name, value in self.__dict__.items() if value is not None}


def reported(trial: TrialHistory) -> dict[int, float]:
    """Return the objective of every epoch that any attempt reported; NaN if it has none.

    If an epoch is repeated, its first report counts. Both are equal, and a known value never changes.
    """
    values: dict[int, float] = {}
    for number in sorted(trial.attempts):
        for epoch, row in trial.attempts[number].epochs.items():
            values.setdefault(epoch, math.nan if row.value is None else row.value)
    return values


def rung_results(trial: TrialHistory, ladder: Ladder, direction: Direction) -> dict[int, float]:
    """Return the best objective up to each rung that a trial reached, by the rung's epochs; none without a value."""
    values = reported(trial)
    found: dict[int, float] = {}
    level = ladder.next_level(trial.number, 0)
    while level <= max(values, default=0):
        known = [value for epoch, value in values.items() if epoch <= level and math.isfinite(value)]
        if known:
            found[level] = min(known, key=direction.key)
        level = ladder.next_level(trial.number, level)
    return found


def granted(trial: TrialHistory) -> float:
    """Return the epoch to which a trial may train: infinity for its end, 0 if it never started."""
    starts = (attempt.start for attempt in trial.attempts.values() if attempt.start is not None)
    grants = [math.inf if start.until is None else start.until for start in starts]
    return max(*grants, *_pauses(trial), 0, 0)


def reached(trial: TrialHistory) -> int:
    """Return the number of epochs that a trial is known to have completed."""
    return max(*_pauses(trial), *(attempt.last_epoch for attempt in trial.attempts.values()), 0, 0)


def _pauses(trial: TrialHistory) -> list[int]:
    """List the epochs after which a trial paused, from its ends, since lines of epochs may be damaged."""
    return [a.end.epochs for a in trial.attempts.values() if a.end is not None and a.end.state == "paused"]


def is_paused_at_rung(trial: TrialHistory) -> bool:
    """Return whether a trial is paused at a rung: not finished, and unable to continue without a promotion."""
    return trial.state in ("paused", "interrupted") and 0 < granted(trial) <= reached(trial)


_Result = tuple[float, float, int]  # violation of constraints, badness, number of the trial


class Rungs:
    """Results at all rungs of a study, updated from a history.

    Args:
        ladder: The rungs.
        direction: Direction of the objective.
        violation: Returns the violation of constraints by a number of weights; what violates none is better.
        pilots: The trials that choose the first rung that decides; None if it is the ladder's first.
    """

    def __init__(
        self,
        ladder: Ladder,
        direction: Direction,
        violation: Callable[[int | None], float] = lambda _weights: 0.0,
        pilots: Pilots | None = None,
    ) -> None:
        self._ladder = ladder
        self._direction = direction
        self._violation = violation
        self._pilots = pilots
        self._known: dict[int, int] = {}  # number of rungs with a result, by trial
        self._results: dict[tuple[int, int], list[_Result]] = {}  # by (epochs, bracket), best first
        self._seen: dict[int, int] = {}  # number of epochs at the last update, by trial
        self._gone: set[tuple[int, int]] = set()  # (epochs, trial) that has continued from that rung or finished

    def update(self, trials: Mapping[int, TrialHistory]) -> None:
        """Add new results.

        Args:
            trials: The trials that compete: first trainings of a configuration.
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
            # The start names the weights, so that all workers that know a result know them.
            violation = self._violation(trial.start.parameters if trial.start is not None else None)
            while max(values, default=0) >= level:
                known = [v for epoch, v in values.items() if epoch <= level and math.isfinite(v)]
                best = min(map(self._direction.key, known), default=math.inf)
                insort(self._results.setdefault((level, bracket), []), (violation, best, number))
                rung += 1
                level = self._ladder.level(bracket, rung)
            self._known[number] = rung

    def promotions(self, trials: Mapping[int, TrialHistory], seen: float) -> Iterator[tuple[int, Promotion]]:
        """Yield the trials that may continue, from the highest rung down, the best of each rung first.

        Args:
            trials: See `update`.
            seen: When the journals were read, in seconds since 1970.
        """
        first = self._pilots.first_rung(trials) if self._pilots is not None else None
        chosen = first.epochs if first is not None and first.is_chosen else None
        for level, results in reversed(list(self._counted(first))):
            for place, (*_, number) in enumerate(results[: self._quota(level, len(results), first)], start=1):
                if self._may_pass(level, number, first) and self._waits_at(trials, number, level):
                    yield number, Promotion(level, place, len(results), last=False, seen=seen, first=chosen)

    def _counted(self, first: FirstRung | None) -> Iterator[tuple[int, list[_Result]]]:
        """Yield the epochs and the results of each rung, from the lowest up.

        Above the first rung that pilots chose, they count only where they would have been promoted: random trials at
        high rungs would let others pass too easily.
        """
        before: list[_Result] = []
        for (level, _), results in sorted(self._results.items()):
            counted = results
            if self._pilots is not None and first is not None and first.is_chosen and level > first.epochs:
                best = {number for *_, number in before[: self._quota(level, len(before), first)]}
                counted = [one for one in results if one[-1] in best or one[-1] not in self._pilots.numbers]
            yield level, counted
            before = counted

    def _quota(self, level: int, count: int, first: FirstRung | None) -> int:
        """Return how many of the best at a rung may continue: all of them below the first rung that decides."""
        if first is None or (first.is_chosen and level >= first.epochs):
            return int(count // self._ladder.reduction)
        return count if level <= first.epochs else 0

    def _may_pass(self, level: int, number: int, first: FirstRung | None) -> bool:
        """Return whether a trial may leave a rung: while one is examined, pilots pass it, and the others wait."""
        is_examined = first is not None and not first.is_chosen and level == first.epochs
        return not is_examined or (self._pilots is not None and number in self._pilots.numbers)

    def out_of_reach(self, trials: Mapping[int, TrialHistory], planned: Mapping[int, int]) -> Iterator[int]:
        """Yield trials paused at the first rung that decides which can never be promoted.

        Ranks only get worse, and there will be no more results than planned trials.

        Args:
            trials: See `update`.
            planned: Number of competing trials by bracket.
        """
        first = self._pilots.first_rung(trials) if self._pilots is not None else None
        if first is not None and not first.is_chosen:
            return
        for bracket, count in planned.items():
            level = self._ladder.level(bracket, 0) if first is None else first.epochs
            for *_, number in self._results.get((level, bracket), [])[max(1, int(count // self._ladder.reduction)) :]:
                if self._waits_at(trials, number, level):
                    yield number

    def last_promotion(self, trials: Mapping[int, TrialHistory], seen: float) -> tuple[int, Promotion] | None:
        """Return the promotion of the best trial at the highest rung; for use when no other trial can run.

        A small study would otherwise end without a complete trial. None if a trial is complete or none is paused.
        """
        if any(trial.state == "complete" for trial in trials.values()):
            return None
        for (level, _), results in sorted(self._results.items(), reverse=True):
            for place, (*_, number) in enumerate(results, start=1):
                if self._waits_at(trials, number, level):
                    return number, Promotion(level, place, len(results), last=True, seen=seen)
        return None

    def _waits_at(self, trials: Mapping[int, TrialHistory], number: int, level: int) -> bool:
        if (level, number) in self._gone:
            return False
        trial = trials[number]
        if granted(trial) > level or trial.state in FINISHED:
            self._gone.add((level, number))
        return granted(trial) == level and is_paused_at_rung(trial)
