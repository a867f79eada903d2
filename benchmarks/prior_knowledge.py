"""What earlier knowledge saves where it is right, and costs where it misleads, on a table of learning curves.

    python benchmarks/prior_knowledge.py --table FILE.npz --seeds 5

Tables, workers and the target of a task are those of ``curves.py``. Knowledge decides only which configurations are
tried first; everything else is the search without it, on the same seed.

``learn_from``: three or, with random search, five configurations are first. They are the best of the next task, as of
an earlier study with other images; the best of this task, as of one with the same images; or the worst of this task.

``prior``: as many, with random search twenty, are a value of each hyperparameter and draws around it. The values are
those of the best configuration of this task; the middle of the best 5% of configurations, on this task or on the next
one; or the middle of the worst 5% on this task. Each takes the nearest configuration of the table that is left.
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from curve_tables import Table, choice, cube_of, distributions, take_nearest
from curves import DIGITS, InOrder, InRungs, Predictive, events, interval, target_of
from optuna.distributions import CategoricalDistribution
from results_page import write_section
from threadpoolctl import threadpool_limits

from cnn_sweep.search.rungs import Ladder
from cnn_sweep.search.samplers import MOST_BELIEVED, MOST_FIRST, MOST_IF_SHORT
from cnn_sweep.sweep.space.space import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curve_tables import Floats, Task
    from curves import Search

KNOWLEDGE = (
    *("learn_from, same task", "learn_from, next task", "learn_from, misleading"),
    *("prior, best of same task", "prior, same task", "prior, next task", "prior, misleading"),
)
ENOUGH_SEEDS = 5  # for the page of results


class Tpe(InOrder):
    """Optuna's TPE, whose trials are trained to their ends; a proposal takes the nearest configuration that is left.

    Args:
        task: The task.
        first: Number of configurations that are tried in their order, before the sampler proposes any.
    """

    def __init__(self, task: Task, first: int) -> None:
        super().__init__(task)
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=task.seed))
        self._space = distributions(task.params)
        self._cube = cube_of(task.params, self._space)
        self._left = np.ones(len(task.params), dtype=bool)
        self._first = first
        self._trials: dict[int, optuna.Trial] = {}

    def take(self) -> tuple[int, int] | None:
        """Return the proposed configuration, and all epochs."""
        if not self._left.any():
            return None
        if len(self._trials) < self._first:
            params = self.task.params[len(self._trials)]
            categories = (name for name, one in self._space.items() if isinstance(one, CategoricalDistribution))
            self._study.enqueue_trial(params | {name: choice(params.get(name)) for name in categories})
        trial = self._study.ask(self._space)
        row = take_nearest(self._cube, self._left, cube_of([trial.params], self._space))
        self._trials[row] = trial
        return row, self.task.epochs

    def trained(self, row: int, epochs: int) -> None:
        """Tell the result."""
        self._study.tell(self._trials[row], float(self.task.best[row, epochs - 1]))


# Configurations that are first: of an earlier study, and around a prior.
MOST = {"random": (MOST_FIRST, MOST_BELIEVED)}
SHORT = (MOST_IF_SHORT, MOST_IF_SHORT)  # with the other searches
SEARCHES: dict[str, Callable[[Task, int], Search]] = {
    "random": lambda task, _first: InOrder(task),
    "asha": lambda task, _first: InRungs(task, Ladder(1, 3)),
    "predictive": Predictive,
    "tpe": Tpe,
}


def first_rows(name: str, table: Table, place: int, seed: int, search: str) -> list[int]:
    """Return the rows of a table that are tried first."""
    learned, believed = MOST.get(search, SHORT)
    kind, source = name.split(", ")
    ends = np.nan_to_num(np.nanmax(table.curves[(place + (source == "next task")) % len(table.tasks)], axis=1))
    ranked = np.argsort(ends if source == "misleading" else -ends, kind="stable")
    if kind == "learn_from":
        return [int(row) for row in ranked[:learned]]
    cube = cube_of(table.params, distributions(table.params))
    count = 1 if source == "best of same task" else max(1, len(ranked) // 20)
    middle = cube[ranked[:count]].mean(axis=0)
    generator = np.random.default_rng((seed, place))
    left = np.ones(len(cube), dtype=bool)
    rows = [take_nearest(cube, left, middle)]
    while len(rows) < believed:
        shares = generator.random(len(middle))
        drawn = [Range(0.0, 1.0, prior=float(m)).believed_at(share) for m, share in zip(middle, shares, strict=True)]
        rows.append(take_nearest(cube, left, np.array(drawn)))
    return rows


def with_first(table: Table, place: int, seed: int, rows: Sequence[int]) -> Task:
    """Return a task in the order of a seed, but with some rows of the table first."""
    order = np.random.default_rng(seed).permutation(len(table.params))
    new = [*rows, *(int(row) for row in order if int(row) not in set(rows))]
    at = {int(row): index for index, row in enumerate(order)}
    task, moved = table.task(place, seed), [at[row] for row in new]
    return replace(task, params=[table.params[row] for row in new], curves=task.curves[moved], best=task.best[moved])


def epochs_to(search: Search, task: Task, target: float) -> float:
    """Return the epochs of all workers until a complete trial reached a target; infinite if none did."""
    for spent, row, epochs in events(search, task, task.best.size):
        if epochs == task.epochs and task.best[row, -1] >= target:
            return float(spent)
    return math.inf


def run_task(path: Path, place: int, seeds: int, searches: Sequence[str]) -> list[tuple[str, str, float, float]]:
    """Return (search, knowledge, epochs with it, epochs without it) for each seed of a task."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    threadpool_limits(1)
    table = Table.load(path)
    target = target_of(table, place, max(seeds, 20))
    found = []
    for seed in range(seeds):
        for search in searches:
            plain = table.task(place, seed)
            without = epochs_to(SEARCHES[search](plain, 0), plain, target)
            for knowledge in KNOWLEDGE:
                rows = first_rows(knowledge, table, place, seed, search)
                task = with_first(table, place, seed, rows)
                own = epochs_to(SEARCHES[search](task, len(rows)), task, target)
                found.append((search, knowledge, own, without))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=DIGITS, help="learning curves; default: digits_table.npz")
    parser.add_argument("--tasks", type=int, help="number of tasks; default: all")
    parser.add_argument("--seeds", type=int, default=ENOUGH_SEEDS)
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    table = Table.load(options.table)
    runs: list[tuple[str, str, float, float]] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        places = range(min(options.tasks or len(table.tasks), len(table.tasks)))
        for job in [pool.submit(run_task, options.table, p, options.seeds, options.searches) for p in places]:
            runs += job.result()
            print(f"{len(runs)} runs", file=sys.stderr, flush=True)
    rows = [_row(search, knowledge, runs) for search in options.searches for knowledge in KNOWLEDGE]
    write_section(
        f"Earlier knowledge on the learning curves of {options.table.stem}",
        ("search", "knowledge", "epochs, of without", "mean", "never found"),
        rows,
        note=f"{len(places)} tasks, {len(table.params)} configurations; {options.seeds} seeds. Epochs until a complete "
        "trial is as good as the best of half of the configurations, as a share of those of the same search without "
        "the knowledge, on the same seed: median over runs, with 95% bootstrap intervals, and the ratio of the means.",
        quick=options.seeds < ENOUGH_SEEDS or set(SEARCHES) != set(options.searches),
    )


def _row(search: str, knowledge: str, runs: Sequence[tuple[str, str, float, float]]) -> tuple[str, ...]:
    pairs: list[Any] = [(own, without) for one, kind, own, without in runs if (one, kind) == (search, knowledge)]
    both: Floats = np.array([pair for pair in pairs if all(map(math.isfinite, pair))]).reshape(-1, 2)
    ratios = both[:, 0] / both[:, 1]
    low, high = interval(ratios, np.median)
    missed = np.mean([not math.isfinite(own) for own, _ in pairs])
    mean = both[:, 0].mean() / both[:, 1].mean()
    return search, knowledge, f"{np.median(ratios):.3f} ({low:.3f}-{high:.3f})", f"{mean:.3f}", f"{missed:.3f}"


if __name__ == "__main__":
    main()
