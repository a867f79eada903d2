"""What searches save and what they miss, replayed on any table of learning curves.

    python benchmarks/curves.py --table FILE.npz --seeds 20 --json rows.json

A table holds ``val_accuracy`` of shape (tasks, configurations, epochs), higher is better, ``params`` (a JSON list of
the configurations' hyperparameters) and, if they have names, ``tasks``. Without ``--table``, the curves are those of
1,152 small networks on digits (``digits_table.npz``). The figures in the documentation are from 17 tasks of LCBench
(Zimmer, Lindauer, Hutter, IEEE TPAMI 2021), drawn from the surrogate of YAHPO Gym (Pfisterer et al., AutoML 2022;
Apache-2.0): 400 random configurations, 52 epochs each.

Four simulated workers train a table's epochs, all equally long. ``asha``, ``hyperband``, ``median`` and ``predictive``
are this project's own rules, fed as a study feeds them; ``halving.py`` simulates whole studies on disk, with the audit.
The peers (``curve_peers.py``) are Optuna's TPE with Optuna's pruners and, if it is installed, Syne Tune.

The target of a task is the median, over seeds, of the best result among the first half of the configurations: what
random search finds with half of its budget. It is found once a trial that was trained to its end has reached it. Random
search's budget is that of training every configuration to its end; no method goes on beyond it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import optuna
from curve_peers import HAS_SYNE_TUNE, PEERS, EpochByEpoch
from curve_tables import Table, Task
from results_page import write_section
from threadpoolctl import threadpool_limits

from cnn_sweep.journal.events import End, Start
from cnn_sweep.journal.trials import AttemptHistory, EpochHistory, TrialHistory
from cnn_sweep.search.first_rung import PILOTS, Pilots
from cnn_sweep.search.predicted_rungs import Known, choices
from cnn_sweep.search.pruners import StopPruner
from cnn_sweep.search.rungs import FineLadder, Ladder, Rungs
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.spec.search import MedianSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WORKERS = 4
ENOUGH_SEEDS = 10  # for the page of results
BUDGETS = (5, 10, 20, 50)  # per cent of random search's
RECOMMENDED = "predictive"
DIGITS = Path(__file__).with_name("digits_table.npz")


class Search(Protocol):
    """A rule by which workers choose what to train."""

    def take(self) -> tuple[int, int] | None:
        """Return a row and the epoch up to which a free worker trains it; None if there is nothing to do now."""

    def trained(self, row: int, epochs: int) -> None:
        """Learn that a row was trained up to an epoch."""


class InOrder:
    """Random search: each configuration to its end; also the order in which others begin them.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.begun = 0

    def next_row(self) -> int | None:
        """Return the next configuration that has not begun."""
        if self.begun == len(self.task.params):
            return None
        self.begun += 1
        return self.begun - 1

    def take(self) -> tuple[int, int] | None:
        """Return the next configuration, and all epochs."""
        row = self.next_row()
        return None if row is None else (row, self.task.epochs)

    def trained(self, row: int, epochs: int) -> None:
        """Learn nothing."""


