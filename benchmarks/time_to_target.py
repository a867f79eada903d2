"""Seconds until a tool has found what 200 random trials find: whole processes, real training, two cores.

A contender is a process of its own, which is ended when a network that reaches the target is on disk, or at the limit.
Contenders take turns, seed by seed.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from math import inf
from pathlib import Path

from results_page import write_section
from target_cases import CASES, FASHION, OUR_SEARCHES, RANDOM_TRIALS, TargetCase, use_fashion
from throughput import warm_up

CORES = 2
NAMES = {
    "ours_random": "cnn-sweep random",
    "ours_tpe": "cnn-sweep tpe",
    "ours_asha": "cnn-sweep random, asha",
    "ours_tpe_asha": "cnn-sweep tpe, asha",
    "ours_predictive": "cnn-sweep random, predictive",
    "ours_tpe_predictive": "cnn-sweep tpe, predictive",
    "kt_random": "KerasTuner RandomSearch",
    "kt_hyperband": "KerasTuner Hyperband",
    "kt_bayesian": "KerasTuner BayesianOptimization",
    "optuna_median": "Optuna TPE, median pruner, two processes",
    "optuna_halving": "Optuna TPE, successive halving, two processes",
    "optuna_hyperband": "Optuna TPE, Hyperband, two processes",
    "ray_asha": "Ray Tune ASHA, two actors",
}
MODULES = {"kt_": "keras_tuner", "ray_": "ray"}  # what may be missing
QUICK_TRIALS = 3  # whose median best is the target of the short form


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="an easy target; prints, and writes nothing")
    parser.add_argument("--no-page", action="store_true", help="as asked, but print only")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1800, metavar="S", help="seconds after which a run is ended")
    parser.add_argument("--case", choices=[*CASES], action="append", help="default: all")
    parser.add_argument("--contender", choices=[*NAMES], action="append", help="default: all that are installed")
    parser.add_argument("--runs", type=Path, metavar="FILE", help="keep each run there, and do only those it lacks")
    parser.add_argument("--kept", action="store_true", help="make the tables of the runs that --runs has, measure none")
    parser.add_argument("--fashion", type=Path, default=FASHION, help="folder of Fashion-MNIST's files")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    wanted = asked.contender or [*NAMES]
    missing = [name for name in wanted if _module(name) and find_spec(_module(name)) is None]
    seeds, trials = (1, QUICK_TRIALS) if asked.quick else (asked.seeds, RANDOM_TRIALS)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        has_fashion = use_fashion(asked.fashion, Path(place, "keras"))
        warm_up()
        for name in asked.case or CASES:
            case = CASES[name]
            if why := unmeasured(case, has_fashion=has_fashion):
                print(f"{case.title}: not measured: {why}")
                continue
            target = case.target(trials)
            runs: dict[str, list[dict]] = {}
            kept = Runs(asked.runs)
            for seed in range(seeds):
                for contender in (one for one in wanted if one not in missing):
                    key = f"{name} {contender} {seed} {target:.6f}"
                    found = kept.of(key, 0.0 if asked.kept else asked.limit)
                    if found is None and asked.kept:
                        continue
                    found = found or kept.keep(key, measure(case, contender, seed, target, asked.limit))
                    runs.setdefault(contender, []).append(found)
                    print(f"{name}, seed {seed}: {NAMES[contender]}: {found['seconds']:.1f} s", file=sys.stderr)
            report(case, runs, notes(case, target, trials, missing), quick=asked.quick or asked.no_page)


class Runs:
    """What was measured so far, in a file that is read again where a benchmark of hours was interrupted."""

    def __init__(self, file: Path | None):
        self._file = file
        self._found: dict[str, dict] = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else {}

    def of(self, key: str, limit: float) -> dict | None:
        """Return a run that was measured before, unless it was ended before this limit."""
        found = self._found.get(key)
        return found if found and (found["seconds"] < inf or found["limit"] >= limit) else None

    def keep(self, key: str, found: dict) -> dict:
        """Keep a run, and return it."""
        self._found[key] = found
        if self._file:
            self._file.write_text(json.dumps(self._found, indent=1) + "\n", encoding="utf-8")
        return found


def unmeasured(case: TargetCase, *, has_fashion: bool) -> str:
    """Return why a case cannot be measured here; empty if it can."""
    if case.name == "fashion" and not has_fashion:
        return "Debian's package dataset-fashion-mnist is not installed"
    if case.values is None:
        return f"no values of random trials; `python benchmarks/target_cases.py {case.name} 400 FOLDER` trains them"
    return ""


def _module(contender: str) -> str:
    return next((module for prefix, module in MODULES.items() if contender.startswith(prefix)), "")


def measure(case: TargetCase, contender: str, seed: int, target: float, limit: float) -> dict:
    """Return the seconds of one run, infinite if the limit came first, and the value that it found."""
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        folder = Path(place)
        case.write(folder, target)
        if contender in OUR_SEARCHES:
            (folder / "sweep.yaml").write_text(case.our_sweep(contender, seed), encoding="utf-8")
        command = [sys.executable, str(Path(__file__).with_name("target_contenders.py")), contender, place, str(seed)]
        errors = (folder / "errors.txt").open("w+", encoding="utf-8")
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8", start_new_session=True
        )
        try:
            line = _first_line(process, limit)
            seconds = time.perf_counter() - began
            if line is None:
                return {"seconds": inf, "value": 0.0, "limit": limit}
            if not line:
                errors.seek(0)
                raise SystemExit(f"{NAMES[contender]} ended without the target:\n{errors.read()}")
            return json.loads(line) | {"seconds": seconds}
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its workers; what they leave behind is nobody's
            process.wait()
            errors.close()


def _first_line(process: subprocess.Popen, limit: float) -> str | None:
    """Return the line in which a contender announces its network; empty if it ended, None at the limit."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        lines.put(next((line for line in process.stdout if line.startswith('{"value"')), ""))

    threading.Thread(target=read, daemon=True).start()
    try:
        return lines.get(timeout=limit)
    except queue.Empty:
        return None


