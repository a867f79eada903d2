"""How many trials searches need: replayed on real learning curves, with four workers that learn from each other late.

The question is asked as a user would: after how many trials has a search found what 200 random trials find?
"""

from __future__ import annotations

import argparse
import heapq
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from digits_table import SWEEP, DigitsTable
from results_page import write_section

from cnn_sweep.search.adaptive import AdaptiveSampler, Observation
from cnn_sweep.search.samplers import draw
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

WORKERS = 4
RANDOM_TRIALS = 200
MOST_TRIALS = 400
METHODS = ("random", "tpe", "qmc", "nsga2", "cmaes")
Propose = "Callable[[int, list[Observation]], dict[str, Any]]"


def sweep_of(method: str, seed: int) -> Sweep:
    """Return the table's sweep with another method; the learning rate is any number, and the nearest row counts."""
    search = f"search: {{method: {method}, trials: {MOST_TRIALS}, seed: {seed}}}"
    return Sweep.parse(SWEEP.read_text(encoding="utf-8").replace("search: {method: grid}", search), source=str(SWEEP))


def proposer(method: str, seed: int) -> Callable[[int, list[Observation]], dict[str, Any]]:
    """Return what gives trial ``number`` its parameters."""
    sweep = sweep_of(method, seed)
    if sweep.search.is_adaptive:
        return AdaptiveSampler(sweep, lambda _params: True).propose
    draws = draw(sweep)
    return lambda _number, _history: next(draws)


class Oracle:
    """Tells what a training would have come to."""

    def __init__(self, table: DigitsTable) -> None:
        self._table = table
        self._rates = np.array(table.sweep.space.by_name["learning_rate"].domain.grid)

    def row(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the table's configuration that is nearest."""
        place = np.abs(np.log(self._rates) - np.log(params["learning_rate"])).argmin()
        return params | {"learning_rate": float(self._rates[place])}

    def value(self, params: dict[str, Any]) -> float:
        """Return the best validation accuracy of a training."""
        return self._table.best(self.row(params))


def values(method: str, seed: int, oracle: Oracle, trials: int) -> Iterator[float]:
    """Search with several workers, and yield each trial's value when it ends; a small batch takes longer."""
    propose = proposer(method, seed)
    history: list[Observation] = []
    running: list[tuple[float, int]] = []
    clock = 0.0
    for number in range(trials + WORKERS):
        if len(running) == WORKERS:
            clock, ended = heapq.heappop(running)
            value = oracle.value(dict(history[ended].params))
            history[ended] = Observation(ended, history[ended].params, "complete", value, ended=clock)
            yield value
        if number < trials:
            params = propose(number, history)
            history.append(Observation(number, params, "running", None))
            heapq.heappush(running, (clock + 27 * 17 * 32 / params["batch_size"], number))


def first_reach(found: Iterable[float], target: float) -> float:
    """Return after how many trials a value was reached; infinite if it was not. Nothing is searched beyond."""
    return next((count for count, value in enumerate(found, start=1) if value >= target), float("inf"))


def interval(counts: list[float], generator: np.random.Generator) -> tuple[float, float]:
    """Return a 95% bootstrap interval of the median."""
    samples = generator.choice(np.array(counts), size=(2_000, len(counts)))
    low, high = np.quantile(np.median(samples, axis=1), [0.025, 0.975], method="nearest")
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    options = parser.parse_args()
    oracle = Oracle(DigitsTable.load())
    seeds = range(options.seeds)
    bests = [max(values("random", seed, oracle, RANDOM_TRIALS)) for seed in seeds]
    target = float(np.median(bests))
    generator = np.random.default_rng(0)
    rows = []
    for name in dict.fromkeys(["random", *options.methods]):
        counts = [first_reach(values(name, seed, oracle, MOST_TRIALS), target) for seed in seeds]
        low, high = interval(counts, generator)
        share = np.median(counts) / RANDOM_TRIALS
        rows.append((name, f"{np.median(counts):g}", f"{low:g}-{high:g}", f"{share:.2f}"))
        print(rows[-1], file=sys.stderr, flush=True)
    write_section(
        "Trials until a search has found what 200 random trials find",
        ("method", "trials, median", "95% interval", f"of {RANDOM_TRIALS}"),
        rows,
        note=f"On the learning curves of {len(DigitsTable.load().params):,} networks (digits, 27 epochs), {WORKERS} "
        f"workers that see a result when its training would have ended, {options.seeds} seeds. The value to reach is "
        f"{target:.4f}, the median of the best of 200 random trials. inf: more than 400.",
    )


if __name__ == "__main__":
    main()