class InRungs(InOrder):
    """The project's rungs.

    Args:
        task: The task.
        ladder: The rungs.
        pilots: Number of configurations that choose the first rung that decides; 0 if it is the ladder's first.
    """

    def __init__(self, task: Task, ladder: Ladder, pilots: int = 0) -> None:
        super().__init__(task)
        self._ladder = ladder
        chosen_by = Pilots(ladder, Direction.MAXIMIZE, range(pilots)) if pilots else None
        self._rungs = Rungs(ladder, Direction.MAXIMIZE, pilots=chosen_by)
        self._trials: dict[int, TrialHistory] = {}

    def take(self) -> tuple[int, int] | None:
        """Return a promoted configuration, else the next."""
        promoted = next(self._rungs.promotions(self._trials, 0.0), None)
        if promoted is None:
            if (row := self.next_row()) is None:
                return None
            return self._start(row, 0)
        return self._start(promoted[0], promoted[1].rung)

    def _start(self, row: int, reached: int) -> tuple[int, int]:
        level = self._ladder.next_level(row, reached)
        until = level if level < self.task.epochs else None
        trial = self._trials.setdefault(row, TrialHistory(row))
        attempt = AttemptHistory(len(trial.attempts))
        attempt.start = Start(0.0, row, attempt.number, "", 0, 0, {}, epoch=reached, until=until)
        trial.attempts[attempt.number] = attempt
        return row, until or self.task.epochs

    def trained(self, row: int, epochs: int) -> None:
        """Add the epochs to the configuration's history."""
        attempt = self._trials[row].last
        first = attempt.start.epoch + 1 if attempt.start else 1
        values = self.task.curves[row]
        attempt.epochs = {e: EpochHistory(0.0, 1.0, float(values[e - 1])) for e in range(first, epochs + 1)}
        state = "complete" if epochs == self.task.epochs else "paused"
        attempt.end = End(0.0, row, attempt.number, state, epochs=epochs)
        self._rungs.update({row: self._trials[row]})


class Predictive(InOrder):
    """The project's promotion by the predicted end.

    Args:
        task: The task.
        believed: Number of configurations, the first ones, that earlier knowledge proposed.
    """

    def __init__(self, task: Task, believed: int = 0) -> None:
        super().__init__(task)
        self._believed = believed
        count = len(task.params)
        self._levels = FineLadder().levels(task.epochs)
        self._results = np.full((count, len(self._levels)), np.nan)
        self._reached = np.zeros(count, dtype=int)
        self._begun, self._busy = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)

    def take(self) -> tuple[int, int] | None:
        """Return the configuration that the rule prefers."""
        reached = self._reached
        rows = np.flatnonzero((reached > 0) | ~self._begun)  # those that run to their first rung are unknown
        nothing = np.zeros(len(rows), dtype=bool)
        results, features = self._results[rows], self.task.features[rows]
        fresh, violations = ~self._begun[rows], np.zeros(len(rows))
        believed = ~fresh & (rows < self._believed)
        known = Known(self._levels, rows, results, features, fresh, nothing, violations, believed)
        paused = (reached[rows] > 0) & ~self._busy[rows] & (reached[rows] < len(self._levels))
        choice = next(choices(known, paused, self.task.seed), None)
        if choice is None:
            return None
        self._begun[choice.number] = self._busy[choice.number] = True
        return choice.number, self._levels[reached[choice.number]]

    def trained(self, row: int, epochs: int) -> None:
        """Add a result."""
        self._reached[row] += 1
        self._results[row, self._levels.index(epochs)] = self.task.best[row, epochs - 1]
        self._busy[row] = False


