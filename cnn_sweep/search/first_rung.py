"""Which rung is the first that decides: the lowest whose order of trials still holds at the next rung.

Early epochs may mislead: a rung that comes too early leaves the best behind. A few trials, the *pilots*, therefore pass
each rung without competing until their order at one agrees with their order at the next. That rung is the first one;
below it, all trials go on. The choice is a function of the pilots' results, so all workers make the same one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

from cnn_sweep.search.rungs import reached, reported, rung_results
from cnn_sweep.sweep.spec.search import AshaSpec
from cnn_sweep.sweep.states import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cnn_sweep.journal.trials import TrialHistory
    from cnn_sweep.search.rungs import Ladder
    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.sweep import Sweep

# Found on the learning curves of LCBench and of 1,152 small networks: benchmarks/curves.py.
PILOTS: Final = 24
AGREEMENT: Final = 0.6  # least Kendall's tau: of ten pairs of trials, eight keep their order
_FEWEST: Final = 8  # pilots with results at both rungs; fewer say too little


@dataclass(frozen=True)
class FirstRung:
    """The first rung that decides who goes on.

    Attributes:
        epochs: Its epochs; if it is not chosen yet, those of the rung that is examined.
        is_chosen: Whether the pilots have shown that it is the first one.
    """

    epochs: int
    is_chosen: bool


class Pilots:
    """The trials that choose the first rung.

    Args:
        ladder: The rungs that may be the first.
        direction: Direction of the objective.
        numbers: The pilots.

    Attributes:
        numbers: The pilots.
    """

    def __init__(self, ladder: Ladder, direction: Direction, numbers: Iterable[int]) -> None:
        self.numbers = frozenset(numbers)
        self._ladder = ladder
        self._direction = direction
        self._found: tuple[object, FirstRung] | None = None

    @classmethod
    def of(cls, sweep: Sweep, ladder: Ladder, competing: Sequence[int]) -> Pilots | None:
        """Return the pilots of a sweep: the first of the trials that compete. None if its first rung is given."""
        if not isinstance(sweep.pruner, AshaSpec) or sweep.pruner.min_epochs != "auto":
            return None
        return cls(ladder, sweep.objective.direction, sorted(competing)[:PILOTS])

    def first_rung(self, trials: Mapping[int, TrialHistory]) -> FirstRung:
        """Return the first rung, as far as the pilots' results show it.

        Args:
            trials: The trials that compete, by number.
        """
        known = [trials.get(number) for number in sorted(self.numbers)]
        source = [None if t is None else (t.state, reached(t)) for t in known]
        if self._found is None or self._found[0] != source:
            self._found = source, self._choose([trial for trial in known if trial is not None])
        return self._found[1]

    def _choose(self, pilots: Sequence[TrialHistory]) -> FirstRung:
        results = [rung_results(trial, self._ladder, self._direction) for trial in pilots]
        level = self._ladder.next_level(0, 0)
        while True:
            above = self._ladder.next_level(0, level)
            if len(pilots) < len(self.numbers) or not all(t.state in FINISHED or reached(t) >= above for t in pilots):
                return FirstRung(level, is_chosen=False)
            after = [found.get(above, self._end(trial)) for trial, found in zip(pilots, results, strict=True)]
            pairs = [
                (found[level], later)
                for found, later in zip(results, after, strict=True)
                if level in found and later is not None
            ]
            agrees = len(pairs) >= _FEWEST and round(kendall_tau(pairs), 9) >= AGREEMENT
            if agrees or not any(level in found for found in results):  # nobody trains so far
                return FirstRung(level, is_chosen=True)
            level = above

    def _end(self, trial: TrialHistory) -> float | None:
        """Return the best objective of a complete trial, which may end before the next rung."""
        values = [value for value in reported(trial).values() if math.isfinite(value)]
        return min(values, key=self._direction.key, default=None) if trial.state == "complete" else None


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Kendall's tau-b, which allows for ties (Kendall, Biometrika 33, 1945); 0 if a side has equal values alone.

    Args:
        pairs: Two values of each subject.
    """
    signs = [((a > c) - (a < c), (b > d) - (b < d)) for (a, b), (c, d) in combinations(pairs, 2)]
    ordered = math.prod(sum(sign[side] != 0 for sign in signs) for side in (0, 1))
    return sum(first * second for first, second in signs) / math.sqrt(ordered) if ordered else 0.0
