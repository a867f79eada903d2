"""Promotion by what is expected at the end of training, instead of by rank at a rung.

Trials pause at closely spaced rungs. A free worker takes the trial, paused or new, with the greatest chance of being
the best of all at its end, for what the next rung costs. Now and then it takes the next new trial as planned, or any
paused one, so that a wrong prediction is noticed and does not decide alone. And until a trial is complete, it now and
then takes the most promising paused one, whatever the next rung costs, so that there is soon a good complete trial.

What an earlier study, or the user, believed to be good is trained to its end first: the most promising such trial, as
long as at least half of all trials are expected to end below it. So a right belief soon shows, and a wrong one costs
little.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnn_sweep.search.learning_curves import CurveModel, features_of
from cnn_sweep.search.rungs import Promotion, granted, is_paused_at_rung, reported
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.rungs import FineLadder
    from cnn_sweep.sweep.direction import Direction

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

# Found on the learning curves of LCBench and of 1,152 small networks: benchmarks/curves.py.
_FIRST_TRIALS = 12  # trials that begin as planned, before anything is predicted
_AS_PLANNED = 0.125  # share of decisions that take the next new trial, or any paused one
_LEADER = 0.2  # share of the others that, until a trial is complete, take the paused one with the greatest chance
_COST = 0.5  # chances are divided by this power of the epochs to the next rung
_ENOUGH = 0.003  # the study ends when an unfinished trial is the best with less than this probability


@dataclass(frozen=True)
class Known:
    """What a decision is made from; one row for each trial that has a result or may begin.

    Attributes:
        levels: Epochs of the rungs, and of the whole training.
        numbers: Numbers of the trials, in ascending order; shape (trials,).
        results: Best result up to each level, higher is better; NaN where there is none yet. The result of a complete
            trial counts at all levels. Shape (trials, levels).
        features: Of the hyperparameters; shape (trials, features).
        fresh: Whether a trial may begin; shape (trials,).
        over: Whether a trial has failed or was pruned; shape (trials,).
        violations: Violation of constraints by a network's number of weights, 0 for trials that have not begun; shape
            (trials,).
        believed: Whether a trial comes from an earlier study or from the user's belief; shape (trials,).
    """

    levels: tuple[int, ...]
    numbers: NDArray[np.int64]
    results: Floats
    features: Floats
    fresh: Flags
    over: Flags
    violations: Floats
    believed: Flags

    @property
    def digest(self) -> str:
        """A short digest of all results, the states of the trials, and violations and beliefs if there are any."""
        rare = [one for one in (self.violations, self.believed) if one.any()]
        arrays = (self.numbers, self.results, self.fresh, self.over, *rare)
        return hashlib.sha256(repr(self.levels).encode() + b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]

    @property
    def reached(self) -> NDArray[np.int64]:
        """Number of levels with a result, by trial."""
        found: NDArray[np.int64] = (~np.isnan(self.results)).sum(axis=1)
        return found

    @property
    def rivals(self) -> Flags:
        """Whether a trial can be the best: of those that have not failed, none violates constraints less."""
        going = ~self.over
        least = self.violations[going].min(initial=np.inf)
        found: Flags = going & (self.violations == least)
        return found

    def expected(self) -> tuple[Floats, Floats]:
        """Return each trial's expected score at the end, and its probability of being the best of all then.

        The score is normal; that of a trial that cannot be the best is minus infinity.
        """
        model = CurveModel.fit(self.levels, self.results, self.features)
        rivals = self.rivals
        prediction = model.predict(self.results[rivals], self.features[rivals])
        scores, chances = np.full(len(self.numbers), -np.inf), np.zeros(len(self.numbers))
        scores[rivals], chances[rivals] = prediction.mean, prediction.chances()
        return scores, chances

    def costs(self) -> Floats:
        """Return the epochs to the next level, by trial; infinite for complete ones."""
        steps = np.diff(np.array([0, *self.levels], dtype=float), append=np.inf)
        found: Floats = steps[self.reached]
        return found


@dataclass(frozen=True)
class Choice:
    """A trial that a worker may take.

    Attributes:
        number: Number of the trial.
        chance: Its probability of being the best of all; None before anything is predicted.
        drawn: Whether it comes first whatever its chance is.
    """

    number: int
    chance: float | None
    drawn: bool = False


def choices(known: Known, paused: Flags, seed: int) -> Iterator[Choice]:
    """Yield what a worker may take, in the order of preference; a function of its arguments alone.

    Nothing is yielded once the study has found what it is likely to find.

    Args:
        known: What the journals say.
        paused: Whether a trial is paused at a rung; shape (trials,).
        seed: Seed of the search.
    """
    fresh = known.numbers[known.fresh]
    if len(fresh) and len(known.numbers) - len(fresh) < _FIRST_TRIALS:
        yield from (Choice(int(number), None) for number in fresh)
        return
    paused = paused & known.rivals
    if not (paused | known.fresh).any():
        return
    ends, chances = known.expected()
    complete = (known.reached == len(known.levels)) & ~known.over
    if not len(fresh) and complete.any() and chances[~complete].sum() < _ENOUGH:
        return

    def choice(row: int, *, drawn: bool = False) -> Choice:
        return Choice(int(known.numbers[row]), float(chances[row]), drawn)

    def leader(some: Flags) -> int:
        return int(np.where(some, chances, -1.0).argmax())

    promising = known.believed & paused & (ends >= np.median(ends[~known.fresh]))
    if promising.any() and not (known.believed & complete).any():
        yield choice(leader(promising), drawn=True)
    draw = random.Random(f"{seed} {known.digest}")  # noqa: S311 - no secret
    if draw.random() < _AS_PLANNED:
        row = int(known.fresh.argmax()) if len(fresh) else draw.choice(np.flatnonzero(paused).tolist())
        yield choice(row, drawn=True)
    scores = np.where(paused | known.fresh, chances / known.costs() ** _COST, -1.0)
    if paused.any() and not complete.any() and draw.random() < _LEADER:
        scores[leader(paused)] = np.inf
    for row in np.argsort(-scores, kind="stable")[: (scores >= 0).sum()]:
        yield choice(row)


class _Read(NamedTuple):
    """What was read of a trial: from which state of it, its results by level, its violation, and if it is believed."""

    source: object
    results: tuple[float, ...]
    violation: float
    believed: bool


class PredictedRungs:
    """Results at the rungs of a study, updated from a history, and what to train next by them.

    Args:
        ladder: The rungs.
        direction: Direction of the objective.
        seed: Seed of the search.
        violation: Returns the violation of constraints by a number of weights.
    """

    def __init__(
        self, ladder: FineLadder, direction: Direction, seed: int, violation: Callable[[int | None], float]
    ) -> None:
        self._ladder = ladder
        self._direction = direction
        self._seed = seed
        self._violation = violation
        self._read: dict[int, _Read] = {}
        self._encoded: tuple[object, Floats] = ((), np.zeros((0, 0)))

    def promotions(
        self,
        trials: Mapping[int, TrialHistory],
        fresh: Mapping[int, Mapping[str, Any] | None],
        epochs: int,
        seen: float,
    ) -> Iterator[tuple[int, Promotion | None]]:
        """Yield the trials to take, in the order of preference; those that have not begun without a promotion.

        Args:
            trials: The trials that compete: first trainings of a configuration.
            fresh: Hyperparameters of those that may begin, by number; None if a sampler will propose them.
            epochs: Epochs of a whole training.
            seen: When the journals were read, in seconds since 1970.
        """
        known = self.known(trials, fresh, epochs)
        began = [trials.get(int(number)) for number in known.numbers]
        paused = np.array([trial is not None and is_paused_at_rung(trial) for trial in began], dtype=bool)
        place, results, inputs = 0, int(known.reached.sum()), known.digest
        for choice in choices(known, paused, self._seed):
            if choice.number in fresh:
                yield choice.number, None
                continue
            place += 1
            rung = int(granted(trials[choice.number]))
            yield (
                choice.number,
                Promotion(rung, place, results, last=False, seen=seen, chance=choice.chance, inputs=inputs),
            )

    def known(
        self, trials: Mapping[int, TrialHistory], fresh: Mapping[int, Mapping[str, Any] | None], epochs: int
    ) -> Known:
        """Collect what a decision is made from; for the arguments, see `promotions`."""
        levels = self._ladder.levels(epochs)
        found = {number: read for number, trial in trials.items() if (read := self._of(trial, levels)).results}
        numbers = sorted({*found, *fresh})
        table = np.full((len(numbers), len(levels)), np.nan)
        over = np.zeros(len(numbers), dtype=bool)
        violations = np.zeros(len(numbers))
        believed = np.zeros(len(numbers), dtype=bool)
        for row, number in enumerate(numbers):
            if number in found:
                table[row, : len(found[number].results)] = found[number].results
                over[row] = trials[number].state in FINISHED and trials[number].state != "complete"
                violations[row] = found[number].violation
                believed[row] = found[number].believed
        begins = np.array([number not in found for number in numbers], dtype=bool)
        features = self._features(numbers, trials, fresh)
        return Known(levels, np.array(numbers, dtype=np.int64), table, features, begins, over, violations, believed)

    def _features(
        self, numbers: list[int], trials: Mapping[int, TrialHistory], fresh: Mapping[int, Mapping[str, Any] | None]
    ) -> Floats:
        if self._encoded[0] != numbers:
            params = [(fresh[n] if n in fresh else trials[n].params) or {} for n in numbers]
            self._encoded = numbers, features_of(params)
        return self._encoded[1]

    def _of(self, trial: TrialHistory, levels: tuple[int, ...]) -> _Read:
        """Return a trial's best result up to each level that it has reached, and its violation."""
        source = (levels, trial.state, sum(len(attempt.epochs) for attempt in trial.attempts.values()))
        known = self._read.get(trial.number)
        if known is None or known.source != source:
            values = {epoch: -self._direction.key(v) for epoch, v in reported(trial).items() if v == v}  # noqa: PLR0124 - NaN
            last = max(reported(trial), default=0)
            ends = len(levels) if trial.state == "complete" else sum(level <= last for level in levels)
            best = (max((v for e, v in values.items() if e <= level), default=-np.inf) for level in levels[:ends])
            # The start names the weights, so that all workers that know a result know them.
            weights = trial.start.parameters if trial.start is not None else None
            believed = trial.start is not None and trial.start.source is not None
            known = self._read[trial.number] = _Read(source, tuple(best), self._violation(weights), believed)
        return known
