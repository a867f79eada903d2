"""How many epochs successive halving saves: four simulated workers, replayed on real learning curves.

Training is the only stand-in: each simulated worker is the project's own claims, journals, history, rungs and picker,
in a study on disk, and takes its epochs from ``digits_table.npz``. Beside it stands Optuna's
``SuccessiveHalvingPruner`` in a loop by hand, and random search that trains everything to the end, on the same
configurations in the same order. With ``--real N`` a few studies are trained for real, through ``cnn-sweep run``.
"""

from __future__ import annotations

import argparse
import heapq
import json
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from digits_table import SWEEP, DigitsTable
from helpers.rung_audit import Audit
from results_page import write_section

from cnn_sweep.execution.attempts.candidates import NextAttempt, TrialPicker
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import current, new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.search.pruning_rules import PruningRules
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKERS = 4
RANDOM_TRIALS = 200
EPOCHS = 27
REDUCTION = 3
Found = tuple[int, float]  # epochs that all workers had trained, best value of a complete trial by then


def sweep_of(
    table: DigitsTable, seed: int, trials: int, pruner: str, *, given: list[dict[str, Any]] | None = None
) -> Sweep:
    """Return the table's sweep as a random search over its rows, or as one of given rows."""
    rates = [float(rate) for rate in sorted({params["learning_rate"] for params in table.params})]
    text = SWEEP.read_text(encoding="utf-8")
    old = next(line for line in text.splitlines() if line.startswith("  learning_rate:"))
    text = text.replace(old, f"  learning_rate: {rates}").replace("study: digits-table", "study: simulated")
    more = f", enqueue: {json.dumps(given)}" if given else ""
    search = f"search: {{method: random, trials: {trials}, seed: {seed}{more}}}"
    return Sweep.parse(text.replace("search: {method: grid}", f"{search}\n{pruner}"), source=str(SWEEP))


def seconds_of(params: dict[str, Any]) -> float:
    """Return how long an epoch takes: small batches take longer."""
    return 32 / params["batch_size"]


@dataclass
class Clock:
    """Workers that are busy until some moment, and how much they have trained."""

    running: list[tuple[float, int, Any]] = field(default_factory=list)
    now: float = 0.0
    done: int = 0
    spans: dict[int, tuple[float, float, int]] = field(default_factory=dict)
    order: Iterator[int] = field(default_factory=count)

    def begin(self, what: Any, epochs: int, seconds: float) -> None:
        """Let a worker train some epochs from now on."""
        key = next(self.order)
        self.spans[key] = (self.now, seconds, epochs)
        heapq.heappush(self.running, (self.now + epochs * seconds, key, what))

    def wait(self) -> Any:
        """Go on to the moment when the next worker is free; return what it was doing."""
        self.now, key, what = heapq.heappop(self.running)
        self.done += self.spans.pop(key)[2]
        return what

    @property
    def epochs(self) -> int:
        """Epochs that were trained by now, those of unfinished attempts as well."""
        partial = (min(epochs, int((self.now - began) / each + 1e-9)) for began, each, epochs in self.spans.values())
        return self.done + sum(partial)


def random_search(table: DigitsTable, rows: list[dict[str, Any]], target: float) -> Iterator[Found]:
    """Train everything to the end."""
    clock, best, waiting = Clock(), 0.0, iter(rows)
    for params in (next(waiting) for _ in range(WORKERS)):
        clock.begin(params, EPOCHS, seconds_of(params))
    while clock.running:
        best = max(best, table.best(clock.wait()))
        yield clock.epochs, best
        if best >= target:
            return
        if (params := next(waiting, None)) is not None:
            clock.begin(params, EPOCHS, seconds_of(params))


