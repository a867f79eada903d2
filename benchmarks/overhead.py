"""What a trial costs beside its training: start-up, the time between graphs, the share of time inside them.

One worker with one thread runs a sweep of two shapes in this process, its epoch graphs under a stopwatch. Overhead
of a trial is all time between the end of the trial before and its own end that is not inside a graph: claim,
parameters, journal, weights, metrics, model, merge; of the first trial of a shape also building and tracing. The
first training step is measured in whole processes, from the command to the first journaled epoch, of one step.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results_page import write_section

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings
from cnn_sweep.execution.worker.worker import Worker
from cnn_sweep.journal.history import History
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.session import configure

SWEEP = """
study: overhead
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: $filters, kernel_size: 3, padding: same, activation: relu}}
    - pool: {{kind: max, size: 2}}
    - dropout: $dropout
    - flatten
    - dense: {{units: 32, activation: relu}}
    - output: {{activation: softmax}}
space:
  filters: {filters}
  dropout: {{low: 0.0, high: 0.5, points: {points}}}
search: {{method: grid}}
training: {{epochs: {epochs}, batch_size: {batch_size}}}
"""
EVERY_IMAGE = 4096  # one step is an epoch


class Stopwatch:
    """Adds up the time that a class's methods take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: type, *names: str) -> None:
        """Count the time inside these methods from now on."""
        for name in names:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, method):
        def timed(*args, **kwargs):
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def first_step(runs: int) -> list[float]:
    """Return seconds from a command to its first journaled epoch, which is one step, a trace before it included."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
            sweep = Path(place, "sweep.yaml")
            sweep.write_text(SWEEP.format(filters=[8], points=1, epochs=1, batch_size=EVERY_IMAGE), encoding="utf-8")
            program = str(Path(sys.executable).with_name("cnn-sweep"))
            began = time.time()
            subprocess.run([program, "run", str(sweep), "--results", place], check=True, capture_output=True)
            history = History(StudyPaths(Path(place), "overhead"))
            history.refresh()
            (attempt,) = history.trials[0].attempts.values()
            found.append(attempt.epochs[1].time - began)
    return found


def trials(points: int, epochs: int) -> list[tuple[bool, float, float]]:
    """Return for each trial of one worker: whether its shape was new, seconds in all, seconds inside graphs."""
    configure(threads=1)
    from cnn_sweep.execution.worker.attempt import AttemptRunner
    from cnn_sweep.training.engines.graph_engine import EpochGraph

    inside = Stopwatch()
    inside.watch(EpochGraph, "run", "evaluate")
    marks: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        sweep = Sweep.parse(SWEEP.format(filters=[8, 16], points=points, epochs=epochs, batch_size=32))
        study = StudyFolder.open_or_create(sweep, Path(place))
        worker = Worker(study, WorkerSettings(Path(place), "overhead", 1, since=time.time()), StopRequest())
        train = AttemptRunner.run

        def run(self, claimed):
            ending = train(self, claimed)
            params = study.plan.trials[claimed.number].params
            marks.append((str(params["filters"]), time.perf_counter(), inside.seconds))
            return ending

        AttemptRunner.run = run
        marks.append(("", time.perf_counter(), 0.0))
        worker.run()
    found, seen = [], set()
    for (_, began, before), (shape, ended, after) in itertools.pairwise(marks):
        found.append((shape not in seen, ended - began, after - before))
        seen.add(shape)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trials; prints, and writes nothing")
    asked = parser.parse_args()
    points, epochs, runs = (3, 2, 1) if asked.quick else (12, 10, 3)
    starts = first_step(runs)
    measured = trials(points, epochs)
    warm = [(total, inside) for cold, total, inside in measured if not cold]
    cold = [total - inside for first, total, inside in measured if first]
    outside = sorted(total - inside for total, inside in warm)
    share = sum(inside for _, inside in warm) / sum(total for total, _ in warm)
    rows = [
        ("from the command to the first training step, s", f"{statistics.median(starts):.2f}", f"{max(starts):.2f}"),
        ("overhead of a trial, shape seen before, s", f"{statistics.median(outside):.4f}", f"{outside[-1]:.4f}"),
        ("overhead of a trial, shape new (trace apart), s", f"{statistics.median(cold):.4f}", f"{max(cold):.4f}"),
        ("share of a warm worker's time inside graphs", f"{share:.1%}", ""),
    ]
    note = (
        f"Digits of 8x8, {epochs} epochs, {len(measured)} trials of two shapes in one worker with one thread; "
        f"a trial trains {statistics.median(inside for _, inside in warm):.2f} s. Medians."
    )
    header = ("what", "median", "largest")
    write_section("Overhead of a trial", header, rows, note=note, quick=asked.quick)


if __name__ == "__main__":
    main()