def report(case: TargetCase, runs: dict[str, list[dict]], note: str, *, quick: bool) -> None:
    ours = min((_median(found) for name, found in runs.items() if name in OUR_SEARCHES), default=inf)
    rows = []
    for name, found in runs.items():
        times, middle = [run["seconds"] for run in found], _median(found)
        limit = min((run["limit"] for run in found if run["seconds"] == inf), default=inf)
        reached = f"{sum(seconds < inf for seconds in times)} of {len(times)}"
        ratio = f"{middle / ours:.2f}x" if middle < inf else f">{limit / ours:.2f}x"
        figures = (_seconds(figure, limit) for figure in (middle, min(times), max(times)))
        rows.append((NAMES[name], reached, *figures, ratio if ours < inf else ""))
    header = ("contender", "reached", "seconds", "min", "max", "of our fastest")
    write_section(case.title, header, rows, note=note, quick=quick)


def notes(case: TargetCase, target: float, trials: int, missing: list[str]) -> str:
    epochs = case.sweep.resolve(case.sweep.grid.rows[0]).training.epochs
    aim = (
        f"From the start of a process to a network on disk whose validation accuracy is at least {target:.4f}, the "
        f"median best of {trials} random trials, as the project trains them, with its own seeds."
    )
    counted = (
        "For cnn-sweep, only a complete trial counts, whose model is kept; for the others, an epoch that reaches the "
        "value and is saved. cnn-sweep prepares its images and turns oneDNN on by itself; the others find arrays in "
        "memory, and TensorFlow as it comes."
    )
    words = [
        aim,
        f"All search the same space with the same images; a complete trial has {epochs} epochs; {CORES} cores.",
        counted,
        "Medians; a run that was ended without the target, after the time that is shown with a >, counts as infinite.",
    ]
    if missing:
        words.append(f"Not installed, and not measured: {', '.join(NAMES[name] for name in missing)}.")
    return " ".join(words)


def _median(found: list[dict]) -> float:
    return statistics.median(run["seconds"] for run in found)


def _seconds(value: float, limit: float) -> str:
    return f"{value:.1f}" if value < inf else f">{limit:g}"


if __name__ == "__main__":
    main()
