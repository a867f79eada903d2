"""Which rung is the first that decides: the lowest whose order of trials still holds at the next rung.

Early epochs may mislead: a rung that comes too early leaves the best behind. A few trials, the *pilots*, therefore pass
each rung without competing until their order at one agrees with their order at the next. That rung is the first one;
below it, all trials go on. The choice is a function of the pilots' results, so all workers make the same one.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import listed, plural
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
class Comparison:
    """The order of pilots at a rung beside their order at the next.

    Attributes:
        epochs: Epochs of the rung.
        above: Epochs of the next rung.
        pilots: How many have a result at both.
        tau: Kendall's tau of these results.
    """

    epochs: int
    above: int
    pilots: int
    tau: float

    @property
    def holds(self) -> bool:
        """Whether the order at the rung can be trusted."""
        return self.pilots >= _FEWEST and round(self.tau, 9) >= AGREEMENT

    def __str__(self) -> str:
        return f"Kendall's tau {self.tau:.2f} of {plural(self.pilots, 'pilot')}"


@dataclass(frozen=True)
class FirstRung:
    """The first rung that decides who goes on.

    Attributes:
        epochs: Its epochs; if it is not chosen yet, those of the rung that is examined.
        above: Epochs of the next rung.
        pilots: Number of pilots.
        compared: The evidence: the rungs that were examined, from the lowest up.
        is_chosen: Whether the pilots have shown that it is the first one.
        waiting_for: How many pilots have not reached the next rung, and have not ended.
    """

    epochs: int
    above: int
    pilots: int
    compared: tuple[Comparison, ...] = ()
    is_chosen: bool = True
    waiting_for: int = 0

    def as_data(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return asdict(self) | {"text": str(self)}

    def __str__(self) -> str:
        epochs = plural(self.epochs, "epoch")
        failed = [f"{one.epochs:,} and {one.above:,} epochs ({one})" for one in self.compared if not one.holds]
        below = f"; their order does not hold between {listed(failed)}" if failed else ""
        if not self.is_chosen:
            left = f"{self.waiting_for} of {plural(self.pilots, 'pilot')} have not reached {self.above:,} epochs"
            return f"not chosen yet: {left}, where their order at {epochs} is tested{below}"
        if self.compared and (last := self.compared[-1]).holds:
            return f"{epochs}, since the order of pilots there holds at {self.above:,} or the end ({last}){below}"
        return f"{epochs}, where no pilot has a result{below}"


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
        if not chooses_first_rung(sweep):
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
        count = len(self.numbers)
        compared: tuple[Comparison, ...] = ()
        while True:
            above = self._ladder.next_level(0, level)
            if waiting := count - sum(t.state in FINISHED or reached(t) >= above for t in pilots):
                return FirstRung(level, above, count, compared, is_chosen=False, waiting_for=waiting)
            after = [found.get(above, self._end(trial)) for trial, found in zip(pilots, results, strict=True)]
            pairs = [
                (found[level], later)
                for found, later in zip(results, after, strict=True)
                if level in found and later is not None
            ]
            if not any(level in found for found in results):  # nobody trains so far
                return FirstRung(level, above, count, compared)
            compared = (*compared, Comparison(level, above, len(pairs), kendall_tau(pairs)))
            if compared[-1].holds:
                return FirstRung(level, above, count, compared)
            level = above

    def _end(self, trial: TrialHistory) -> float | None:
        """Return the best objective of a complete trial, which may end before the next rung."""
        values = [value for value in reported(trial).values() if math.isfinite(value)]
        return min(values, key=self._direction.key, default=None) if trial.state == "complete" else None


def chooses_first_rung(sweep: Sweep) -> bool:
    """Return whether pilots choose a sweep's first rung."""
    return isinstance(sweep.pruner, AshaSpec) and sweep.pruner.min_epochs == "auto"


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Kendall's tau-b, which allows for ties (Kendall, Biometrika 33, 1945); 0 if a side has equal values alone.

    Args:
        pairs: Two values of each subject.
    """
    signs = [((a > c) - (a < c), (b > d) - (b < d)) for (a, b), (c, d) in combinations(pairs, 2)]
    ordered = math.prod(sum(sign[side] != 0 for sign in signs) for side in (0, 1))
    return sum(first * second for first, second in signs) / math.sqrt(ordered) if ordered else 0.0