def optuna_by_hand(table: DigitsTable, rows: list[dict[str, Any]], target: float) -> Iterator[Found]:
    """Report every epoch and ask Optuna's pruner, as one writes it by hand."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    clock, best, waiting = Clock(), 0.0, iter(rows)

    def start() -> None:
        if (params := next(waiting, None)) is not None:
            clock.begin((study.ask(), params, 1), 1, seconds_of(params))

    for _ in range(WORKERS):
        start()
    while clock.running:
        trial, params, epoch = clock.wait()
        trial.report(float(table.curve(params)[epoch - 1]), epoch)
        if epoch == EPOCHS:
            study.tell(trial, table.best(params))
            best = max(best, table.best(params))
            yield clock.epochs, best
            if best >= target:
                return
            start()
        elif trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            start()
        else:
            clock.begin((trial, params, epoch + 1), 1, seconds_of(params))


class Worker:
    """A worker of the project's that reads its epochs off the table."""

    def __init__(self, study: StudyFolder, table: DigitsTable, clock: Clock) -> None:
        writer = new_writer_name()
        self._study, self._table, self._clock = study, table, clock
        self._journal = JournalWriter(study.paths.journal(writer))
        self._journal.append(worker_event(threads=1))
        self._history = History(study.paths)
        self._pruning = PruningRules(study.sweep, study.plan, self._history)
        claims = Claims(study.paths, writer, current())
        self._picker = TrialPicker(study.plan, self._history, claims, lambda _: "", self._pruning)
        self._begun = 0
        self._last = 0

    def begin(self) -> bool:
        """Claim what a worker would claim now, and journal its start; tell whether there was anything."""
        self._history.refresh()
        self._history.refreshed = self._clock.now
        claimed = self._picker.claim()
        if claimed is None:
            return False
        trial = self._history.trials.get(claimed.number)
        self._begun = max(trial.values, default=0) if trial else 0
        until = self._pruning.until(claimed.number, EPOCHS, promoted=claimed.promotion)
        self._last = until or EPOCHS
        planned = self._study.plan.trials[claimed.number]
        self._journal.append(
            Start(
                self._clock.now,
                *(claimed.number, claimed.attempt, planned.configuration or "", planned.repeat, planned.seed),
                params=planned.params or {},
                epoch=self._begun,
                until=until,
                promotion=claimed.promotion.to_data() if claimed.promotion else None,
            )
        )
        self._clock.begin((self, claimed), self._last - self._begun, seconds_of(planned.params or {}))
        return True

    def end(self, claimed: NextAttempt) -> float | None:
        """Journal what was trained by now; return the value of a trial that is complete."""
        params = self._study.plan.trials[claimed.number].params or {}
        curve, each = self._table.curve(params), seconds_of(params)
        for epoch in range(self._begun + 1, self._last + 1):
            at = self._clock.now - (self._last - epoch) * each
            metrics = {"val_accuracy": float(curve[epoch - 1])}
            self._journal.append(Epoch(at, claimed.number, claimed.attempt, epoch, each, metrics))
        state = "complete" if self._last == EPOCHS else "paused"
        self._journal.append(End(self._clock.now, claimed.number, claimed.attempt, state, epochs=self._last))
        return self._table.best(params) if state == "complete" else None


def with_promotion(table: DigitsTable, sweep: Sweep, target: float, root: Path) -> Iterator[Found]:
    """Pause and promote, with the project's own decisions; afterwards the audit proves them."""
    study, clock, best = StudyFolder.open_or_create(sweep, root), Clock(), 0.0
    for worker in [Worker(study, table, clock) for _ in range(WORKERS)]:
        worker.begin()
    idle: list[Worker] = []
    while clock.running:
        worker, claimed = clock.wait()
        value = worker.end(claimed)
        if value is not None:
            best = max(best, value)
            yield clock.epochs, best
            if best >= target:
                break
        idle = [one for one in [worker, *idle] if not one.begin()]
    if breaches := list(Audit(study.paths, study.sweep, study.plan).breaches()):
        raise AssertionError(breaches[:3])


def epochs_to(found: Iterator[Found], target: float) -> float:
    """Return how many epochs it took to a value; infinite if it was not reached."""
    return next((float(epochs) for epochs, best in found if best >= target), float("inf"))


def interval(values: list[float], statistic: Callable[..., Any] = np.median) -> tuple[float, float]:
    """Return a 95% bootstrap interval of the median."""
    samples = np.random.default_rng(0).choice(np.array(values), size=(2_000, len(values)))
    low, high = np.quantile(statistic(samples, axis=1), [0.025, 0.975], method="nearest")
    return float(low), float(high)


def simulate(seeds: int) -> None:
    """Compare the three over many seeds, and write the table."""
    table = DigitsTable.load()
    trials = len(table.params)
    names = {
        "random search": "",
        "Optuna's SuccessiveHalvingPruner by hand": "",
        "cnn-sweep asha": f"pruner: {{asha: {{reduction: {REDUCTION}}}}}",
        "cnn-sweep hyperband": f"pruner: {{hyperband: {{reduction: {REDUCTION}, brackets: 3}}}}",
    }
    orders = [list(sweep_rows(table, seed)) for seed in range(seeds)]
    target = float(np.median([max(table.best(p) for p in rows[:RANDOM_TRIALS]) for rows in orders]))
    counts: dict[str, list[float]] = {name: [] for name in names}
    for seed, rows in enumerate(orders):
        for name, pruner in names.items():
            with tempfile.TemporaryDirectory(prefix="halving-", dir=_memory()) as folder:
                if pruner:
                    sweep = sweep_of(table, seed, trials, pruner)
                    found = with_promotion(table, sweep, target, Path(folder))
                else:
                    found = (random_search if "random" in name else optuna_by_hand)(table, rows, target)
                counts[name].append(epochs_to(found, target))
                for _ in found:  # to the end of the generator, which audits
                    pass
        print(seed, {name: values[-1] for name, values in counts.items()}, file=sys.stderr, flush=True)
    full = np.array(counts["random search"])
    lines = []
    for name, values in counts.items():
        low, high = interval(values)
        ratios = list(np.array(values) / full)
        around = interval(ratios)
        share = f"{np.median(values) / np.median(full):.3f}"
        pair = f"{np.median(ratios):.3f} ({around[0]:.3f}-{around[1]:.3f})"
        lines.append((name, f"{np.median(values):.0f}", f"{low:.0f}-{high:.0f}", share, pair))
    write_section(
        "Epochs until a search has found what 200 random trials find",
        ("search", "epochs, median", "95% interval", "of random search", "seed by seed, median"),
        lines,
        note=f"On the learning curves of {trials:,} networks (digits, {EPOCHS} epochs), {WORKERS} workers in simulated "
        f"time, {seeds} seeds. Found means: a *complete* trial has the value {target:.4f}, the median of the best of "
        f"{RANDOM_TRIALS} random trials ({RANDOM_TRIALS * EPOCHS:,} epochs). Epochs of all workers are counted, "
        f"those of unfinished trials as well. All searches see the same configurations in the same order; rungs at "
        f"1, 3, 9 epochs. Every promotion was audited.",
    )