class Stopping(EpochByEpoch):
    """Trials that are stopped for good after any epoch, by the project's median pruner."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._pruner = StopPruner(MedianSpec(), Direction.MAXIMIZE)
        self._order = InOrder(task)

    def begin(self) -> int | None:
        """Begin the next configuration."""
        return self._order.next_row()

    def trains_on(self, row: int, epochs: int) -> bool:
        """Ask the pruner whether to go on."""
        curve = dict(enumerate(self.task.curves[row, :epochs].tolist(), start=1))
        if epochs < self.task.epochs:
            return not self._pruner.prunes(row, curve, {})
        attempt = AttemptHistory(0, end=End(0.0, row, 0, "complete", epochs=epochs))
        attempt.epochs = {epoch: EpochHistory(0.0, 1.0, value) for epoch, value in curve.items()}
        complete = {row: TrialHistory(row, {0: attempt})}
        self._pruner.prunes(-1, {1: 0.0}, complete)  # adds it
        return False


METHODS: dict[str, Callable[[Task], Search]] = {
    "random": InOrder,
    "asha, rungs from 1": lambda task: InRungs(task, Ladder(1, 3)),
    "asha, rungs from 2": lambda task: InRungs(task, Ladder(2, 3)),
    "asha, rungs from 6": lambda task: InRungs(task, Ladder(6, 3)),
    "asha, rungs by evidence": lambda task: InRungs(task, Ladder(1, 3), min(PILOTS, len(task.params))),
    "hyperband": lambda task: InRungs(task, Ladder(1, 3, 3)),
    "median": Stopping,
    "predictive": Predictive,
    **{name: peer for name, peer in PEERS.items() if HAS_SYNE_TUNE or not name.startswith("Syne Tune")},
}


@dataclass(frozen=True)
class Run:
    """What one search did.

    Attributes:
        to_target: Epochs of all workers until a complete trial had reached the target; infinite if none did.
        epochs: Epochs of all workers until the search ended.
        regrets: Best result of all configurations minus the best seen, at each of `BUDGETS`, as a share of the
            distance from the median configuration to the best.
    """

    to_target: float
    epochs: float
    regrets: tuple[float, ...]


def simulate(search: Search, task: Task, target: float) -> Run:
    """Let four workers search until there is nothing left to do, or random search's budget is spent."""
    whole = task.best.size
    spent, seen, done = [], [], []
    for at, row, epochs in events(search, task, whole):
        spent.append(at)
        seen.append(task.best[row, epochs - 1])
        done.append(task.best[row, -1] if epochs == task.epochs else -np.inf)
    best, complete = np.maximum.accumulate(seen), np.maximum.accumulate(done)
    found = np.flatnonzero(complete >= target)
    ends = task.best[:, -1]
    scale = max(float(ends.max() - np.median(ends)), 1e-12)
    regrets = []
    for budget in BUDGETS:
        known = best[np.array(spent) <= whole * budget / 100]
        regrets.append(float(ends.max() - (known[-1] if len(known) else ends.min())) / scale)
    return Run(float(spent[found[0]]) if len(found) else np.inf, float(spent[-1]), tuple(regrets))


def events(search: Search, task: Task, whole: int) -> Iterator[tuple[int, int, int]]:
    """Yield what workers finish: epochs that all of them had trained by then, the row, and its epochs."""
    now, done, order = 0, 0, 0
    trained = np.zeros(len(task.params), dtype=int)
    running: list[tuple[int, int, int, int]] = []
    while True:
        while len(running) < WORKERS and (taken := search.take()) is not None:
            row, until = taken
            heapq.heappush(running, (now + until - int(trained[row]), order, row, until))
            order += 1
        if not running:
            return
        now, _, row, until = heapq.heappop(running)
        done += until - int(trained[row])
        trained[row] = until
        unfinished = sum(end_epoch - int(trained[other]) - (end - now) for end, _, other, end_epoch in running)
        if done + unfinished > whole:
            return
        search.trained(row, until)
        yield done + unfinished, row, until


def target_of(table: Table, place: int, seeds: int) -> float:
    """Return what random search finds on a task with half of its budget, in the median over seeds."""
    half = max(1, len(table.params) // 2)
    return float(np.median([table.task(place, seed).best[:half, -1].max() for seed in range(seeds)]))


def run_task(path: Path, place: int, seeds: int, peer_seeds: int, methods: Sequence[str]) -> dict[str, list[Run]]:
    """Run all methods on a task; a worker process reads the table itself."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    threadpool_limits(1)
    table = Table.load(path)
    target = target_of(table, place, seeds)
    runs: dict[str, list[Run]] = {name: [] for name in methods}
    for seed in range(seeds):
        task = table.task(place, seed)
        for name in methods:
            if seed < (peer_seeds if name in PEERS else seeds):
                runs[name].append(simulate(METHODS[name](task), task, target))
    return runs


def interval(values: Sequence[float], statistic: Callable[..., Any]) -> tuple[float, float]:
    """Return a 95% bootstrap interval of a statistic."""
    if not len(values):
        return float("nan"), float("nan")
    samples = np.random.default_rng(0).choice(np.asarray(values), size=(2_000, len(values)))
    low, high = np.quantile(statistic(samples, axis=1), [0.025, 0.975])
    return float(low), float(high)


def row_of(name: str, tasks: Sequence[dict[str, list[Run]]]) -> dict[str, Any]:
    """Summarise a method: medians over tasks of epochs, shares of runs, and means of regrets over runs."""
    ratios = []
    for runs in tasks:
        pairs = zip(runs[name], runs["random"], strict=False)
        found = [own.to_target / full.to_target for own, full in pairs if math.isfinite(own.to_target)]
        ratios += [float(np.median(found))] if found else []
    every = [run for runs in tasks for run in runs[name]]
    missed = [float(not math.isfinite(run.to_target)) for run in every]
    row: dict[str, Any] = {"method": name, "recommended": name == RECOMMENDED}
    _add(row, "epochs_ratio", ratios, np.median)
    _add(row, "never_found", missed, np.mean)
    for place, budget in enumerate(BUDGETS):
        _add(row, f"regret_{budget}", [run.regrets[place] for run in every], np.mean)
    row["epochs"] = float(np.mean([run.epochs for run in every]))
    row["runs"] = len(every)
    row["epochs_ratio_by_task"] = ratios
    return row


def _add(row: dict[str, Any], key: str, values: Sequence[float], statistic: Callable[..., Any]) -> None:
    row[key] = float(statistic(values)) if len(values) else float("nan")
    row[f"{key}_low"], row[f"{key}_high"] = interval(values, statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=DIGITS, help="learning curves; default: digits_table.npz")
    parser.add_argument("--seeds", type=int, default=20, help="orders of the configurations, on each task")
    parser.add_argument("--peer-seeds", type=int, default=None, help="of other libraries' searches; default: all seeds")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="default: all")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes; default: all cores")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    table = Table.load(options.table)
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    methods = list(dict.fromkeys(["random", *options.methods]))
    peer_seeds = options.seeds if options.peer_seeds is None else options.peer_seeds
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [
            pool.submit(run_task, options.table, place, options.seeds, peer_seeds, methods)
            for place in range(len(table.tasks))
        ]
        tasks = []
        for name, job in zip(table.tasks, jobs, strict=True):
            tasks.append(job.result())
            ratios = {
                row["method"]: round(row["epochs_ratio"], 3) for row in (row_of(one, tasks[-1:]) for one in methods)
            }
            print(f"{name}: {ratios}", file=sys.stderr, flush=True)
    rows = [row_of(name, tasks) for name in methods]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    write_page(rows, table, options)


def write_page(rows: Sequence[dict[str, Any]], table: Table, options: argparse.Namespace) -> None:
    """Print the table; with all methods and enough seeds, put it into the page of results."""

    def cell(row: dict[str, Any], key: str, digits: int = 3) -> str:
        return f"{row[key]:.{digits}f} ({row[f'{key}_low']:.{digits}f}-{row[f'{key}_high']:.{digits}f})"

    count, configurations, epochs = table.curves.shape
    write_section(
        f"Searches on the learning curves of {options.table.stem}",
        ("search", "epochs, of random search", "never found", *(f"regret, {budget}%" for budget in BUDGETS), "runs"),
        [
            (
                row["method"],
                *(cell(row, key) for key in ("epochs_ratio", "never_found")),
                *(cell(row, f"regret_{budget}") for budget in BUDGETS),
                str(row["runs"]),
            )
            for row in rows
        ],
        note=f"{count} tasks, {configurations} configurations, {epochs} epochs; {options.seeds} seeds; {WORKERS} "
        "workers in simulated time. Epochs: until a complete trial is as good as the best of half of the "
        "configurations, as a share of random search's on the same seed; median over the seeds on which it was found, "
        "then over tasks. Regret: distance from the best of all configurations, as a share of that of the median one, "
        "after 5 to 50% of the epochs of all configurations. In brackets: 95% bootstrap intervals."
        + ("" if HAS_SYNE_TUNE else " Not installed, and not measured: Syne Tune."),
        quick=options.seeds < ENOUGH_SEEDS or set(METHODS) != {row["method"] for row in rows},
    )


if __name__ == "__main__":
    main()