def sweep_rows(table: DigitsTable, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the configurations of a seed in the order in which they are begun."""
    from cnn_sweep.search.samplers import configurations

    yield from configurations(sweep_of(table, seed, len(table.params), "")).params


def train(seeds: int, trials: int) -> None:
    """Run a few studies for real, and compare with the same configurations trained to their ends."""
    pruners = {"asha": f"pruner: {{asha: {{reduction: {REDUCTION}}}}}", "predictive": "pruner: predictive"}
    lines = [
        (f"{name}, seed {seed}", *train_one(seed, trials, pruner))
        for seed in range(seeds)
        for name, pruner in pruners.items()
    ]
    write_section(
        "Rungs with real training",
        (
            *("study", "epochs", f"of {trials} x {EPOCHS}", "until the best"),
            *("best", "best of all, to the end", "illegal", "as in the table"),
        ),
        lines,
        note=f"`cnn-sweep run` with two workers, {trials} random configurations each. Shares are of the epochs of all "
        "configurations trained to their ends: for the whole study, and until its best trial was complete. Illegal: "
        "decisions that the audit of the journals objects to. As in the table: epochs whose accuracy is, to the bit, "
        "that of the same network trained without a pause on the machine that made the table; another one's vector "
        "instructions round in another way.",
    )


def train_one(seed: int, trials: int, pruner: str) -> tuple[str, ...]:
    """Run a study for real; return the cells of its row."""
    table = DigitsTable.load()
    with tempfile.TemporaryDirectory(prefix="halving-", dir=_memory()) as folder:
        root = Path(folder)
        # The table's networks were trained with seed 0, so these are, too, whatever seed drew them.
        rows = [params for params, _ in zip(sweep_rows(table, seed), range(trials), strict=False)]
        sweep = sweep_of(table, 0, trials, pruner, given=rows)
        file = root / "sweep.yaml"
        file.write_text(sweep.text, encoding="utf-8")
        command = [sys.executable, "-m", "cnn_sweep.cli.main", "run", str(file), "--workers", "2", "--threads", "1"]
        subprocess.run([*command, "--results", str(root / "results")], check=True, capture_output=True)
        study = StudyFolder.open(root / "results", "simulated")
        history = History(study.paths)
        history.refresh()
        complete = [trial for trial in history.trials.values() if trial.state == "complete"]
        ours = max(trial.best(Direction.MAXIMIZE)[1] for trial in complete)
        found = min(trial.last.end.time for trial in complete if trial.best(Direction.MAXIMIZE)[1] == ours)
        seen = [row for t in history.trials.values() for a in t.attempts.values() for row in a.epochs.values()]
        until = sum(row.time <= found for row in seen)
        full = max(table.best(planned.params) for planned in study.plan.trials)
        illegal = len(list(Audit(study.paths, study.sweep, study.plan, lag_s=0.5).breaches()))
        same = sum(
            np.float32(row.value) == np.float32(table.curve(trial.params or {})[epoch - 1])
            for trial in history.trials.values()
            for attempt in trial.attempts.values()
            for epoch, row in attempt.epochs.items()
        )
    epochs = len(seen)
    shares = (*(f"{some / trials / EPOCHS:.3f}" for some in (epochs, until)), f"{ours:.4f}", f"{full:.4f}")
    print(seed, pruner, epochs, *shares, illegal, file=sys.stderr, flush=True)
    return (f"{epochs}", *shares, f"{illegal}", f"{same / epochs:.1%}")


def _memory() -> str | None:
    """Return a folder in memory where there is one: what is measured is not a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--real", type=int, default=0, help="studies to train for real, instead of simulating")
    parser.add_argument("--trials", type=int, default=60, help="configurations of each of those")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    if options.real:
        train(options.real, options.trials)
    else:
        simulate(options.seeds)


if __name__ == "__main__":
    main()
